"""The filter stage: what stays, what goes, and what is said about it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Counts
from pipeline_data.corpus.filters import filter as filter_stage
from pipeline_data.corpus.settings import (
    C4QualityConfig,
    FilterConfig,
    FineWebQualityConfig,
    UrlConfig,
)
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.filters.test_language import FRENCH
from tests.pipeline_data.corpus.material import documents_artifact, make_documents, make_text

SHORT = "This is a short text, and yet there is no doubt about the language it is written in."

Rows = list[dict[str, Any]]
RunFilter = Callable[[FilterConfig, Rows], tuple[Rows, Rows, Counts]]


@pytest.fixture
def run_filter(tmp_path: Path) -> RunFilter:
    def run(config: FilterConfig, rows: Rows) -> tuple[Rows, Rows, Counts]:
        documents = documents_artifact(tmp_path / "in", rows, "made-0")
        out = tmp_path / "out"
        counts = filter_stage.run(config, Inputs({"documents": documents}), out, Runtime())
        kept, dropped = (
            pq.read_table(out / name).to_pylist()
            for name in ("documents.parquet", "dropped.parquet")
        )
        return kept, dropped, counts

    return run


def test_nothing_asked_nothing_changed(run_filter: RunFilter) -> None:
    rows = make_documents(["a@b.example", FRENCH, "x", make_text(1)])
    kept, dropped, counts = run_filter(FilterConfig(), rows)
    assert kept == [row | {"language": ""} for row in rows]
    assert (dropped, counts) == ([], {"num_documents": 4, "num_dropped": 0})


def test_every_document_is_kept_or_accounted_for(run_filter: RunFilter) -> None:
    rows = make_documents([make_text(1), FRENCH * 4, SHORT, make_text(2), make_text(3)])
    config = FilterConfig(
        languages=("en",),
        rules=("url", "gopher_quality"),
        url=UrlConfig(block_urls=(rows[3]["url"],)),
    )
    kept, dropped, counts = run_filter(config, rows)
    assert kept == [row | {"language": "en"} for row in (rows[0], rows[4])]
    reasons = {row["doc_id"]: (row["rule"], row["detail"].split()[0]) for row in dropped}
    assert reasons == {
        rows[1]["doc_id"]: ("language", "fr"),
        rows[2]["doc_id"]: ("gopher_quality", "gopher_short_doc"),
        rows[3]["doc_id"]: ("url", "blocked_url"),
    }
    assert {row["stage"] for row in dropped} == {"filter"}
    numbers = [(row["value"], row["threshold"]) for row in dropped]
    assert numbers[0][0] == pytest.approx(1.0, abs=0.01)
    assert numbers[0][1] is None  # sure of it, but it is not wanted
    assert numbers[1:] == [(18.0, 50.0), (None, None)]
    assert counts == {
        "num_documents": 2,
        "num_dropped": 3,
        "num_dropped_language": 1,
        "num_dropped_url": 1,
        "num_dropped_gopher_quality": 1,
    }


def test_order_of_rules_decides_which_is_named(run_filter: RunFilter) -> None:
    rows = make_documents(["{"])
    for rules in (("gopher_quality", "c4_quality"), ("c4_quality", "gopher_quality")):
        _, [drop], _ = run_filter(FilterConfig(rules=rules), rows)
        assert drop["rule"] == rules[0]


def test_the_next_rule_and_the_file_get_the_changed_text(run_filter: RunFilter) -> None:
    text = make_text(1)
    rows = make_documents([f"{text}\nHome"])
    config = FilterConfig(
        rules=("c4_quality", "fineweb_quality"),
        fineweb_quality=FineWebQualityConfig(line_punct_thr=1.0),
    )
    [kept], _, _ = run_filter(config, rows)
    assert kept["text"] == text


def test_a_text_that_loses_all_lines_is_dropped(run_filter: RunFilter) -> None:
    config = FilterConfig(rules=("c4_quality",), c4_quality=C4QualityConfig(min_num_sentences=-1))
    _, [drop], _ = run_filter(config, make_documents(["no end mark"]))
    assert (drop["rule"], drop["detail"]) == ("c4_quality", "empty")


def test_low_probability_is_not_the_language(run_filter: RunFilter) -> None:
    rows = make_documents([SHORT, "two words"])
    config = FilterConfig(languages=("en",), min_language_probability=0.9)
    kept, [drop], _ = run_filter(config, rows)
    assert [row["doc_id"] for row in kept] == [rows[0]["doc_id"]]
    assert (drop["doc_id"], drop["rule"]) == (rows[1]["doc_id"], "language")
    assert drop["value"] < drop["threshold"] == 0.9


def test_languages_are_noted_where_asked(run_filter: RunFilter) -> None:
    rows = make_documents([make_text(1), FRENCH])
    kept, _, counts = run_filter(FilterConfig(identify_language=True), rows)
    assert [row["language"] for row in kept] == ["en", "fr"]
    assert "num_dropped_language" not in counts
    candidates = FilterConfig(identify_language=True, language_candidates=("de", "fr"))
    assert run_filter(candidates, rows)[0][1]["language"] == "fr"


def test_masks_do_not_depend_on_neighbours(run_filter: RunFilter) -> None:
    config = FilterConfig(pii=("email", "phone"))
    rows = make_documents(["x@y.example", "Write a@b.example or c@d.example"])
    kept, _, counts = run_filter(config, rows)
    assert kept[1]["text"] == "Write email@example.com or firstname.lastname@example.org"
    assert counts["num_masked_email"] == 3
    assert counts["num_masked_phone"] == 0
    assert run_filter(config, rows[1:])[0] == kept[1:]
