"""Every command that the README shows is one that works."""

import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import duckdb
import pytest
import yaml

from flows.cli import build_parser, main
from flows.home import open_home
from flows.recipe import load_recipe
from flows.sql import query_corpus
from pipeline_data.corpus.report.views import create_views
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(program: str) -> list[list[str]]:
    """The README's shell lines that call a program, comments taken off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [words[1:] for line in lines if (words := shlex.split(line)) and words[0] == program]


def test_headwater_commands_are_dry_runs_or_real_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = commands("headwater")
    assert found
    for words in found:
        options = build_parser().parse_args(words)
        if getattr(options, "overrides", None):
            load_recipe(options.recipe, options.overrides)
        if "--dry-run" in words:
            assert main(words) == 0
            assert "stage results to make" in capsys.readouterr().out


def test_the_table_of_commands_is_the_commands() -> None:
    named = set(re.findall(r"^\| `headwater (\w+)", README, re.MULTILINE))
    parser_help = build_parser().format_help()
    listed = set(re.findall(r"^    (\w+) ", parser_help, re.MULTILINE))
    assert named == listed


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in commands("make"):
        assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)


def test_the_example_recipe_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    values = yaml.safe_load(text)
    assert values["extends"] == "default"
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("/data/", f"{tmp_path}/"))
    (tmp_path / "blocklist.txt").write_text("spam.example\n")
    recipe = load_recipe(str(path))
    assert {"handbook", "archive", "commoncrawl", "notes", "web"} <= set(recipe.sources)
    assert recipe.blocklist.domains == ("spam.example",)


def test_the_queries_are_ones_that_the_corpus_answers() -> None:
    queries = [words[1] for words in commands("headwater") if words[0] == "sql"]
    assert queries
    with duckdb.connect() as database:
        create_views(database, {})
        for query in queries:
            assert list(query_corpus(database, query).rows()) == []


def test_prefect_commands_are_those_that_the_deployment_test_runs() -> None:
    """``test_deployments.py`` runs them against a server; here only that none was added."""
    verbs = {" ".join(words[:2]) for words in commands("prefect")}
    assert verbs == {
        "server start", "work-pool create", "deploy --all", "worker start", "deployment run",
    }  # fmt: skip


def test_the_mlflow_page_comes_up() -> None:
    (words,) = commands("mlflow")
    assert words[:2] == ["ui", "--backend-store-uri"]
    port = free_port()
    uri = open_home().tracking_uri
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words[:2], uri, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
                    assert reply.read() == b"OK"
                    break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
    finally:
        server.terminate()
        server.wait(30)
