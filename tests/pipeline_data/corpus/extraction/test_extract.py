"""Extraction: from pages and texts to documents, and the name of everything that is not one."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Artifact, Counts, content_digest, describe
from pipeline_data.corpus.extraction import extract
from pipeline_data.corpus.filters.quality import Drop
from pipeline_data.corpus.settings import ExtractConfig
from pipeline_data.formats import document_id, write_jsonl
from pipeline_data.sources.raw.reader import DamagedRecord, PassedRecord, RawRecord, RawResult
from pipeline_data.sources.settings import ReaderConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import as_artifact, make_page, make_text, warc_artifact
from tests.pipeline_data.sources.artifacts import http_block, pack, warc_record, write_files

TEXTS = ExtractConfig(source="made", reader=ReaderConfig(format="records"))
PAGES = ExtractConfig(source="web", reader=ReaderConfig(format="warc"))


def text_artifact(folder: Path, rows: Sequence[dict[str, str]]) -> Artifact:
    write_jsonl(folder / "records.jsonl", rows)
    return as_artifact(folder, "made-000")


def run_extract(config: ExtractConfig, raw: Artifact, out: Path) -> Counts:
    return extract.run(config, Inputs({"raw": raw}), out, Runtime())


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / name).to_pylist()
    return rows


def web_pages() -> Iterator[tuple[str, bytes]]:
    yield "https://a.example/1", make_page(1).encode()
    yield "https://a.example/2", make_page(2).encode()
    yield "https://a.example/1", make_page(3).encode()
    yield "https://a.example/empty", b"<html><body></body></html>"
    yield "https://a.example/broken", b"\x00\xff<<<>&#xFFFFFFFF;</" * 20


@pytest.mark.parametrize("extractor", ["trafilatura", "fast"])
def test_pages_become_text_without_their_furniture(tmp_path: Path, extractor: str) -> None:
    raw = warc_artifact(tmp_path / "raw", list(web_pages()), "2026-01-02T03:04:05Z")
    config = PAGES.model_copy(update={"extractor": extractor})
    run_extract(config, raw, tmp_path / "out")
    first, second, *_ = rows_of(tmp_path / "out", "documents.parquet")
    assert first["url"] == "https://a.example/1"
    assert first["doc_id"] == document_id("web", "https://a.example/1")
    assert first["source"] == "web"
    for row, seed in ((first, 1), (second, 2)):
        for line in make_text(seed).split("\n"):
            assert line in row["text"]
        assert "legal notes" not in row["text"]
        assert "All pages" not in row["text"]


def test_everything_not_extracted_is_named(tmp_path: Path) -> None:
    raw = warc_artifact(tmp_path / "raw", list(web_pages()), "2026-01-02T03:04:05Z")
    counts = run_extract(PAGES, raw, tmp_path / "out")
    dropped = {row["url"]: row["rule"] for row in rows_of(tmp_path / "out", "dropped.parquet")}
    assert dropped["https://a.example/1"] == "repeated_url"
    assert dropped["https://a.example/empty"] == "empty"
    documents = rows_of(tmp_path / "out", "documents.parquet")
    assert len(documents) + len(dropped) == 5
    assert counts["num_documents"] == len(documents)
    assert counts["num_dropped"] == len(dropped)
    assert counts["num_dropped_repeated_url"] == 1


def test_provenance_is_apart_from_the_content(tmp_path: Path) -> None:
    digests = set()
    for date in ("2026-01-02T03:04:05Z", "2027-01-01T00:00:00Z"):
        raw = warc_artifact(tmp_path / date / "raw", list(web_pages()), date)
        out = tmp_path / date / "out"
        run_extract(PAGES, raw, out)
        digests.add(content_digest(describe(out)))
        provenance = rows_of(out, "provenance/provenance.parquet")
        assert len(provenance) == 5
        assert {row["raw_shard"] for row in provenance} == {"web-000"}
        assert provenance[0]["fetched"].startswith(date[:19])
        assert provenance[0]["offset"] < provenance[1]["offset"]
    assert len(digests) == 1


def test_texts_pass_through(tmp_path: Path) -> None:
    texts = ["One\r\ntwo\rthree  ", "lone \ud800 surrogate", "  ", "<p>not HTML</p>"]
    records = [RawRecord(f"made:{i}", i, text=text) for i, text in enumerate(texts)]
    results = [extract.extract_text(TEXTS, record) for record in records]
    assert results == ["One\ntwo\nthree", "lone ? surrogate", Drop("empty"), "<p>not HTML</p>"]


def test_text_records_of_a_shard(tmp_path: Path) -> None:
    rows = [{"url": f"made:{number}", "text": f"Text {number}."} for number in range(3)]
    counts = run_extract(TEXTS, text_artifact(tmp_path / "raw", rows), tmp_path / "out")
    assert [row["text"] for row in rows_of(tmp_path / "out", "documents.parquet")] == [
        "Text 0.",
        "Text 1.",
        "Text 2.",
    ]
    assert counts["num_documents"] == 3
    assert counts["num_dropped"] == counts["num_passed"] == counts["num_lost_bytes"] == 0
    assert counts["num_bytes"] == 21


def test_a_record_that_is_no_document_is_counted_and_a_page_that_is_none_named(
    tmp_path: Path,
) -> None:
    page, torn = make_page(1).encode(), b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: 9"
    records = [
        warc_record(b"GET / HTTP/1.1\r\n\r\n", "request", "http://a.example/0"),
        warc_record(http_block(page), url="http://a.example/1"),
        warc_record(http_block(page, status="404 Not Found"), url="http://a.example/2"),
        torn,
        warc_record(http_block(page), url="http://a.example/3"),
    ]
    data, offsets = pack(records, "gzip")
    write_files(tmp_path / "raw", {"a.warc.gz": data})
    out = tmp_path / "out"
    counts = run_extract(PAGES, as_artifact(tmp_path / "raw", "web-000"), out)
    assert counts["num_passed"] == 1
    assert rows_of(out, "passed.parquet") == [{"reason": "request", "num_records": 1}]
    assert counts["num_documents"] == 2
    assert counts["num_lost_bytes"] == len(gzip.compress(torn, mtime=0))
    dropped = rows_of(out, "dropped.parquet")
    assert [(row["rule"], row["url"]) for row in dropped] == [
        ("status", "http://a.example/2"),
        ("damaged", ""),
    ]
    assert dropped[0]["detail"].startswith("404")
    assert f"at {offsets[3]}" in dropped[1]["detail"]
    assert len(rows_of(out, "provenance/provenance.parquet")) == 4


@pytest.mark.parametrize(
    ("record", "drop"),
    [
        (DamagedRecord(3, "cut short"), Drop("damaged", "cut short (at 3)")),
        (
            DamagedRecord(3, "cut short", num_bytes=7),
            Drop("damaged", "cut short (at 3, 7 bytes passed over)", value=7),
        ),
        (PassedRecord(3, "status", "http://a", "404"), Drop("status", "404")),
        (RawRecord("", 3, text="some text"), Drop("damaged", "no URL")),
        (RawRecord("made:1", 3, text="123456789"), Drop("too_short", value=9, threshold=10)),
        (RawRecord("made:1", 3, payload=b""), Drop("empty")),
    ],
)
def test_reasons_to_drop(record: RawResult, drop: Drop) -> None:
    config = TEXTS.model_copy(update={"min_chars": 10})
    assert extract.extract_text(config, record) == drop


def test_a_page_does_not_depend_on_the_pages_before() -> None:
    page = make_page(1, extra="<p>One repeated line that every page of the site has in it.</p>")
    assert len({extract.html_to_text(PAGES, page) for _ in range(5)}) == 1


def test_tables_and_favour() -> None:
    table = "<table><tr><th>Bridge</th><th>Length</th></tr><tr><td>Old</td><td>12</td></tr></table>"
    page = make_page(1, extra=table)
    assert "Bridge" in extract.html_to_text(PAGES, page)
    without = PAGES.model_copy(update={"include_tables": False})
    assert "Bridge" not in extract.html_to_text(without, page)


def test_deeply_nested_page_costs_only_itself() -> None:
    nested = b"<div>" * 20_000 + b"text"
    record = RawRecord("https://a.example/deep", 0, payload=nested)
    assert isinstance(extract.extract_text(PAGES, record), str | Drop)
