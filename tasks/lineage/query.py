"""One DuckDB for all the questions of a process: to open one costs more than most answers do."""

import atexit
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

MEMORY = "512MB"


def ask(
    query: str,
    values: Mapping[str, Any] | None = None,
    tables: Mapping[str, pa.Table] | None = None,
) -> list[tuple[Any, ...]]:
    """The rows that answer a query.

    Args:
        values: of its ``$name`` parameters.
        tables: that it may name beside files.
    """
    cursor = _open_cursor(tables)
    rows: list[tuple[Any, ...]] = cursor.execute(query, values or None).fetchall()
    return rows


def ask_table(query: str, values: Mapping[str, Any] | None = None) -> pa.Table:
    """The same as columns, for many rows."""
    return _open_cursor().sql(query, params=values or None).to_arrow_table()


def _open_cursor(tables: Mapping[str, pa.Table] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection of its own, so that threads, and questions within questions, do not meet."""
    cursor = _database().cursor()
    for name, table in (tables or {}).items():
        cursor.register(name, table)
    return cursor


@cache
def _database() -> duckdb.DuckDBPyConnection:
    atexit.register(_database.cache_clear)  # or it outlives its library, which says so
    return duckdb.connect(config={"memory_limit": MEMORY})
