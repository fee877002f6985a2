"""What each step of a training saw, and at which steps a document was seen.

Every training stage writes its *orders* beside its model (:mod:`model_code.training_order`): where
each document or record lies in the stream of its source, and which rows of that stream are in
which step. Both directions are read from there, by DuckDB, so that a question costs as much as its
answer and not as much as the training.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline_data.artifact import PROVENANCE, Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.query import ask

ORDERS = f"{PROVENANCE}/orders"
HEADING = "order.json"


@dataclass(frozen=True)
class Order:
    """One order of a training: of pages (unit ``tokens``) or of exercises (unit ``records``).

    Attributes:
        step: what a step is: an optimizer step, an iteration, or an update within one.
        batch_size: rows of a step.
        context: positions of a row; 1 where a row is a record.
    """

    folder: Path
    order: str
    unit: str
    step: str
    batch_size: int
    steps: int
    context: int
    streams: Sequence[str]

    @property
    def documents(self) -> str:
        """Where each document lies, for DuckDB."""
        return f"read_parquet('{self.folder / 'documents.parquet'}')"

    @property
    def rows(self) -> str:
        """Which row is at which place of the training, for DuckDB."""
        return f"read_parquet('{self.folder / 'rows.parquet'}')"


@dataclass(frozen=True)
class Exposure:
    """The steps at which a training saw a document.

    Attributes:
        num_tokens: tokens of the document that went through the model, repeats included.
        times: how often any of its positions came, at most; passes over it.
    """

    order: str
    step: str
    doc_id: str
    steps: list[int]
    times: int
    num_tokens: int


@dataclass(frozen=True)
class Coverage:
    """How much of a training saw any of some documents: steps from ``first`` to ``last``."""

    order: str
    step: str
    num_steps: int
    first: int
    last: int
    num_documents: int
    num_tokens: int


@dataclass(frozen=True)
class Seen:
    """A document in a step; ``url`` is known here for records alone."""

    doc_id: str
    url: str | None
    source: str
    num_tokens: int


@dataclass(frozen=True)
class Attribution:
    """How much of what a training saw belongs to a document or record on record."""

    order: str
    num_tokens: int
    num_attributed: int


def read_orders(artifact: Artifact) -> list[Order]:
    """The orders of a training, by name; none for what is no training."""
    folder = artifact.directory / ORDERS
    headings = sorted(folder.glob(f"*/{HEADING}"))
    return [Order(p.parent, **json.loads(p.read_text(encoding="utf-8"))) for p in headings]


def steps_of(artifact: Artifact, doc_ids: Sequence[str]) -> list[Exposure]:
    """At which steps a training saw these documents; nothing for those it never saw.

    For few documents: each is looked up by itself.
    """
    return [
        exposure
        for order in read_orders(artifact)
        for doc_id in doc_ids
        if (exposure := _find_steps(order, doc_id))
    ]


def _find_steps(order: Order, doc_id: str) -> Exposure | None:
    places = ask(
        f"SELECT stream, start, num_tokens FROM {order.documents} WHERE document = $document",
        {"document": int(doc_id, 16)},
    )
    indices: list[int] = []
    num_tokens = times = 0
    for stream, start, length in places:
        stop = start + (length if order.unit == "tokens" else 1)
        rows = ask(
            f'SELECT "row", list("index") FROM {order.rows} WHERE stream = $stream '
            'AND "row" BETWEEN $first AND $last GROUP BY "row"',
            {
                "stream": stream,
                "first": start // order.context,
                "last": (stop - 1) // order.context,
            },
        )
        for row, found in rows:
            held = min(stop, (row + 1) * order.context) - max(start, row * order.context)
            num_tokens += len(found) * (held if order.unit == "tokens" else length)
            times = max(times, len(found))
            indices += found
    if not indices:
        return None
    steps = sorted({index // order.batch_size for index in indices})
    return Exposure(order.order, order.step, doc_id, steps, times, num_tokens)


def steps_of_all(artifact: Artifact, doc_ids: pa.Array) -> list[Coverage]:
    """In how many steps a training saw any of these documents, however many they are.

    Args:
        doc_ids: numbers (uint64) that the ids are in hexadecimal.
    """
    return [c for order in read_orders(artifact) if (c := _cover(order, doc_ids)).num_steps]


def which_saw(artifacts: Sequence[Artifact], doc_ids: pa.Array) -> list[Artifact]:
    """Those of some trainings that saw any of these documents (uint64) at any step."""
    orders = {
        str(order.folder / "documents.parquet"): artifact
        for artifact in artifacts
        for order in read_orders(artifact)
    }
    if not orders:
        return []
    rows = ask(
        "SELECT DISTINCT filename FROM read_parquet($files, filename = true, union_by_name = true) "
        "SEMI JOIN wanted USING (document)",
        {"files": list(orders)},
        {"wanted": pa.table({"document": doc_ids})},
    )
    saw = {orders[file].key for (file,) in rows}
    return [artifact for artifact in artifacts if artifact.key in saw]


def _cover(order: Order, doc_ids: pa.Array) -> Coverage:
    wanted = pa.table({"document": doc_ids})
    length = "num_tokens" if order.unit == "tokens" else "1"
    row = '"row"'
    held = (
        f"least(stop, ({row} + 1) * {order.context}) - greatest(start, {row} * {order.context})"
        if order.unit == "tokens"
        else "num_tokens"
    )
    ((steps, first, last, tokens, documents),) = ask(
        f"""
        WITH places AS (
            SELECT document, stream, num_tokens, start, start + {length} AS stop,
                unnest(range(start // {order.context},
                    (start + {length} - 1) // {order.context} + 1)) AS {row}
            FROM {order.documents} SEMI JOIN wanted USING (document))
        SELECT count(DISTINCT "index" // {order.batch_size}), min("index" // {order.batch_size}),
            max("index" // {order.batch_size}), coalesce(sum({held}), 0)::BIGINT,
            count(DISTINCT document)
        FROM places JOIN {order.rows} USING (stream, {row})
        """,
        tables={"wanted": wanted},
    )
    return Coverage(order.order, order.step, steps, first, last, documents, tokens)


def documents_of(artifact: Artifact, order: Order, step: int) -> list[Seen]:
    """The documents that have a token in a step, those with most of them first.

    Raises:
        ArtifactError: the training has no such step.
    """
    if not 0 <= step < order.steps:
        raise ArtifactError(
            f"{artifact.label}: {order.order} has no {order.step} {step}; it has "
            f"0 to {order.steps - 1}"
        )
    named = "url, source" if order.unit == "records" else "NULL, NULL"
    if order.unit == "tokens":
        stop, held = "start + num_tokens", "least(d.stop, r.stop) - greatest(d.start, r.start)"
    else:
        stop, held = "start + 1", "num_tokens"
    rows = ask(
        f"""
        WITH rows_of_step AS (
            SELECT stream, "row" * {order.context} AS start, ("row" + 1) * {order.context} AS stop
            FROM {order.rows}
            WHERE "index" >= $step * {order.batch_size}
                AND "index" < ($step + 1) * {order.batch_size}),
        documents AS (SELECT *, {stop} AS stop FROM {order.documents})
        SELECT document, d.stream, {named}, sum({held})::BIGINT AS tokens
        FROM rows_of_step r JOIN documents d
            ON d.stream = r.stream AND d.start < r.stop AND d.stop > r.start
        GROUP BY ALL ORDER BY tokens DESC, document
        """,
        {"step": step},
    )
    return [
        Seen(f"{document:016x}", url, source or order.streams[stream], tokens)
        for document, stream, url, source, tokens in rows
    ]


def attribution(artifact: Artifact) -> list[Attribution]:
    """How much of what each order of a training holds lies within a document on record."""
    return [_attribute(order) for order in read_orders(artifact)]


def _attribute(order: Order) -> Attribution:
    if order.unit == "records":
        query = f"""
            SELECT count(*), count(document), coalesce(sum(num_tokens), 0)::BIGINT
            FROM {order.rows} r LEFT JOIN {order.documents} d
                ON d.stream = r.stream AND d.start = r."row" """
        ((num_rows, num_named, num_tokens),) = ask(query)
        share = num_named / num_rows if num_rows else 1.0
        return Attribution(order.order, round(num_tokens / share) if share else 0, num_tokens)
    # Up to a position, as much is covered as the documents before it have, and its own so far.
    query = f"""
        WITH times AS (
            SELECT stream, "row" * {order.context} AS start, count(*) AS n
            FROM {order.rows} GROUP BY ALL),
        bounds AS (
            SELECT stream, start AS place, -n AS weight FROM times
            UNION ALL SELECT stream, start + {order.context}, n FROM times),
        places AS (
            SELECT stream, start, num_tokens,
                sum(num_tokens) OVER (PARTITION BY stream ORDER BY start) - num_tokens AS before
            FROM {order.documents})
        SELECT (SELECT coalesce(sum(n), 0) * {order.context} FROM times)::BIGINT,
            coalesce(sum(weight * (before + least(place - start, num_tokens))), 0)::BIGINT
        FROM bounds b ASOF JOIN places p ON b.stream = p.stream AND b.place >= p.start"""
    ((num_tokens, num_attributed),) = ask(query)
    return Attribution(order.order, num_tokens, num_attributed)
