"""The last decisions, told with their causes."""

from pathlib import Path
from typing import Any

import pytest

from flows.why import describe_causes, find_causes, last_decisions
from pipeline_data.artifact import Artifact, Parent
from pipeline_data.errors import HeadwaterError
from tasks.decision import Decision
from tasks.past_results import write_decisions
from tasks.store import Request, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def make(store: Store, stage: str, shard: str | None, *above: Artifact) -> Artifact:
    def write(out: Path) -> dict[str, Any]:
        (out / "it.txt").write_text(f"{stage} {shard}")
        return {}

    parents = tuple(Parent("pages", a.stage, a.key, a.digest, a.shard) for a in above)
    return store.produce(Request(stage, 1, {}, parents, shard), write, {})


def ran(artifact: Artifact, reason: str) -> Decision:
    return Decision(artifact.stage, artifact.shard, "run", reason, key=artifact.key)


@pytest.fixture
def decisions(store: Store) -> list[Decision]:
    crawls = [make(store, "crawl", name) for name in ("a", "b")]
    extracts = [make(store, "extract", crawl.shard, crawl) for crawl in crawls]
    dedup = make(store, "dedup", None, *extracts)
    reused = Decision("crawl", "b", "reuse", "unchanged", key=crawls[1].key)
    return [
        ran(crawls[0], "setting delay: 1 -> 2"),
        reused,
        *(ran(e, f"input pages (crawl {e.shard}): 1 -> 2") for e in extracts),
        ran(dedup, "input pages: 2 changed (extract a, extract b)"),
    ]


def test_a_cause_is_followed_to_where_it_came_from(store: Store, decisions: list[Decision]) -> None:
    causes = find_causes(store, decisions, "dedup", None)
    assert list(describe_causes(causes)) == [
        "dedup: ran: input pages: 2 changed (extract a, extract b)",
        "  extract (2 shards): ran: input pages (crawl a): 1 -> 2 (of a)",
        "    crawl a: ran: setting delay: 1 -> 2",
    ]


def test_one_shard_alone(store: Store, decisions: list[Decision]) -> None:
    (line,) = describe_causes(find_causes(store, decisions, "crawl", "b"))
    assert line == "crawl b: reused: unchanged"


@pytest.mark.parametrize(
    ("stage", "shard", "text"),
    [
        ("sfft", None, "no stage 'sfft'"),
        ("sft", None, "stage 'sft' had no part in the last run"),
        ("crawl", "z", "shard 'z' of 'crawl' had no part"),
    ],
)
def test_what_had_no_part_is_said(
    store: Store, decisions: list[Decision], stage: str, shard: str | None, text: str
) -> None:
    with pytest.raises(HeadwaterError, match=text):
        find_causes(store, decisions, stage, shard)


def test_the_last_run_is_the_one_that_is_explained(
    tmp_path: Path, decisions: list[Decision]
) -> None:
    with pytest.raises(HeadwaterError, match="no run has ended here yet"):
        last_decisions(tmp_path)
    write_decisions(tmp_path, "2026-1", "mine", decisions)
    write_decisions(tmp_path, "2026-2", "other", decisions[:1])
    assert last_decisions(tmp_path) == ("2026-2.other", decisions[:1])
