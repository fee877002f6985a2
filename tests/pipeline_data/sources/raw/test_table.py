import bz2
import gzip
import json
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.reader import DamagedRecord, RawRecord, RawResult, read_raw
from pipeline_data.sources.settings import ReaderConfig
from tests.pipeline_data.sources.artifacts import adopt, gzipped, write_files


def read(folder: Path, name: str, content: str | bytes, **reader: Any) -> list[RawResult]:
    write_files(folder, {name: content})
    return list(read_raw(adopt(folder), ReaderConfig(**reader)))


def facts(results: list[RawResult]) -> list[tuple[str, int, str | None]]:
    """URL, offset and text of each; no text for what is damaged."""
    return [(r.url, r.offset, None if isinstance(r, DamagedRecord) else r.text) for r in results]


def test_jsonl_is_named_by_url_id_or_row(tmp_path: Path) -> None:
    rows = [{"text": "one", "link": "http://a.example/", "id": 7}, {"text": "two", "id": 8}]
    rows += [{"text": "three"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    results = read(tmp_path, "a b.jsonl", lines, format="jsonl", url_column="link", id_column="id")
    assert facts(results) == [
        ("http://a.example/", 0, "one"),
        ("file:a%20b.jsonl#8", 1, "two"),
        ("file:a%20b.jsonl#2", 2, "three"),
    ]


def test_bad_jsonl_lines_cost_themselves(tmp_path: Path) -> None:
    lines = ['{"text": "one"}', "{broken", "[1]", '{"other": 1}', "", '{"text": "two"}', "[" * 9999]
    lines.append(json.dumps({"text": "x" * 2000}))
    results = read(tmp_path, "a.jsonl", "\n".join(lines), format="jsonl", max_page_bytes=1000)
    damaged = [r.offset for r in results if isinstance(r, DamagedRecord)]
    assert damaged == [1, 2, 3, 6, 7]
    assert [text for _, _, text in facts(results) if text] == ["one", "two"]


def test_compressed_jsonl_is_read_up_to_where_it_breaks(tmp_path: Path) -> None:
    whole = gzipped("".join(json.dumps({"text": f"{n:05d}"}) + "\n" for n in range(2000)))
    assert len(read(tmp_path, "a.jsonl.gz", whole, format="jsonl")) == 2000
    results = read(tmp_path, "a.jsonl.gz", whole[:-2000], format="jsonl")
    assert isinstance(results[-1], DamagedRecord)
    assert "damaged from here on" in results[-1].reason
    assert [r.offset for r in results] == list(range(len(results)))


COMPRESSORS = {
    "gz": gzip.compress,
    "zst": zstd.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "jsonl": bytes,
}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_every_compression_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    lines = [json.dumps({"text": f"row {n}"}).encode() + b"\n" for n in range(3000)]
    compress = COMPRESSORS[suffix]
    half = compress(b"\xef\xbb\xbf" + b"".join(lines[:1500])), compress(b"".join(lines[1500:]))
    results = read(tmp_path, "named.anyhow", b"".join(half), format="jsonl")
    assert [text for _, _, text in facts(results)] == [f"row {n}" for n in range(3000)]


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_empty_files_hold_nothing(tmp_path: Path, suffix: str) -> None:
    content = COMPRESSORS[suffix](b"")
    assert read(tmp_path, "a", content, format="jsonl") == []
    assert read(tmp_path, "a", content, format="text") == []


def test_bomb_in_one_line_is_counted_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"text": "one"}\n' + b"x" * 50_000_000 + b'\n{"text": "two"}\n')
    )
    tracemalloc.start()
    try:
        results = list(read_raw(adopt(tmp_path), ReaderConfig(format="jsonl")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [text for _, _, text in facts(results)] == ["one", None, "two"]
    assert peak < 20_000_000


@given(st.sampled_from(sorted(COMPRESSORS)), st.integers(1, 255), st.data())
def test_damage_never_raises_and_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, mask: int, data: st.DataObject
) -> None:
    rows = [{"text": f"{n:03d}"} for n in range(50)]
    content = bytearray(COMPRESSORS[suffix]("".join(f"{json.dumps(r)}\n" for r in rows).encode()))
    content[data.draw(st.integers(0, len(content) - 1))] ^= mask
    content = content[: data.draw(st.integers(1, len(content)))]
    folder = tmp_path_factory.mktemp("damaged")
    results = read(folder, "a", bytes(content), format="jsonl")
    whole = [r for r in results if isinstance(r, RawRecord)]
    assert len(results) <= 60 and len(whole) <= 50
    assert [r.offset for r in results] == list(range(len(results)))


def test_parquet_rows_and_missing_texts(tmp_path: Path) -> None:
    table = pa.table({"body": ["one", None, "three"], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    reader = ReaderConfig(format="parquet", text_column="body", id_column="n")
    assert facts(list(read_raw(adopt(tmp_path), reader))) == [
        ("file:a.parquet#1", 0, "one"),
        ("file:a.parquet#2", 1, None),
        ("file:a.parquet#3", 2, "three"),
    ]


def test_damaged_row_group_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {n} " + "abc" * n for n in range(6)]})
    pq.write_table(table, path, row_group_size=2, use_dictionary=False, compression="none")
    chunk = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + 8] = b"\xff" * 8
    artifact = adopt(tmp_path)
    path.write_bytes(bytes(data))
    results = list(read_raw(artifact, ReaderConfig(format="parquet")))
    assert [(r.offset, isinstance(r, DamagedRecord)) for r in results] == [
        (0, False),
        (1, False),
        (2, True),
        (4, False),
        (5, False),
    ]


def test_unreadable_parquet_and_wrong_columns_are_source_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "a.parquet")
    artifact = adopt(tmp_path)
    with pytest.raises(SourceError, match=r"no column 'text' \(it has body\)"):
        list(read_raw(artifact, ReaderConfig(format="parquet")))
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"a\.parquet is no Parquet file"):
        list(read_raw(artifact, ReaderConfig(format="parquet")))


def test_parquet_that_was_cut_off_is_counted(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one"] * 99}), tmp_path / "a.parquet")
    artifact = adopt(tmp_path)
    data = (tmp_path / "a.parquet").read_bytes()
    for cut in (0, 2, 100, len(data) - 1):
        (tmp_path / "a.parquet").write_bytes(data[:cut])
        (result,) = read_raw(artifact, ReaderConfig(format="parquet"))
        assert isinstance(result, DamagedRecord) and result.num_bytes == cut


def test_row_whose_text_is_no_text_costs_itself(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    results = list(read_raw(adopt(tmp_path), ReaderConfig(format="parquet")))
    assert [r.text if isinstance(r, RawRecord) else None for r in results] == ["one", None, "three"]


NESTED = [
    {"meta": {"url": "http://a.example/1", "doc": {"body": "one"}}, "a.b": "x"},
    {"meta": {"url": None, "doc": {"body": "two"}}, "a.b": "y"},
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_may_lie_inside_others(tmp_path: Path, kind: str) -> None:
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, NESTED)))
    else:
        pq.write_table(pa.Table.from_pylist(NESTED), tmp_path / "a.parquet")
    columns = {"text_column": "meta.doc.body", "url_column": "meta.url", "id_column": "a.b"}
    reader = ReaderConfig(format=kind, **columns)
    assert facts(list(read_raw(adopt(tmp_path), reader))) == [
        ("http://a.example/1", 0, "one"),
        (f"file:a.{kind}#y", 1, "two"),
    ]


@pytest.mark.parametrize("column", ["meta.nothing", "meta.url.more", "nothing.at.all"])
def test_column_that_lies_nowhere_is_named(tmp_path: Path, column: str) -> None:
    pq.write_table(pa.Table.from_pylist(NESTED), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=f"has no column '{column}'"):
        list(read_raw(adopt(tmp_path), ReaderConfig(format="parquet", text_column=column)))


def test_large_row_group_is_read_piece_by_piece(tmp_path: Path) -> None:
    words = [f"{n} " * 2000 for n in range(20_000)]
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet", compression="zstd")
    artifact = adopt(tmp_path)
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 1
    before = pa.total_allocated_bytes()
    peak = 0
    for number, result in enumerate(read_raw(artifact, ReaderConfig(format="parquet"))):
        assert isinstance(result, RawRecord) and result.text == words[number]
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 60_000_000 < sum(map(len, words)) / 3


TEXT = "First line.\nSecond line.\n\n\nThird line.\n"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("document", [("file:t.txt", 0, TEXT)]),
        (
            "paragraph",
            [
                ("file:t.txt#0", 0, "First line.\nSecond line.\n"),
                ("file:t.txt#4", 4, "Third line.\n"),
            ],
        ),
        (
            "line",
            [
                ("file:t.txt#0", 0, "First line.\n"),
                ("file:t.txt#1", 1, "Second line.\n"),
                ("file:t.txt#4", 4, "Third line.\n"),
            ],
        ),
    ],
)
def test_text_is_split_as_asked(
    tmp_path: Path, split: str, expected: list[tuple[str, int, str]]
) -> None:
    assert facts(read(tmp_path, "t.txt", TEXT, format="text", split=split)) == expected


def test_bad_text_costs_itself(tmp_path: Path) -> None:
    content = b"good\n\n\xff\xfe\n\n" + b"long line\n" * 200 + b"\nlast\n"
    results = read(
        tmp_path, "t.txt", content, format="text", split="paragraph", max_page_bytes=1000
    )
    assert [(r.offset, isinstance(r, DamagedRecord)) for r in results] == [
        (0, False),
        (2, True),
        (4, True),
        (205, False),
    ]


def test_too_long_a_line_or_file_costs_itself(tmp_path: Path) -> None:
    content = "x" * 5000 + "\nshort\n"
    lines = read(tmp_path, "t.txt", content, format="text", split="line", max_page_bytes=1000)
    assert [(r.offset, isinstance(r, DamagedRecord)) for r in lines] == [(0, True), (1, False)]
    many = "many lines\n" * 500
    (whole,) = read(tmp_path, "t.txt", many, format="text", max_page_bytes=1000)
    assert isinstance(whole, DamagedRecord) and "larger than 1000 bytes" in whole.reason


def test_missing_file_is_a_source_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"t.txt": "text"})
    artifact = adopt(tmp_path)
    (tmp_path / "t.txt").unlink()
    (tmp_path / "t.txt").mkdir()
    with pytest.raises(SourceError, match="cannot be opened"):
        list(read_raw(artifact, ReaderConfig(format="text")))


LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=20)
)


@given(LINES)
def test_paragraphs_hold_every_line_that_is_not_empty(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    content = "\n".join(lines)
    results = read(tmp_path_factory.mktemp("t"), "t.txt", content, format="text", split="paragraph")
    texts = [text or "" for _, _, text in facts(results)]
    kept = [line for line in lines if line.encode().strip()]
    assert [line for text in texts for line in text.removesuffix("\n").split("\n")] == kept
