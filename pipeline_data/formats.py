"""The tables that pass between stages, and how they are written.

A document keeps ``doc_id``, ``url`` and ``source`` from extraction to its row in a token shard.
Writing is deterministic: the same rows give the same bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

DROPPED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("rule", pa.string()),
        ("detail", pa.string()),
    ]
)
"""Why a document is not in the corpus: the rule, and the number or document that decided."""

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
        ("shingles", pa.list_(pa.uint64())),
    ]
)
"""MinHash band hashes and the sorted unique shingle hashes they were made of."""

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
"""A dropped duplicate: ``exact`` or ``near``, its survivor and the survivor's shard, Jaccard."""

TOKENS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("num_bytes", pa.int64()),
        ("tokens", pa.list_(pa.uint16())),
    ]
)
"""A token shard: one row a document; split is ``train`` or ``heldout``; bytes are of UTF-8 text."""


def document_id(source: str, url: str) -> str:
    """A document's name for life: 16 hex digits of SHA-256 over source and URL."""
    return hashlib.sha256(f"{source}\n{url}".encode()).hexdigest()[:16]


def write_table(
    path: Path, schema: pa.Schema, rows: Sequence[Mapping[str, Any]] | pa.Table
) -> None:
    """Write rows as Parquet (zstd) with fixed settings."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.cast(schema), path, compression="zstd", row_group_size=65536)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as dictionaries, a batch in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(columns) if columns else None):
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
