"""The tables that pass between stages, and how they are written.

A document keeps ``doc_id``, ``url`` and ``source`` from extraction to its row in a token shard.
Writing is deterministic: the same rows give the same bytes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DOCUMENTS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("text", pa.string()),
    ]
)
"""One row a document, in the order of its raw shard."""

FILTERED = DOCUMENTS.append(pa.field("language", pa.string()))
"""A document that passed the filter, with its language (ISO 639-1), empty if none was asked for."""

DROPPED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("rule", pa.string()),
        ("detail", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
"""Why a document is not in the corpus: the rule, what it found, and, where the rule compares
numbers, the one that crossed the line and the line."""

PASSED = pa.schema([("reason", pa.string()), ("num_records", pa.int64())])
"""Records of an archive that stand for no page, by what they are: requests, metadata."""

PROVENANCE = pa.schema(
    [
        ("doc_id", pa.string()),
        ("raw_shard", pa.string()),
        ("offset", pa.int64()),
        ("fetched", pa.string()),
    ]
)
"""Where a document's raw record lies (byte offset or row) and when it was fetched (ISO 8601)."""

SIGNATURES = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text_sha256", pa.string()),
        ("bands", pa.list_(pa.uint64())),
        ("num_shingles", pa.int32()),
    ]
)
"""MinHash band hashes and how many shingles they were made of (themselves in shingles.npy)."""

KEPT = pa.schema([("doc_id", pa.string())])
"""The documents of one shard that survive deduplication."""

DUPLICATES = pa.schema(
    [
        ("doc_id", pa.string()),
        ("rule", pa.string()),
        ("duplicate_of", pa.string()),
        ("shard_of", pa.string()),
        ("similarity", pa.float64()),
    ]
)
"""A dropped duplicate: ``repeated_url``, ``exact`` or ``near``; the survivor it is a duplicate of,
which names the cluster, and that one's shard; their Jaccard similarity, if they were compared."""

TOKENS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("num_bytes", pa.int64()),
        ("num_tokens", pa.int64()),
        ("tokens", pa.list_(pa.uint16())),
    ]
)
"""A token shard: one row a document; split is ``train`` or ``heldout``; bytes are of UTF-8 text."""

TOKENS_LAYOUT = {
    "use_dictionary": ["source", "split"],
    "column_encoding": {"tokens.list.element": "BYTE_STREAM_SPLIT"},
}
"""Smaller and quicker to write than Parquet's defaults, as quick to read (bench/tokens.py)."""

EVALUATION_ITEMS = pa.schema(
    [
        ("evaluation", pa.string()),
        ("item", pa.string()),
        ("words", pa.string()),
        ("num_words", pa.int32()),
        ("ngram", pa.int32()),
        ("num_ngrams", pa.int32()),
    ]
)
"""The items of an evaluation set that training text is compared with: the words between spaces, how
many make an n-gram of this item, and how many different n-grams it has."""

NGRAMS = pa.schema(
    [
        ("hash", pa.uint64()),
        ("item", pa.int32()),
        ("position", pa.int32()),
    ]
)
"""The different word n-grams of each item, sorted by hash: the item's row, the first word."""

UNJUDGED = pa.schema(
    [
        ("evaluation", pa.string()),
        ("item", pa.string()),
        ("rule", pa.string()),
        ("detail", pa.string()),
        ("num_words", pa.int32()),
    ]
)
"""An item that training text cannot be compared with: ``too_short`` or ``damaged``."""

CONTAMINATED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("evaluation", pa.string()),
        ("item", pa.string()),
        ("ngram", pa.string()),
        ("num_matches", pa.int32()),
        ("num_ngrams", pa.int32()),
    ]
)
"""A document dropped because of an evaluation item: the first of the item's n-grams it holds, how
many of them it holds, and how many the item has."""


BATCH_ROWS = 1024
BATCH_CHARS = 8_000_000
ROW_GROUP_BYTES = 32_000_000


def document_id(source: str, url: str) -> str:
    """A document's name for life: 16 hex digits of SHA-256 over source and URL."""
    return hashlib.sha256(f"{source}\n{url}".encode()).hexdigest()[:16]


@contextmanager
def open_table(path: Path, schema: pa.Schema) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Write rows as Parquet (zstd) as they come; yields the function that takes one.

    Memory stays bounded: rows leave as they fill a row group, whose end is a function of the rows
    alone, so the same rows always give the same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    batches: list[pa.RecordBatch] = []
    num_chars = 0

    def pack() -> None:
        nonlocal num_chars
        if rows:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=schema))
        rows.clear()
        num_chars = 0

    def flush() -> None:
        if batches:
            writer.write_table(pa.Table.from_batches(batches, schema))
        batches.clear()

    def write(row: Mapping[str, Any]) -> None:
        nonlocal num_chars
        rows.append(row)
        num_chars += sum(len(value) for value in row.values() if hasattr(value, "__len__"))
        if len(rows) == BATCH_ROWS or num_chars >= BATCH_CHARS:
            pack()
            if sum(batch.nbytes for batch in batches) >= ROW_GROUP_BYTES:
                flush()

    layout = TOKENS_LAYOUT if schema.equals(TOKENS) else {}
    with pq.ParquetWriter(path, schema, compression="zstd", **layout) as writer:
        yield write
        pack()
        flush()


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as Parquet (zstd) with fixed settings."""
    with open_table(path, schema) as write:
        for row in rows:
            write(row)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as dictionaries, a batch in memory at a time."""
    wanted = list(columns) if columns else None
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):  # a batch may not span several
            for batch in file.iter_batches(BATCH_ROWS, [group], wanted):
                yield from batch.to_pylist()


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, keys as given; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    num_rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            num_rows += 1
    return num_rows


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, one at a time."""
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            yield json.loads(line)
