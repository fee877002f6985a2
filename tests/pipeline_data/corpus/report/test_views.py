"""Views over the files of a corpus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline_data.artifact import PROVENANCE
from pipeline_data.corpus.report.views import VIEWS, create_views, lock
from tests.pipeline_data.corpus.report.report_material import Roles, make_corpus


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Roles:
    return make_corpus(tmp_path_factory.mktemp("the corpus's"))


@pytest.fixture
def database(roles: Roles) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as database:
        lock(database, create_views(database, roles))
        yield database


def ask(database: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return list(database.execute(query).fetchall())


def test_sources_count_what_is_left_after_each_stage(database: duckdb.DuckDBPyConnection) -> None:
    assert ask(database, "FROM sources") == [
        ("web", 2, 11, 8, 6, 5, 5),
        ("books", 1, 3, 3, 3, 3, 2),
    ]
    assert ask(database, "SELECT position, shard, num_records FROM shards") == [
        (0, "web-0", 10),
        (1, "web-1", 1),
        (2, "books-0", 3),
    ]


@pytest.mark.parametrize(
    ("view", "counts"),
    {
        "records": {"web-0": 10, "web-1": 1, "books-0": 3},
        "documents": {"web-0": 8, "books-0": 3},
        "filtered": {"web-0": 6, "books-0": 3},
        "deduplicated": {"web-0": 5, "books-0": 3},
        "kept": {"web-0": 5, "books-0": 2},
        "tokens": {"web-0": 5, "books-0": 2},
        "passed": {"web-0": 1, "web-1": 1, "books-0": 1},
        "dropped": {"web-0": 5, "web-1": 1, "books-0": 1},
        "duplicates": {"web-0": 1},
        "contaminated": {"books-0": 2},
        "evaluation_items": {"quiz": 4},
        "unjudged_items": {"quiz": 1},
    }.items(),
)
def test_every_row_has_its_shard(
    database: duckdb.DuckDBPyConnection, view: str, counts: dict[str, int]
) -> None:
    assert dict(ask(database, f"SELECT shard, count(*) FROM {view} GROUP BY shard")) == counts


def test_every_record_ends_in_the_corpus_or_among_the_dropped(
    database: duckdb.DuckDBPyConnection,
) -> None:
    assert ask(
        database,
        "SELECT (SELECT count(*) FROM records)"
        " - (SELECT count(*) FROM kept) - (SELECT count(*) FROM dropped)",
    ) == [(0,)]


def test_what_became_of_a_page(database: duckdb.DuckDBPyConnection) -> None:
    fates = ask(
        database,
        "SELECT stage, rule, value, threshold FROM dropped"
        " WHERE url LIKE '%.example%' ORDER BY rule",
    )
    assert fates == [
        ("filter", "c4_quality", 1.25, 0.2),
        ("filter", "gopher_quality", 0.25, 0.2),
        ("dedup", "near", 0.85, None),
    ]
    assert ask(database, "SELECT rule, detail[:6] FROM dropped WHERE url = 'file:books/0'") == [
        ("quiz", "quiz#0")
    ]


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://me:pass@Www.Site.example:8080/a?b", "www.site.example"),
        ("http://site.example", "site.example"),
        ("generated://world/000/1", "world"),
        ("file:books/0", ""),
        ("", ""),
    ],
)
def test_domain_of_a_url(database: duckdb.DuckDBPyConnection, url: str, domain: str) -> None:
    assert database.execute("SELECT domain(?)", [url]).fetchall() == [(domain,)]


def test_without_artefacts_every_view_is_there_and_empty(
    roles: Roles, database: duckdb.DuckDBPyConnection
) -> None:
    with duckdb.connect() as empty:
        create_views(empty, {})
        for view in VIEWS:
            assert ask(empty, f"FROM {view}") == []
            described = [(row[0], row[1]) for row in ask(database, f"DESCRIBE {view}")]
            assert [(row[0], row[1]) for row in ask(empty, f"DESCRIBE {view}")] == described


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM database",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
    ],
)
def test_a_locked_database_reaches_nothing_else(
    database: duckdb.DuckDBPyConnection, query: str
) -> None:
    with pytest.raises(duckdb.Error):
        database.execute(query)


def test_the_report_of_a_corpus_reads_no_provenance(roles: Roles) -> None:
    with duckdb.connect() as database:
        files = create_views(database, roles)
        provenance = [path for path in files if PROVENANCE in path.parts]
        assert len(provenance) == 3
        lock(database, [path for path in files if path not in provenance])
        assert ask(database, "SELECT sum(num_records) FROM sources") == [(14,)]
        with pytest.raises(duckdb.Error):
            database.execute("FROM records")


def test_paths_are_those_of_the_artefacts(roles: Roles) -> None:
    with duckdb.connect() as database:
        files = create_views(database, roles)
    assert all(isinstance(path, Path) and path.is_file() for path in files)
    assert len(files) == len(set(files)) == 3 * 11 + 2
