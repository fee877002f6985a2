"""Small homes whose corpus can be forgotten in parts, and a rerun of it in this process."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.forget.forgetting import Forgetting, Outcome, open_index
from flows.forget.forgotten import read_forgotten
from flows.forget.gates import Gate
from flows.forget.remaking import Remaking, find_remaking
from flows.forget.target import Target, find_target
from flows.graphs import Graph
from flows.home import Home
from flows.recipe import Recipe, load_recipe
from flows.sql import CORPUS
from tasks.direct_run import DirectRun
from tasks.store import Store
from tests.flows.recorded_run import Call, RecordedRun, corpus_recipe
from tests.pipeline_data.corpus.material import make_text

HOST = "notes.example"


def page(shard: str, number: int) -> str:
    return f"http://{shard}.{HOST}/{number}"


def sentence(shard: str, number: int) -> str:
    """What a page says and no other does."""
    return f"Only page {number} of {shard} says so."


def write_shard(folder: Path, shard: str, numbers: Sequence[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "url": page(shard, n),
            "text": f"{make_text(hash_of(shard) + n, 20)}\n{sentence(shard, n)}",
        }
        for n in numbers
    ]
    path = folder / f"{shard}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def hash_of(shard: str) -> int:
    return sum(shard.encode()) * 100


def make_home(folder: Path) -> None:
    """A home whose corpus comes of files here (own), of fetched ones (far), and is generated."""
    home = Home(folder / "home")
    home.path.mkdir(parents=True)
    (home.path / "HEADWATER").touch()
    for shard in ("a", "b"):
        write_shard(folder / "own", shard, range(3))
        write_shard(folder / "far", f"far-{shard}", range(3))
    build(home, corpus_recipe(sources(folder)))


def copy_home(source: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of a home, which is the one that recipes are loaded in from now on."""
    shutil.copytree(source, path)
    monkeypatch.setenv("HEADWATER_HOME", str(path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
    return Home(path)


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    table = {"kind": "jsonl", "url_column": "url"}
    return {
        "own": table | {"paths": [f"{folder}/own/*.jsonl"]},
        "far": table | {"paths": [f"file://{folder}/far/*.jsonl"]},
        "world": {"kind": "generated", "near_dedup": False},
    }


def build(
    home: Home, recipe: Recipe, graph: Graph | None = None, gate: Gate = lambda made: True
) -> Mapping[str, int]:
    """Run a recipe and name what came of it; returns how many results of each stage were made."""
    from flows.graphs import corpus_alone

    store = home.open_store()
    run = DirectRun(store)
    products = (graph or corpus_alone)(run, recipe)
    made = {
        "run": "made",
        "recipe": recipe.name,
        "recipe_digest": store.registry.save_recipe(recipe.model_dump(mode="json")),
    }
    if gate(products.models):
        for name, artifact in {**products.models, CORPUS: products.corpus}.items():
            store.point(name, artifact, **made)
    return run.executed


class Reruns:
    """Reruns in this process; keeps what each made."""

    def __init__(self) -> None:
        self.executed: list[Mapping[str, int]] = []

    def __call__(self, remaking: Remaking, gate: Gate) -> str:
        recipe = load_recipe(str(remaking.file))
        self.executed.append(build(remaking.home, recipe, remaking.graph, gate))
        return f"run {len(self.executed)}"


def prepare(
    home: Home, text: str, rerun: Callable[[Remaking, Gate], str | None], **options: Any
) -> Forgetting:
    store = home.open_store()
    forgotten = read_forgotten(home.path)
    target = find_target(open_index(store), text, None, forgotten)
    remaking = find_remaking(home, store, target.assess(open_index(store)).names, forgotten)
    return Forgetting(home, store, target, "asked", remaking, rerun, **options)


def forget(
    home: Home, text: str, rerun: Callable[[Remaking, Gate], str | None], *, erase: bool = False
) -> Outcome:
    """What the command does, once confirmed."""
    forgetting = prepare(home, text, rerun)
    outcome = forgetting.forget(assess(home, forgetting.target))
    if erase:
        forgetting.erase(outcome)
    return outcome


def assess(home: Home, target: Target) -> Any:
    return target.assess(open_index(home.open_store()))


def record_build(store: Store, recipe: Recipe) -> list[Call]:
    """Every stage result of a corpus, as contents."""
    from flows.corpus import build_corpus

    run = RecordedRun(store)
    build_corpus(run, recipe)
    return run.calls
