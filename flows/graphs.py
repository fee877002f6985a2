"""The graphs that can be run, scheduled and planned: all of the pipeline, or a part of it.

All of them are made of the same functions, so the same stage of any of them is the same work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.alignment import build_assistant
from flows.corpus import build_corpus, corpus_of
from flows.pretraining import Base, build_base
from flows.recipe import Recipe
from tasks.decision import Decision
from tasks.past_results import PastResults, Slot
from tasks.plan import Plan
from tasks.runner import Runner
from tasks.selection import Selection


@dataclass(frozen=True)
class Products:
    """What a graph makes that gets a name: models, and the report on the corpus."""

    models: Mapping[str, Any] = field(default_factory=dict)
    corpus: Any = None


Graph = Callable[[Runner, Recipe], Products]


def whole(run: Runner, recipe: Recipe) -> Products:
    """From crawled pages to an aligned assistant."""
    pages = build_corpus(run, recipe)
    base = build_base(run, recipe, pages)
    aligned = build_assistant(run, recipe, pages, base)
    return Products({"base": base.model, **aligned.registered}, pages.report)


def corpus_alone(run: Runner, recipe: Recipe) -> Products:
    """From crawled pages to token shards."""
    return Products(corpus=build_corpus(run, recipe).report)


def base_alone(run: Runner, recipe: Recipe) -> Products:
    """From crawled pages to the base model."""
    pages = build_corpus(run, recipe)
    return Products({"base": build_base(run, recipe, pages).model}, pages.report)


def alignment_alone(run: Runner, recipe: Recipe) -> Products:
    """From the base model that is there, whatever its sources say by now, to an assistant."""
    model = run.store.named("base")
    pages = corpus_of(run, recipe, model)
    return Products(build_assistant(run, recipe, pages, Base(model)).registered)


@dataclass(frozen=True)
class GraphPlan:
    """What a run of a graph would do.

    Attributes:
        decisions: about the results that are asked for, in the order of the graph.
        wanted: stage and shard of those; ``None`` for all.
        notes: what could not be looked at, or will be gone without.
    """

    decisions: Sequence[Decision]
    wanted: frozenset[Slot] | None
    notes: Sequence[str]
    cores: int

    @property
    def runs_nothing(self) -> bool:
        """Whether the store has every result."""
        return all(decision.action == "reuse" for decision in self.decisions)


def plan_graph(graph: Graph, recipe: Recipe, past: PastResults, selection: Selection) -> GraphPlan:
    """Walk a graph against the store that ``past`` speaks of.

    Raises:
        HeadwaterError: a source cannot be read, what the graph starts from is gone, or the
            selection does not fit the graph.
    """
    plan = Plan(past.store, past, selection.forces)
    graph(plan, recipe)
    wanted = selection.choose(plan.rows)
    decisions = [
        row.decision for row in plan.rows if wanted is None or (row.stage, row.shard) in wanted
    ]
    return GraphPlan(decisions, wanted, plan.notes, recipe.compute.cores)
