"""Which token shards make another corpus of it."""

from pathlib import Path

from flows.corpus_event import announce_corpus, changed_shards
from pipeline_data.artifact import Artifact, Parent


def report(tmp_path: Path, **digests: str) -> Artifact:
    parents = tuple(Parent("tokens", "tokenize", d, d, shard) for shard, d in digests.items())
    dedup = Parent("dedup", "dedup", f"k{len(digests)}", f"d{len(digests)}", None)
    return Artifact(
        stage="corpus-report",
        version=1,
        key="key",
        digest="digest",
        directory=tmp_path,
        parents=(*parents, dedup),
        files=(),
    )


def test_shards_that_came_changed_and_went(tmp_path: Path) -> None:
    before = report(tmp_path, a="1", b="2", c="3")
    assert changed_shards(before, report(tmp_path, b="2", c="4", d="5")) == {
        "new": ["d"],
        "changed": ["c"],
        "vanished": ["a"],
    }
    assert changed_shards(None, before)["new"] == ["a", "b", "c"]


def test_the_same_tokens_are_the_same_corpus(tmp_path: Path) -> None:
    corpus = report(tmp_path, a="1")
    assert announce_corpus({}, corpus, corpus) == {"new": [], "changed": [], "vanished": []}
