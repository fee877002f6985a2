"""The tokenizer's sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline_data.corpus.settings import SampleConfig
from pipeline_data.corpus.tokenization import sample
from pipeline_data.corpus.tokenization.sample import is_sampled
from pipeline_data.formats import read_jsonl
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import documents_artifact, kept_artifact, make_documents

ROWS = make_documents(f"text {number} é" for number in range(400))


def draw(
    folder: Path,
    config: SampleConfig,
    rows: Sequence[dict[str, str]],
    kept: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    ids = [row["doc_id"] for row in rows] if kept is None else kept
    inputs = Inputs(
        {
            "documents": documents_artifact(folder / "documents", rows, "made-0"),
            "kept": kept_artifact(folder / "kept", ids, "made-0"),
        }
    )
    sample.run(config, inputs, folder / "out", Runtime())
    return list(read_jsonl(folder / "out/sample.jsonl"))


def test_fraction_is_met_and_order_kept(tmp_path: Path) -> None:
    drawn = draw(tmp_path, SampleConfig(fraction=0.25), ROWS)
    assert 70 <= len(drawn) <= 130
    ids = [row["doc_id"] for row in drawn]
    assert ids == [row["doc_id"] for row in ROWS if hash_fraction(row["doc_id"]) < 0.25]


def test_a_page_outside_the_sample_changes_no_byte(tmp_path: Path) -> None:
    config = SampleConfig(fraction=0.25, num_bytes=500)
    outside = next(row for row in ROWS if hash_fraction(row["doc_id"]) >= 0.25)
    draw(tmp_path / "a", config, ROWS)
    draw(tmp_path / "b", config, [row for row in ROWS if row is not outside])
    draw(tmp_path / "c", config, [row | {"text": "new"} if row is outside else row for row in ROWS])
    contents = {(tmp_path / name / "out/sample.jsonl").read_bytes() for name in "abc"}
    assert len(contents) == 1


def test_only_kept_documents(tmp_path: Path) -> None:
    kept = [ROWS[5]["doc_id"], ROWS[2]["doc_id"]]
    drawn = draw(tmp_path, SampleConfig(fraction=1.0), ROWS, kept)
    assert [row["text"] for row in drawn] == ["text 2 é", "text 5 é"]
    assert drawn[0].keys() == {"doc_id", "source", "text"}


def test_nothing_follows_the_document_that_does_not_fit(tmp_path: Path) -> None:
    rows = make_documents(["aaa", "bbbbbb", "c"])
    drawn = draw(tmp_path, SampleConfig(fraction=1.0, num_bytes=5), rows)
    assert [row["text"] for row in drawn] == ["aaa"]


@pytest.mark.parametrize(("num_bytes", "expected"), [(8, 0), (9, 1), (18, 2), (20, 2)])
def test_bytes_are_capped(tmp_path: Path, num_bytes: int, expected: int) -> None:
    drawn = draw(tmp_path, SampleConfig(fraction=1.0, num_bytes=num_bytes), ROWS)
    assert len(drawn) == expected


def test_shards_are_sampled_by_the_pattern_of_their_names() -> None:
    pinned = SampleConfig(shards=("web-0[01]*", "world-*"))
    names = ["web-000", "web-019", "web-020", "world-000", "Web-000"]
    assert [is_sampled(pinned, name) for name in names] == [True, True, False, True, False]
    assert all(is_sampled(SampleConfig(), name) for name in names)
    with pytest.raises(ValidationError, match="shards"):
        SampleConfig(shards=())
