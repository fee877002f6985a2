"""What a run of a recipe would do."""

from collections.abc import Iterator, Sequence

from flows.alignment import build_assistant
from flows.corpus import build_corpus
from flows.pretraining import build_base
from flows.recipe import Recipe
from tasks.plan import Plan, Planned
from tasks.store import Store


def build_plan(store: Store, recipe: Recipe, force: Sequence[str] = ()) -> Plan:
    """Walk the whole pipeline against the store."""
    plan = Plan(store, frozenset(force))
    corpus = build_corpus(plan, recipe)
    base = build_base(plan, recipe, corpus)
    build_assistant(plan, recipe, corpus, base)
    return plan


def print_plan(plan: Plan) -> None:
    """One line a stage: how many of its shards run and why."""
    for line in [*describe_plan(plan.rows), *(f"note: {note}" for note in plan.notes)]:
        print(line)


def describe_plan(rows: Sequence[Planned]) -> Iterator[str]:
    """One line a stage, then the total."""
    order = list(dict.fromkeys(row.stage for row in rows))
    for stage in order:
        found = [row for row in rows if row.stage == stage]
        to_run = [row for row in found if row.action == "run"]
        shards = f" ({len(to_run)} of {len(found)} shards)" if len(found) > 1 else ""
        if to_run:
            reasons = ", ".join(dict.fromkeys(row.reason for row in to_run))
            yield f"run    {stage}{shards}: {reasons}"
        else:
            yield f"reuse  {stage}" + (f" ({len(found)} shards)" if len(found) > 1 else "")
    num_run = sum(row.action == "run" for row in rows)
    yield f"{num_run} of {len(rows)} stage results to make, {len(rows) - num_run} reused"
