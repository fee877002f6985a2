"""Why a result is made: the setting or input that differs, with old and new value."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_data.artifact import Artifact, Parent
from tasks.decision import Decision, changed_settings, differences, explain_miss
from tasks.past_results import PastResults, read_decisions, write_decisions
from tasks.store import Request, Store


def request(config: dict[str, Any] | None = None, version: int = 1, **digests: str) -> Request:
    parents = tuple(
        Parent("pages", "extract", f"key of {digest}", digest, shard)
        for shard, digest in digests.items()
    )
    return Request("filter", version, config or {"limit": 1}, parents, "web-0")


def made(store: Store, wanted: Request) -> Artifact:
    def write(out: Path) -> dict[str, Any]:
        (out / "pages.txt").write_text("pages")
        return {}

    return store.produce(wanted, write, {"seconds": 2.5})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("asked", "reasons"),
    [
        (request({"limit": 2}, a="x"), ["setting limit: 1 -> 2"]),
        (request({"limit": 1, "word": "no"}, a="x"), ["setting word: absent -> 'no'"]),
        (request({}, a="x"), []),
        (request(version=2, a="x"), ["stage version: 1 -> 2"]),
        (request(a="y"), ["input pages (extract a): x -> y"]),
        (request(a="x", b="z"), ["input pages: 1 added (extract b)"]),
        (request(b="z"), ["input pages: 1 added (extract b), 1 gone (extract a)"]),
        (
            request({"limit": 3}, a="y"),
            ["setting limit: 1 -> 3", "input pages (extract a): x -> y"],
        ),
    ],
)
def test_differences_name_old_and_new(store: Store, asked: Request, reasons: list[str]) -> None:
    previous = made(store, request(a="x"))
    assert differences(asked, previous) == reasons


def test_many_changed_inputs_are_counted_and_some_named(store: Store) -> None:
    before = {f"s{i}": "x" for i in range(9)}
    previous = made(store, request(None, 1, **before))
    (reason,) = differences(
        request(None, 1, **(before | {f"s{i}": "y" for i in range(5)})), previous
    )
    assert reason == "input pages: 5 changed (extract s0, extract s1, extract s2 and 2 more)"


def test_inputs_in_another_order_differ(store: Store) -> None:
    previous = made(store, request(None, 1, a="x", b="y"))
    assert differences(request(None, 1, b="y", a="x"), previous) == [
        "input pages: in another order"
    ]


def test_nested_settings_have_dotted_names_and_long_values_are_cut() -> None:
    old = {"url": {"block": []}, "same": {"x": 1}}
    new = {"url": {"block": ["http://page.example/" + "x" * 100]}, "same": {"x": 1}}
    (line,) = changed_settings(old, new)
    assert line.startswith("setting url.block: [] -> ['http://page")
    assert line.endswith("...")


def test_a_miss_is_explained_by_what_is_in_the_store(store: Store) -> None:
    asked = request(a="x")
    assert explain_miss(store, asked, None) == "no earlier result"
    artifact = made(store, asked)
    artifact.path("pages.txt").unlink()
    assert "pages.txt is missing" in explain_miss(store, asked, artifact)
    store.discard(artifact)
    assert explain_miss(store, asked, artifact) == "its earlier result was deleted"


def test_the_last_result_of_each_shard_is_remembered(store: Store, tmp_path: Path) -> None:
    artifact = made(store, request(a="x"))
    first = Decision("filter", "web-0", "run", "no earlier result", key=artifact.key, seconds=2.5)
    other = Decision("filter", "web-1", "run", "no earlier result", key="k1", seconds=1.5)
    write_decisions(tmp_path, "2026-1", "mine", [first, other])
    failed = Decision("filter", "web-0", "run", "forced")
    path = write_decisions(tmp_path, "2026-2", "mine", [failed])
    write_decisions(tmp_path, "2026-3", "not-mine", [Decision("sft", None, "run", "forced")])
    past = PastResults.load(tmp_path, "mine", store)
    assert past.artifact("filter", "web-0") == artifact
    assert past.artifact("filter", "web-9") is None
    assert past.seconds("filter", "web-0") == 2.5
    assert past.seconds("filter", "web-9") == 2.0  # the mean of its stage
    assert past.seconds("sft", None) is None
    assert read_decisions(path) == [failed]


def test_a_damaged_record_of_decisions_costs_only_itself(store: Store, tmp_path: Path) -> None:
    kept = Decision("filter", "web-0", "run", "forced", key="k", seconds=1.0)
    write_decisions(tmp_path, "2026-1", "mine", [kept])
    (tmp_path / "2026-2.mine.parquet").write_bytes(b"PAR1")
    assert PastResults.load(tmp_path, "mine", store).rows == {("filter", "web-0"): kept}
