"""Every command that the README shows is one that works."""

import re
import shlex
from pathlib import Path

import duckdb
import pytest
import yaml

from flows.cli import build_parser, main
from flows.recipe import load_recipe
from flows.sql import query_corpus
from pipeline_data.corpus.report.views import create_views

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(program: str) -> list[list[str]]:
    """The README's shell lines that call a program, comments taken off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [words[1:] for line in lines if (words := shlex.split(line)) and words[0] == program]


def test_headwater_commands_have_real_options_and_the_plan_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = commands("headwater")
    assert found
    for words in found:
        options = build_parser().parse_args(words)
        if getattr(options, "overrides", None):
            load_recipe(options.recipe, options.overrides)
        if words[0] == "plan":
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
    """``test_deployments.py`` runs such a one against a server; here only that none was added."""
    verbs = {" ".join(words[:2]) for words in commands("prefect")}
    assert verbs == {"deployment run", "work-pool create", "deploy --all", "worker start"}


def test_pictures_are_there() -> None:
    names = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert names
    for name in names:
        assert (ROOT / name).read_bytes().startswith(b"\x89PNG")
