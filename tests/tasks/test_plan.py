"""A graph on paper, and the part of it that a run is asked for."""

from pathlib import Path

import pytest

from pipeline_data.errors import RecipeError
from tasks.direct_run import DirectRun
from tasks.past_results import PastResults, write_decisions
from tasks.plan import Plan, Planned
from tasks.runner import Runner
from tasks.selection import Selection
from tasks.stage import Part, Stage
from tasks.store import Store
from tests.tasks.toy_stages import NumberConfig

TOYS = "tests.tasks.toy_stages"
NUMBERS = Stage("crawl", f"{TOYS}:numbers", sharded=True)
PARITY = Stage("extract", f"{TOYS}:parity")
TOTAL = Stage("dedup", f"{TOYS}:total")


def walk(run: Runner, value: int = 1, blocked: tuple[int, ...] = ()) -> None:
    """Crawl > extract a, extract b > dedup, named like stages that exist."""
    made = run.submit(NUMBERS, NumberConfig(value=value))
    parities = run.map(
        PARITY,
        {s: (NumberConfig(blocked=blocked), {"number": Part(made, s)}) for s in ("a", "b")},
    )
    run.submit(TOTAL, NumberConfig(), {"parities": list(parities.values())})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def plan(
    store: Store, tmp_path: Path, selection: Selection | None = None, **change: object
) -> Plan:
    forces = (selection or Selection()).forces
    made = Plan(store, PastResults.load(tmp_path, "toy", store), forces)
    walk(made, **change)  # type: ignore[arg-type]
    return made


def run(store: Store, tmp_path: Path, **change: object) -> None:
    walk(DirectRun(store), **change)  # type: ignore[arg-type]
    write_decisions(tmp_path, "1", "toy", plan(store, tmp_path, **change).decisions)


def told(made: Plan) -> dict[str, tuple[str, bool, str]]:
    return {
        row.label: (row.decision.action, row.decision.certain, row.decision.reason)
        for row in made.rows
    }


def labels(chosen: frozenset[tuple[str, str | None]] | None) -> list[str]:
    assert chosen is not None
    return sorted(f"{stage} {shard}" if shard else stage for stage, shard in chosen)


def test_all_of_it_runs_in_an_empty_store(store: Store, tmp_path: Path) -> None:
    assert set(told(plan(store, tmp_path)).values()) == {("run", True, "no earlier result")}


def test_nothing_runs_when_nothing_changed(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path)
    assert set(told(plan(store, tmp_path)).values()) == {("reuse", True, "unchanged")}


def test_a_setting_is_named_and_what_is_below_depends(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path)
    assert told(plan(store, tmp_path, value=3)) == {
        "crawl": ("run", True, "setting value: 1 -> 3"),
        "extract a": ("run", False, "after crawl, if that changes"),
        "extract b": ("run", False, "after crawl, if that changes"),
        "dedup": ("run", False, "after extract a, extract b, if that changes"),
    }


def test_a_changed_setting_below_a_changed_input_is_certain(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path)
    rows = told(plan(store, tmp_path, value=3, blocked=(7,)))
    assert rows["extract a"] == ("run", True, "setting blocked: [] -> [7]")


def test_a_forced_shard_alone_is_forced(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path)
    selection = Selection.parse(force=["extract"], shards="b")
    rows = told(plan(store, tmp_path, selection))
    assert rows["extract a"] == ("reuse", True, "unchanged")
    assert rows["extract b"] == ("run", True, "forced")
    assert rows["dedup"] == ("run", False, "after extract b, if that changes")


def test_until_takes_a_stage_and_what_it_needs(store: Store, tmp_path: Path) -> None:
    selection = Selection.parse(until="extract")
    chosen = selection.choose(plan(store, tmp_path, selection).rows)
    assert labels(chosen) == ["crawl", "extract a", "extract b"]
    assert Selection().choose(plan(store, tmp_path).rows) is None


def test_only_takes_its_shards_and_needs_the_rest_in_the_store(
    store: Store, tmp_path: Path
) -> None:
    selection = Selection.parse(only=["extract"], shards="b")
    with pytest.raises(RecipeError, match="the store lacks crawl, which it needs"):
        selection.choose(plan(store, tmp_path, selection).rows)
    run(store, tmp_path)
    chosen = selection.choose(plan(store, tmp_path, selection, blocked=(7,)).rows)
    assert labels(chosen) == ["crawl", "extract b"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"force": ["sfft"]}, "force sfft: no such stage"),
        ({"until": "nowhere"}, "until nowhere: no such stage"),
        ({"only": ["sft"], "until": "sft"}, "only and until: give one of them"),
        ({"shards": "web-*"}, "shards web-.: it narrows force or only"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(asked: dict[str, object], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        Selection.parse(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection.parse(until="sft"), "until sft: this recipe has no such stage here"),
        (Selection.parse(force=["sft"]), "sft: this recipe has no such stage here"),
        (Selection.parse(force=["extract"], shards="c*"), r"no shard fits \(there are a to b\)"),
        (Selection.parse(only=["dedup"], shards="a"), "none: the stage is not sharded"),
    ],
)
def test_a_selection_that_does_not_fit_the_graph_is_refused(
    store: Store, tmp_path: Path, selection: Selection, text: str
) -> None:
    with pytest.raises(RecipeError, match=text):
        selection.choose(plan(store, tmp_path, selection).rows)


def test_rows_know_what_they_are_made_of(store: Store, tmp_path: Path) -> None:
    def names(row: Planned) -> list[str]:
        return [parent.label for parent in row.inputs]

    rows = {row.label: row for row in plan(store, tmp_path).rows}
    assert names(rows["dedup"]) == ["extract a", "extract b"]
    assert names(rows["extract a"]) == ["crawl"]
