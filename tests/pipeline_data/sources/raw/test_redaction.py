"""What is taken out of a raw shard is gone from its bytes; all else is read as before."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact
from pipeline_data.formats import write_jsonl
from pipeline_data.sources.raw.reader import DamagedRecord, RawRecord, RawResult, read_raw
from pipeline_data.sources.raw.redaction import RedactedRecord, redact_raw
from pipeline_data.sources.settings import ReaderConfig
from pipeline_data.sources.sharding import shard_name
from pipeline_data.sources.warc_shards import WARC, Page, ShardWriter
from tests.byte_search import find_bytes
from tests.pipeline_data.sources.artifacts import (
    PACKERS,
    adopt,
    arc_record,
    http_block,
    pack,
    warc_record,
    write_files,
)

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def url(number: int) -> str:
    return f"http://a.example/{number}"


def secret(number: int) -> str:
    return f"<html><body>secret {number:03d}.</body></html>"


def without_offset(result: RawResult) -> object:
    return (type(result), result.url, getattr(result, "payload", None), getattr(result, "text", 0))


def is_told(result: RawResult) -> bool:
    """Whether a result names its page; a request does not."""
    return bool(result.url)


def redact(raw: Artifact, reader: ReaderConfig, unwanted: set[str], out: Path) -> list[RawResult]:
    """What is read after redaction, having checked that nothing but the unwanted is gone."""
    before = list(read_raw(raw, reader))
    redacted = redact_raw(raw, reader, unwanted.__contains__, out)
    assert {record.url for record in redacted} == {r.url for r in before} & unwanted
    after = list(read_raw(adopt(out), reader))
    kept = [r for r in before if r.url not in unwanted and is_told(r)]
    after = [r for r in after if is_told(r)]
    assert [without_offset(r) for r in after] == [without_offset(r) for r in kept]
    return after


def warc_pages(number: int) -> list[bytes]:
    pairs = [
        (warc_record(b"GET / HTTP/1.1\r\n\r\n", "request", url(n), "application/http"),
         warc_record(http_block(secret(n).encode()), url=url(n)))
        for n in range(number)
    ]  # fmt: skip
    return [record for pair in pairs for record in pair]


@pytest.mark.parametrize("packer", PACKERS)
def test_records_of_an_archive_are_cut_out_byte_for_byte(tmp_path: Path, packer: str) -> None:
    records = warc_pages(5)
    data, _ = pack(records, packer)
    write_files(tmp_path / "raw", {"a.warc": data})
    redact(adopt(tmp_path / "raw"), ReaderConfig(format="warc"), {url(0), url(3)}, tmp_path / "out")
    expected, _ = pack([*records[2:6], *records[8:]], packer)
    assert (tmp_path / "out" / "a.warc").read_bytes() == expected


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_a_member_of_several_records_is_packed_anew(tmp_path: Path, compressor: str) -> None:
    compress = COMPRESSORS[compressor]
    records = warc_pages(6)
    data = b"".join(compress(b"".join(records[start : start + 4])) for start in range(0, 12, 4))
    write_files(tmp_path / "raw", {"a.warc": data})
    redact(adopt(tmp_path / "raw"), ReaderConfig(format="warc"), {url(1)}, tmp_path / "out")
    result = (tmp_path / "out" / "a.warc").read_bytes()
    kept = compress(b"".join(records[4:8])) + compress(b"".join(records[8:12]))
    assert result.endswith(kept)


def test_a_frame_with_a_dictionary_is_packed_anew(tmp_path: Path) -> None:
    start, compress = PACKERS["zstd, dictionary"]
    data = start + compress(b"".join(warc_pages(3)))
    write_files(tmp_path / "raw", {"a.warc.zst": data})
    redact(adopt(tmp_path / "raw"), ReaderConfig(format="warc"), {url(2)}, tmp_path / "out")


def test_an_arc_loses_a_record_too(tmp_path: Path) -> None:
    data, _ = pack([arc_record(http_block(secret(n).encode()), url(n)) for n in range(3)], "gzip")
    write_files(tmp_path / "raw", {"a.arc.gz": data})
    redact(adopt(tmp_path / "raw"), ReaderConfig(format="warc"), {url(1)}, tmp_path / "out")


def test_a_damaged_record_of_the_page_goes_with_all_its_bytes(tmp_path: Path) -> None:
    good, bad = warc_pages(2)[1], warc_pages(3)[5]
    damaged = bad.replace(b"Content-Length: ", b"Content-Length: 9")
    data = good + damaged + warc_pages(4)[7]
    write_files(tmp_path / "raw", {"a.warc": data})
    raw = adopt(tmp_path / "raw")
    reader = ReaderConfig(format="warc")
    assert isinstance(list(read_raw(raw, reader))[1], DamagedRecord)
    assert [r.url for r in redact(raw, reader, {url(2)}, tmp_path / "out")] == [url(0), url(3)]
    assert not find_bytes(tmp_path / "out", "secret 002")


def test_a_crawl_shard_stays_one(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "raw", 1, {}) as writer:
        for number in (3, 1, 2):
            body = gzip.compress(secret(number).encode())
            headers = [("Content-Encoding", "gzip"), ("Content-Type", "text/html")]
            payload = secret(number).encode()
            writer.write(Page(url(number), 200, "text/html", body, payload, "2026-01-02T03:04:05Z",
                              [("Accept", "*/*")], headers))  # fmt: skip
    raw = adopt(tmp_path / "raw").part(shard_name("crawl", 0))
    after = redact(raw, ReaderConfig(format="crawl"), {url(1)}, tmp_path / "out")
    assert [type(result) for result in after] == [RawRecord, RawRecord]
    assert find_bytes(tmp_path / "raw", "secret 001")
    assert not find_bytes(tmp_path / "out", "secret 001")
    assert find_bytes(tmp_path / "out", "secret 002") == [tmp_path / "out" / WARC]


def test_rows_of_a_package_or_dataset_are_taken_out(tmp_path: Path) -> None:
    rows = [{"url": url(n), "text": f"secret {n:03d}"} for n in range(4)]
    write_jsonl(tmp_path / "raw" / "records.jsonl", rows)
    reader = ReaderConfig(format="records")
    redact(adopt(tmp_path / "raw"), reader, {url(2)}, tmp_path / "out")
    write_jsonl(tmp_path / "expected.jsonl", [row for row in rows if row["url"] != url(2)])
    expected = (tmp_path / "expected.jsonl").read_bytes()
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == expected


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.sets(st.integers(0, 11)),
    compressor=st.sampled_from(sorted(COMPRESSORS)),
    with_urls=st.booleans(),
    ends=st.booleans(),
)
def test_lines_keep_their_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: set[int],
    compressor: str,
    with_urls: bool,
    ends: bool,
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    rows = [{"text": f"secret {n:03d}"} | ({"url": url(n)} if with_urls else {}) for n in range(12)]
    text = "\n".join(json.dumps(row) for row in rows) + ("\n" if ends else "")
    write_files(folder / "raw", {"a.jsonl": COMPRESSORS[compressor](text.encode())})
    raw, reader = adopt(folder / "raw"), ReaderConfig(format="jsonl", url_column="url")
    urls = [result.url for result in read_raw(raw, reader)]
    unwanted = {urls[n] for n in numbers}
    after = redact(raw, reader, unwanted, folder / "out")
    assert [result.offset for result in after] == [n for n in range(12) if n not in numbers]


@pytest.mark.parametrize(("split", "number"), [("paragraph", 3), ("line", 4)])
def test_texts_keep_their_numbers(tmp_path: Path, split: str, number: int) -> None:
    text = "one\ntwo\n\nthree\nfour\n \nfive\n"
    write_files(tmp_path / "raw", {"a.txt": gzip.compress(text.encode())})
    reader = ReaderConfig.model_validate({"format": "text", "split": split})
    raw = adopt(tmp_path / "raw")
    (gone,) = [r for r in read_raw(raw, reader) if r.offset == number]
    after = redact(raw, reader, {gone.url}, tmp_path / "out")
    others = [r.offset for r in read_raw(raw, reader) if r.offset != number]
    assert [r.offset for r in after] == others


def test_a_text_that_is_one_document_becomes_empty(tmp_path: Path) -> None:
    write_files(tmp_path / "raw", {"a.txt": "secret 001\nsecret 002"})
    reader = ReaderConfig(format="text")
    assert redact(adopt(tmp_path / "raw"), reader, {"file:a.txt"}, tmp_path / "out") == []


def test_rows_of_parquet_keep_their_numbers(tmp_path: Path) -> None:
    texts = [f"secret {n:03d}" for n in range(7)]
    table = pa.table(
        {"text": texts, "n": range(7), "more": [[{"a": t}] for t in texts]},
        schema=pa.schema(
            [
                pa.field("text", pa.string(), nullable=False),
                pa.field("n", pa.int32()),
                pa.field("more", pa.list_(pa.struct([("a", pa.string())]))),
            ]
        ),
    )
    (tmp_path / "raw").mkdir()
    pq.write_table(table, tmp_path / "raw" / "a.parquet", row_group_size=3, compression="gzip")
    raw, reader = adopt(tmp_path / "raw"), ReaderConfig(format="parquet")
    (tmp_path / "out").mkdir()
    gone = redact_raw(raw, reader, lambda u: u.endswith("#4"), tmp_path / "out")
    assert gone == [RedactedRecord("file:a.parquet#4", 4)]
    after = [
        (r.offset, getattr(r, "text", None)) for r in read_raw(adopt(tmp_path / "out"), reader)
    ]
    assert after == [(n, "" if n == 4 else texts[n]) for n in range(7)]
    assert not find_bytes(tmp_path / "out", "secret 004")
    written = pq.read_table(tmp_path / "out" / "a.parquet")
    assert written["more"].to_pylist()[5] == [{"a": "secret 005"}]
    assert pq.ParquetFile(tmp_path / "out" / "a.parquet").num_row_groups == 3
