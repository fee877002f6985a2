"""Training orders as files: what each step of a stage saw, beside the model it made.

Such an order could be computed again from config and inputs for ever (:mod:`model_code.data_order`,
:mod:`model_code.record_order`), but that needs all token shards, and this code. So every training
stage writes it down, below ``provenance/orders/<order>/``:

- ``order.json``: name, ``unit`` (``tokens`` or ``records``), what a ``step`` is called, rows a step
  (``batch_size``), number of ``steps``, positions a row (``context``), sources (``streams``);
- ``documents.parquet``: a document lies at positions ``start`` to ``start + num_tokens`` of its
  stream, the beginning-of-sequence token before it included; a record is one position;
- ``rows.parquet``: row ``row`` of a stream, which is positions ``row * context`` to ``(row + 1) *
  context``, is at place ``index`` of the training; its step is ``index // batch_size``.

Documents are sorted by the number that their id is in hexadecimal, rows by stream, row and index,
so that a reader finds either in one row group. Only documents of which a step saw a token are
there. ``num_tokens`` of a record counts all its tokens that enter the model each time it is seen,
questions included although the loss is on answers: whatever a model could learn from has a name.
For PPO, whose answers are the policy's own, those are the tokens of the prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model_code.data_order import DataOrder
from model_code.record_order import RecordOrder
from pipeline_data.artifact import PROVENANCE
from pipeline_data.formats import document_id
from pipeline_data.preferences import EXERCISES_SOURCE
from pipeline_data.settings import canonical_json

ORDERS = "orders"
ORDER, DOCUMENTS, ROWS = "order.json", "documents.parquet", "rows.parquet"

DOCUMENT_FIELDS = pa.schema(
    [
        ("document", pa.uint64()),
        ("stream", pa.uint16()),
        ("start", pa.int64()),
        ("num_tokens", pa.int64()),
    ]
)
RECORD_FIELDS = DOCUMENT_FIELDS.append(pa.field("url", pa.string())).append(
    pa.field("source", pa.string())
)
"""What no token shard tells: the address and the source of a record."""
ROW_FIELDS = pa.schema([("stream", pa.uint16()), ("row", pa.int64()), ("index", pa.int64())])

ROW_GROUP = 100_000
ENCODING = "DELTA_BINARY_PACKED"
"""Of all integers: two thirds of the size and a quarter of the time of Parquet's defaults."""


@dataclass(frozen=True)
class Record:
    """One record of a training: where it comes from, and its tokens that enter the model."""

    url: str
    num_tokens: int


def write_token_order(out: Path, name: str, order: DataOrder, step: str = "step") -> None:
    """Write what each step of a training on token shards saw; reads no tokens.

    Takes some 60 bytes of memory a document.
    """
    tables = []
    for number, stream in enumerate(order.streams):
        rows = order.source_rows[order.sources == number]
        seen = _seen_documents(stream.starts, stream.num_tokens, rows, order.context)
        ends = np.append(stream.starts[1:], stream.num_tokens)
        starts = stream.starts[seen]
        columns = {
            "document": _as_numbers(stream.doc_ids.take(seen)),
            "stream": np.full(len(seen), number, dtype=np.uint16),
            "start": starts,
            "num_tokens": ends[seen] - starts,
        }
        tables.append(pa.table(columns, DOCUMENT_FIELDS))
    about = {
        "order": name,
        "unit": "tokens",
        "step": step,
        "batch_size": order.batch_size,
        "steps": order.steps,
        "context": order.context,
        "streams": [stream.source for stream in order.streams],
    }
    documents = pa.concat_tables(tables).combine_chunks()
    _write(out, about, documents, order.sources, order.source_rows)


def write_record_order(
    out: Path, order: RecordOrder, records: Sequence[Record], step: str = "step"
) -> None:
    """Write what each step of a training on records of the exercises saw."""
    seen = np.unique(order.queue)
    doc_ids = [document_id(EXERCISES_SOURCE, records[i].url) for i in seen]
    columns = {
        "document": _as_numbers(pa.array(doc_ids, pa.string())),
        "stream": np.zeros(len(seen), dtype=np.uint16),
        "start": seen,
        "num_tokens": [records[i].num_tokens for i in seen],
        "url": [records[i].url for i in seen],
        "source": [EXERCISES_SOURCE] * len(seen),
    }
    about = {
        "order": order.name,
        "unit": "records",
        "step": step,
        "batch_size": order.batch_size,
        "steps": order.steps,
        "context": 1,
        "streams": [EXERCISES_SOURCE],
    }
    documents = pa.table(columns, RECORD_FIELDS)
    _write(out, about, documents, np.zeros_like(order.queue), order.queue)


def _seen_documents(
    starts: npt.NDArray[np.int64], num_tokens: int, rows: npt.NDArray[np.int64], context: int
) -> npt.NDArray[np.int64]:
    """Which documents of a stream have a token in one of the rows."""
    num_rows = num_tokens // context
    is_seen = np.zeros(num_rows + 1, dtype=np.int64)
    is_seen[rows + 1] = 1
    num_before = np.cumsum(is_seen)  # rows seen among those before each
    first = np.minimum(starts // context, num_rows)
    last = np.minimum((np.append(starts[1:], num_tokens) - 1) // context + 1, num_rows)
    return np.flatnonzero(num_before[last] > num_before[first])


def _as_numbers(doc_ids: pa.StringArray) -> npt.NDArray[np.uint64]:
    """Ids of 16 hexadecimal digits as the numbers they are."""
    parts = [np.empty(0, dtype=np.uint64)]
    for start in range(0, len(doc_ids), ROW_GROUP):
        digits = "".join(doc_ids[start : start + ROW_GROUP].to_pylist())
        parts.append(np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64))
    return np.concatenate(parts)


def _write(
    out: Path,
    about: Mapping[str, Any],
    documents: pa.Table,
    streams: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
) -> None:
    """Write the three files; documents come by stream and start, rows in the order of training."""
    folder = out / PROVENANCE / ORDERS / about["order"]
    folder.mkdir(parents=True)
    (folder / ORDER).write_text(canonical_json(about) + "\n", encoding="utf-8")
    by_document = np.argsort(documents["document"].to_numpy(), kind="stable")
    _write_sorted(folder / DOCUMENTS, documents, by_document)
    table = pa.table(
        {"stream": streams.astype(np.uint16), "row": rows, "index": np.arange(len(rows))},
        ROW_FIELDS,
    )
    _write_sorted(folder / ROWS, table, np.lexsort((rows, streams)))


def _write_sorted(path: Path, table: pa.Table, order: npt.NDArray[np.int64]) -> None:
    """Write a table's rows in an order, a row group at a time."""
    strings = [field.name for field in table.schema if field.type == pa.string()]
    encodings = {name: ENCODING for name in table.schema.names if name not in strings}
    with pq.ParquetWriter(
        path, table.schema, compression="zstd", use_dictionary=strings, column_encoding=encodings
    ) as writer:
        for start in range(0, len(order), ROW_GROUP):
            writer.write_table(table.take(pa.array(order[start : start + ROW_GROUP])))
