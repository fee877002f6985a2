"""Which documents share an id, a text or a band with another one: a DuckDB query that spills.

Most documents share nothing and survive unseen. The others come out in the stable order, each
with the numbers of its *buckets*. Buckets of the same documents are one bucket: two pages
that are alike share most of their bands, but have to be looked at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import duckdb

from pipeline_data.corpus.deduplication.survivors import Buckets
from pipeline_data.stage_run import Runtime

KEYS = {"doc_id": "doc_id", "text": "text_sha256", "band": "unnest(bands)"}
"""What documents can share, and the expression that gives it."""

BATCH_ROWS = 100_000


@contextmanager
def open_database(folder: Path, runtime: Runtime) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory; ``folder`` takes what does not fit."""
    with duckdb.connect(
        config={
            "threads": runtime.threads,
            "memory_limit": f"{runtime.memory_mb}MB",
            "temp_directory": str(folder),
            "preserve_insertion_order": False,
        },
    ) as database:
        database.execute("SET enable_progress_bar = false")
        yield database


class BucketStream:
    """The documents that share something, by place."""

    def __init__(self, documents: Iterator[Buckets]) -> None:
        self._documents = documents
        self._next = next(documents, None)

    def before(self, place: int) -> Iterator[Buckets]:
        """Those before a place that were not given yet."""
        while self._next and self._next.place < place:
            found, self._next = self._next, next(self._documents, None)
            yield found


def find_buckets(
    database: duckdb.DuckDBPyConnection, paths: Sequence[Path], starts: Sequence[int]
) -> Iterator[Buckets]:
    """The documents that share something, by place: the start of the shard plus the row.

    ``paths`` are the shards' signatures.parquet in the stable order, each with its start.
    """
    if not paths:
        return
    _open_signatures(database, paths, starts)
    for kind, expression in KEYS.items():
        _group_by_key(database, kind, expression)
    yield from _read_buckets(database)


def _open_signatures(
    database: duckdb.DuckDBPyConnection, paths: Sequence[Path], starts: Sequence[int]
) -> None:
    names = [str(path) for path in paths]
    database.execute(
        "CREATE TABLE shard AS SELECT unnest(?) AS path, unnest(?::BIGINT[]) AS start",
        [names, list(starts)],
    )
    files = database.read_parquet(names, filename=True, file_row_number=True)
    files.create_view("signature_file")
    database.execute(
        """
        CREATE VIEW signature AS
            SELECT start + file_row_number AS place, * FROM signature_file
            JOIN shard ON filename = path;
        CREATE SEQUENCE bucket_number;
        """
    )


def _group_by_key(database: duckdb.DuckDBPyConnection, kind: str, expression: str) -> None:
    """Make the tables ``<kind>_member`` (place, key) and ``<kind>_bucket`` (number, key, last).

    Buckets of equal size, ends and exclusive-or of their hashed places have the same documents.
    """
    database.execute(
        f"""
        CREATE TEMP TABLE shared AS
            SELECT key FROM (SELECT {expression} AS key FROM signature_file)
            GROUP BY key HAVING count(*) > 1;
        CREATE TABLE {kind}_member AS
            SELECT place, key FROM (SELECT place, {expression} AS key FROM signature)
            SEMI JOIN shared USING (key);
        CREATE TABLE {kind}_bucket AS
            SELECT nextval('bucket_number') AS number, min(key) AS key, last
            FROM (
                SELECT key, count(*) AS size, min(place) AS first, max(place) AS last,
                    bit_xor(hash(place)) AS members
                FROM {kind}_member GROUP BY key
            ) GROUP BY size, first, last, members;
        DROP TABLE shared;
        """
    )


def _read_buckets(database: duckdb.DuckDBPyConnection) -> Iterator[Buckets]:
    kinds = list(KEYS)
    members = " UNION ALL ".join(
        f"""
        SELECT place, {index} AS kind, number, place = last AS closes
        FROM {kind}_member JOIN {kind}_bucket USING (key)
        """
        for index, kind in enumerate(kinds)
    )
    rows = database.sql(f"SELECT * FROM ({members}) ORDER BY place, kind, number")
    batches = rows.to_arrow_reader(BATCH_ROWS)
    yield from _group_by_place(
        chain.from_iterable(
            zip(*(column.to_pylist() for column in batch.columns), strict=True) for batch in batches
        )
    )


def _group_by_place(rows: Iterable[tuple[int, int, int, bool]]) -> Iterator[Buckets]:
    for place, group in groupby(rows, itemgetter(0)):
        shared: tuple[list[int], ...] = tuple([] for _ in KEYS)
        closing = []
        for _, kind, number, closes in group:
            shared[kind].append(number)
            if closes:
                closing.append(number)
        doc_ids, texts, bands = shared
        yield Buckets(
            place, doc_ids[0] if doc_ids else None, texts[0] if texts else None, bands, closing
        )
