"""Questions to the current corpus."""

import csv
import io
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import sql
from pipeline_data.artifact import Artifact, Counts, Parent
from pipeline_data.corpus.report import report
from pipeline_data.corpus.report.views import VIEWS
from pipeline_data.corpus.settings import CorpusReportConfig
from pipeline_data.errors import ArtifactError, HeadwaterError
from pipeline_data.stage_run import Inputs, Runtime
from tasks.store import Request, Store
from tests.pipeline_data.corpus.report.report_material import HOSTILE, Roles, make_corpus


def fill_store(store: Store, roles: Roles) -> None:
    """Put a corpus and its report into a store, as a run does."""
    parents, inputs = [], {}
    for role, artifacts in roles.items():
        inputs[role] = [_commit(store, role, artifact) for artifact in artifacts]
        parents += [Parent(role, a.stage, a.key, a.digest, a.shard) for a in inputs[role]]
    request = Request("corpus-report", 1, {}, tuple(parents))
    config = CorpusReportConfig()
    made = store.produce(
        request, lambda out: report.run(config, Inputs(inputs), out, Runtime()), {}
    )
    store.point(sql.CORPUS, made)


def _commit(store: Store, role: str, artifact: Artifact) -> Artifact:
    def write(out: Path) -> Counts:
        shutil.copytree(artifact.directory, out, dirs_exist_ok=True)
        return {}

    config = {**artifact.config, "of": artifact.digest}
    request = Request(role, 1, config, (), artifact.shard, sharded=role == "dedup")
    return store.produce(request, write, {})


@pytest.fixture(scope="module", params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("corpus")
    remote = f"memory://{uuid.uuid4().hex}"
    store = Store(str(folder / "store") if request.param == "local" else remote, folder / "cache")
    fill_store(store, make_corpus(folder / "made"))
    if request.param == "memory":
        shutil.rmtree(folder / "cache")
    return store


@pytest.fixture
def database(store: Store) -> Iterator[Any]:
    with sql.open_corpus(store) as database:
        yield database


def rows(database: Any, query: str) -> list[tuple[Any, ...]]:
    return list(sql.query_corpus(database, query).rows())


def test_the_views_are_those_of_the_report(store: Store, database: Any) -> None:
    answers = json.loads(store.fetch(store.named("corpus")).path("report.json").read_text())
    for name in ("sources", "rules", "domains", "evaluations"):
        expected = [tuple(row) for row in answers[name]["rows"]]
        assert rows(database, answers[name]["query"]) == expected


def test_it_lists_what_there_is(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    views = sql.list_views(database)
    assert [view["view"] for view in views] == list(VIEWS)
    assert views[-1]["columns"][:3] == ["evaluation", "item", "rule"]
    sql.print_views(views)
    shown = capsys.readouterr().out
    assert all(view in shown for view in VIEWS)
    assert sql.EXAMPLE in shown
    assert rows(database, sql.EXAMPLE)[0] == ("decontaminate", "quiz", 1)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT stage, count(*) FROM dropped GROUP BY ALL",
        "FROM kept",
        "WITH w AS (FROM tokens) SELECT sum(num_tokens) FROM w",
        "DESCRIBE documents",
        "SUMMARIZE tokens",
        "SELECT 1;",
    ],
)
def test_anything_that_only_reads_is_answered(database: Any, query: str) -> None:
    assert rows(database, query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM documents", '"nope" not found'),
        ("FROM nowhere", "nowhere does not exist"),
        ("SELECT 'x'::INT", "Could not convert"),
        ("SELECT error('first' || chr(10) || 'second') FROM documents", "first second"),
        ("FROM database", "database does not exist"),
        ("SELECT * FROM read_text('/etc/hostname')", "disabled"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("", "one SELECT"),
        ("SET threads = 1", "one SELECT"),
        ("CREATE TABLE mine AS FROM documents", "one SELECT"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'stolen.csv'", "one SELECT"),
    ],
)
def test_a_bad_query_is_one_line(database: Any, query: str, message: str) -> None:
    with pytest.raises(HeadwaterError, match=message) as error:
        rows(database, query)
    assert "\n" not in str(error.value)


def test_no_query_can_write_over_the_corpus(store: Store, database: Any) -> None:
    report_of = store.named("corpus")
    tokens = next(store.parent(p) for p in report_of.parents if p.role == "tokens")
    path = store.fetch(tokens).path("tokens.parquet")
    assert rows(database, f"SELECT count(*) FROM read_parquet('{path}')") == [(5,)]
    with pytest.raises(HeadwaterError, match="one SELECT"):
        rows(database, f"COPY (SELECT 1) TO '{path}' (FORMAT parquet)")
    assert store.damage(tokens) == []


def test_json_is_one_object(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    query = (
        "SELECT 1 AS a, 'nan'::DOUBLE AS b, [1.5, NULL] AS c, {'k': 1::DECIMAL(4, 2)} AS d,"
        " '\\xAB'::BLOB AS e, DATE '2026-01-02' AS f, true AS g"
    )
    sql.print_json(sql.query_corpus(database, query))
    assert json.loads(capsys.readouterr().out) == {
        "columns": ["a", "b", "c", "d", "e", "f", "g"],
        "rows": [[1, None, [1.5, None], {"k": 1.0}, "ab", "2026-01-02", True]],
    }


def test_csv_keeps_every_row_and_text(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT doc_id, text FROM documents WHERE source = 'web' ORDER BY url"
    sql.print_csv(sql.query_corpus(database, query))
    found = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert found[0] == ["doc_id", "text"]
    assert found[1][1] == HOSTILE
    assert len(found) == 9


def test_a_table_for_people_is_cut_short(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT i AS number, repeat('[b]long ', 100) AS words FROM range(1234, 5000) r(i)"
    sql.print_rows(sql.query_corpus(database, query))
    shown = capsys.readouterr().out
    assert "1,234" in shown
    assert "1,434" not in shown
    assert "[b]long" in shown
    assert "the first 200 rows" in shown
    sql.print_rows(sql.query_corpus(database, "SELECT 1 AS one"))
    assert "the first" not in capsys.readouterr().out


def test_a_store_without_a_corpus_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path), tmp_path / "cache")
    with pytest.raises(ArtifactError, match="no corpus yet"), sql.open_corpus(store):
        pass


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, flows.sql; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "pandas", "prefect", "mlflow", "matplotlib", "rich"} & set(output.split())


def test_hostile_names_do_not_leave_their_quotes(tmp_path: Path) -> None:
    roles = make_corpus(tmp_path / "it's")
    extracted = [
        replace(a, shard=f"'{a.shard}'; DROP TABLE shards", config={"source": "'"})
        for a in roles["extracted"]
    ]
    store = Store(str(tmp_path / "it's a store"), tmp_path / "cache")
    fill_store(store, {"extracted": extracted})
    with sql.open_corpus(store) as database:
        assert rows(database, "SELECT source, num_documents FROM sources") == [("'", 11)]
        assert rows(database, "SELECT DISTINCT shard[-6:] FROM documents") == [("shards",)]
