"""Makes what the names of a home mean once more, by the recipe that made it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.foreground import run_in_foreground
from flows.forget.forgotten import Forgotten, leave_out
from flows.forget.gates import Gate, gated_by
from flows.graphs import Graph, GraphPlan, base_alone, corpus_alone, plan_graph, whole
from flows.home import Home
from flows.recipe import Recipe, check_recipe
from flows.sql import CORPUS
from pipeline_data.errors import HeadwaterError
from tasks.names import Version
from tasks.past_results import PastResults
from tasks.plan import Plan
from tasks.selection import Selection
from tasks.store import Store

BASE = "base"
ALIGNED = {"sft", "reward", "assistant"}
Rerun = Callable[["Remaking", Gate], str | None]
"""Runs the recipe and names what came of it if the gate lets it; returns the run's name."""


@dataclass(frozen=True)
class Remaking:
    """The recipe that made what the names of a home mean, and as much of the graph as they need.

    Attributes:
        values: the recipe, every setting resolved.
    """

    home: Home
    store: Store
    digest: str
    values: Mapping[str, Any]
    names: Sequence[str]

    @property
    def graph(self) -> Graph:
        """What of the pipeline is run."""
        if ALIGNED & set(self.names):
            return whole
        return base_alone if BASE in self.names else corpus_alone

    @property
    def file(self) -> Path:
        """The recipe as a file that a flow can be asked to run."""
        path = self.home.path / "remade" / f"{self.digest[:12]}.yaml"
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(yaml.safe_dump(dict(self.values), sort_keys=False), encoding="utf-8")
        temporary.replace(path)
        return path

    def recipe(self, forgotten: Sequence[Forgotten]) -> Recipe:
        """The recipe without what is on this list.

        Raises:
            RecipeError: this program cannot run it any more.
        """
        recipe = check_recipe(self.values, f"recipe {self.digest[:12]} of the store")
        blocklist = leave_out(recipe.blocklist, forgotten)
        return recipe.model_copy(update={"blocklist": blocklist})

    def plan(self, forgotten: Sequence[Forgotten]) -> GraphPlan:
        """What a run would do without what is on this list.

        Raises:
            HeadwaterError: a source cannot be read.
        """
        recipe = self.recipe(forgotten)
        past = PastResults.load(self.home.runs, recipe.name, self.store)
        return plan_graph(self.graph, recipe, past, Selection())

    def makes(self, versions: Mapping[str, Version], forgotten: Sequence[Forgotten]) -> bool:
        """Whether a run of the recipe gives what the names mean, all of it from the store."""
        recipe = self.recipe(forgotten)
        plan = Plan(self.store, PastResults.load(self.home.runs, recipe.name, self.store))
        products = self.graph(plan, recipe)
        made = {**products.models, CORPUS: products.corpus}
        return all(
            made.get(name) is not None
            and made[name].artifact is not None
            and made[name].artifact.digest == version.digest
            for name, version in versions.items()
        )


def find_remaking(
    home: Home, store: Store, touched: Sequence[str], forgotten: Sequence[Forgotten]
) -> Remaking:
    """The recipe that makes what the touched names mean.

    Raises:
        HeadwaterError: nothing has a name, or no one recipe makes all of it.
    """
    names = store.names()
    if not names:
        raise HeadwaterError(
            f"no run has finished in {home.path}, so nothing was learnt from it: put it into the "
            "blocklist of your recipe"
        )
    versions = {name: store.registry.find(name) for name in touched or names}
    lacking = [name for name, version in versions.items() if version.recipe_digest is None]
    if lacking:
        raise HeadwaterError(
            f"the store does not know which recipe made {', '.join(lacking)}: headwater run RECIPE "
            "names it anew"
        )
    latest = sorted(versions.values(), key=lambda version: version.date, reverse=True)
    digests = list(dict.fromkeys(v.recipe_digest for v in latest if v.recipe_digest))
    found = [
        Remaking(home, store, digest, store.registry.load_recipe(digest), names)
        for digest in digests
    ]
    if len(found) == 1:
        return found[0]
    for remaking in found:
        if remaking.makes(versions, forgotten):
            return remaking
    made = ", ".join(f"{name} by {v.recipe} {v.recipe_digest[:12]}" for name, v in versions.items())  # type: ignore[index]
    raise HeadwaterError(
        f"no one recipe makes all that is in use ({made}): headwater run the one that should"
    )


def rerun_in_foreground(remaking: Remaking, gate: Gate) -> str | None:
    """Run the recipe as ``headwater run`` does.

    Raises:
        HeadwaterError: of the first stage that failed.
    """
    parameters: dict[str, Any] = {"recipe": str(remaking.file)}
    flow = "pretraining" if remaking.graph is base_alone else "pipeline"
    if remaking.graph is corpus_alone:
        parameters["until"] = "corpus-report"
    with gated_by(gate):
        return run_in_foreground(remaking.home, flow, parameters)
