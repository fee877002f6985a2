"""``headwater sql``: questions to the current corpus, in DuckDB's SQL.

The views are those of the corpus report, over the same files. A query can read these and
nothing else, and can write nowhere.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any

import duckdb

from pipeline_data.corpus.report.views import VIEWS, create_views, lock
from pipeline_data.errors import ArtifactError, HeadwaterError
from tasks.store import Store

CORPUS = "corpus"
"""The name under which the store has the report of the current corpus."""
EXAMPLE = "SELECT stage, rule, count(*) FROM dropped GROUP BY ALL ORDER BY ALL"
NUM_SHOWN = 200
CHARS_SHOWN = 300
FETCH_SIZE = 10_000
NUM_READERS = 16


@dataclass(frozen=True)
class Table:
    """The answer to a query; ``batches`` is read once, a list of rows at a time."""

    columns: list[str]
    batches: Iterator[list[tuple[Any, ...]]]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """All rows, as they come."""
        return (row for batch in self.batches for row in batch)


@contextmanager
def open_corpus(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the views of the current corpus, and no way out of them.

    Raises:
        ArtifactError: the store has no corpus, or a part of it is gone.
    """
    if CORPUS not in store.names():
        raise ArtifactError("the store has no corpus yet: headwater run makes one")
    parents = store.named(CORPUS).parents
    with ThreadPoolExecutor(NUM_READERS) as readers:
        artifacts = list(readers.map(lambda p: store.fetch(store.parent(p)), parents))
    roles: dict[str, list[Any]] = {}
    for parent, artifact in zip(parents, artifacts, strict=True):
        roles.setdefault(parent.role, []).append(artifact)
    with duckdb.connect() as database:
        lock(database, create_views(database, roles))
        yield database


def query_corpus(database: duckdb.DuckDBPyConnection, query: str) -> Table:
    """The answer to one SELECT.

    Raises:
        HeadwaterError: it is not valid, or more than one SELECT.
    """
    try:
        statements = duckdb.extract_statements(query)
        if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
            raise HeadwaterError(f"sql: one SELECT is allowed, such as: {EXAMPLE}")
        cursor = database.execute(statements[0])
        columns = [column[0] for column in cursor.description or []]
        return Table(columns, _fetch(cursor))
    except duckdb.Error as error:
        raise _in_one_line(error) from None


def list_views(database: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The views there are: ``{"view", "columns", "description"}``."""
    return [
        {
            "view": view,
            "columns": [row[0] for row in database.execute(f"DESCRIBE {view}").fetchall()],
            "description": description,
        }
        for view, description in VIEWS.items()
    ]


def print_json(table: Table) -> None:
    """One object: ``{"columns", "rows"}``."""
    rows = [[_to_json(cell) for cell in row] for row in table.rows()]
    print(json.dumps({"columns": table.columns, "rows": rows}, ensure_ascii=False))


def print_csv(table: Table) -> None:
    """Comma-separated values with a heading, as they come."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows())


def print_rows(table: Table) -> None:
    """A table for people: the first rows, long texts cut short."""
    from rich.console import Console

    rows = list(islice(table.rows(), NUM_SHOWN + 1))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_lay_out(table.columns, rows[:NUM_SHOWN]))
    if len(rows) > NUM_SHOWN:
        console.print(f"the first {NUM_SHOWN} rows; --csv and --json give all", style="dim")


def print_views(views: Sequence[dict[str, Any]]) -> None:
    """The views with their columns, and an example."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    rows = [(v["view"], v["description"], ", ".join(v["columns"])) for v in views]
    console.print(_lay_out(["view", "what it holds", "columns"], rows))
    console.print(f'\nsuch as: headwater sql "{EXAMPLE}"', highlight=False, soft_wrap=True)


def _lay_out(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        is_number = all(isinstance(row[index], (int, float, Decimal)) for row in rows)
        table.add_column(Text(column), justify="right" if rows and is_number else "left")
    for row in rows:
        table.add_row(*(Text(_shorten(cell)) for cell in row))
    return table


def _shorten(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    text = "" if cell is None else " ".join(str(cell).split())
    return text if len(text) <= CHARS_SHOWN else f"{text[:CHARS_SHOWN]}\N{HORIZONTAL ELLIPSIS}"


def _to_json(cell: Any) -> Any:
    """A cell as JSON has it; what JSON cannot say is text, or null."""
    if isinstance(cell, (float, Decimal)):
        return float(cell) if isfinite(cell) else None
    if isinstance(cell, (list, tuple)):
        return [_to_json(part) for part in cell]
    if isinstance(cell, dict):
        return {str(key): _to_json(part) for key, part in cell.items()}
    if cell is None or isinstance(cell, (bool, int, str)):
        return cell
    return cell.hex() if isinstance(cell, bytes) else str(cell)


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    try:
        while rows := cursor.fetchmany(FETCH_SIZE):
            yield rows
    except duckdb.Error as error:
        raise _in_one_line(error) from None


def _in_one_line(error: duckdb.Error) -> HeadwaterError:
    """DuckDB's message without its drawing of the place."""
    message = " ".join(str(error).split("\n\nLINE ")[0].split())
    return HeadwaterError(f"sql: {message} (headwater sql lists views and columns)")
