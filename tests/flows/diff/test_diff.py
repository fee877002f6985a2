"""``headwater diff`` on real small runs: a stricter filter, and another seed of the last stage."""

import argparse
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.diff.command import add_diff
from flows.diff.page import place_interval, render_page
from flows.diff.view import NUM_SHOWN
from flows.graphs import Graph, corpus_alone, whole
from flows.recipe import load_recipe
from pipeline_data.errors import HeadwaterError
from tasks.decision import Decision
from tasks.direct_run import DirectRun
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.difference import compare_sides
from tasks.lineage.difference.documents import DocumentChange, DocumentCount
from tasks.lineage.difference.measures import MeasureChange
from tasks.lineage.difference.sides import open_side
from tasks.past_results import write_decisions
from tasks.store import Store
from tests.finished_home import CHANGES

pytestmark = pytest.mark.xdist_group("lineage")

STRICT = "filters.web.gopher_quality.min_doc_words=209"
"""Words: some of the pages of the practice site have fewer, some more."""
FIRST, STRICTER, RESEEDED = "20260101-1", "20260101-2", "20260101-3"


def open_store(home: Path) -> Store:
    return Store(str(home / "store"), home / "cache")


def run_again(home: Path, name: str, graph: Graph, *changes: str) -> None:
    """Another run in a home, with its decisions kept as a run keeps them."""
    run = DirectRun(open_store(home))
    products = graph(run, load_recipe("smoke", [*CHANGES, *changes]))
    rows = [Decision(x.stage, x.shard, "run", "", key=x.key) for x in run.results]
    write_decisions(home / "runs", name, "smoke", rows)
    for model, artifact in {**products.models, "corpus": products.corpus}.items():
        run.store.point(model, artifact, run=name, recipe="smoke")


@pytest.fixture(scope="module")
def reseeded(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a second assistant, of another seed."""
    home = tmp_path_factory.mktemp("reseeded") / "home"
    shutil.copytree(finished_home, home)
    run_again(home, FIRST, whole)
    run_again(home, RESEEDED, whole, "practice.seed=5")
    return home


@pytest.fixture(scope="module")
def stricter(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a second corpus, under a stricter filter."""
    home = tmp_path_factory.mktemp("stricter") / "home"
    shutil.copytree(finished_home, home)
    run_again(home, FIRST, corpus_alone)
    run_again(home, STRICTER, corpus_alone, STRICT)
    return home


def diff(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    parser = argparse.ArgumentParser()
    add_diff(parser.add_subparsers())
    options = parser.parse_args(["diff", *arguments])
    return int(options.run_command(options))


def diff_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, *names: str
) -> dict[str, Any]:
    assert diff(monkeypatch, home, *names, "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def documents_of(store: Store, corpus: str) -> dict[str, tuple[str, int]]:
    """Every document of a corpus, by reading all of its token shards."""
    report = store.named(corpus)
    shards = [store.parent(parent) for parent in report.parents if parent.role == "tokens"]
    files = [str(shard.path("tokens.parquet")) for shard in shards]
    rows = duckdb.execute("SELECT doc_id, url, num_tokens FROM read_parquet($f)", {"f": files})
    return {doc_id: (url, num_tokens) for doc_id, url, num_tokens in rows.fetchall()}


def test_documents_out_are_all_and_only_those_that_brute_force_finds(
    stricter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = diff_as_json(monkeypatch, capsys, stricter, "corpus@1", "corpus")
    store = open_store(stricter)
    before, after = documents_of(store, "corpus@1"), documents_of(store, "corpus")
    rows = told["documents"]["documents"]
    gone = {
        row["doc_id"]: (row["url"], row["tokens_a"]) for row in rows if row["kind"] == "removed"
    }
    assert gone == {i: before[i] for i in before.keys() - after.keys()}
    assert gone and after.keys() <= before.keys()
    assert {(row["stage"], row["rule"], row["threshold"]) for row in rows} == {
        ("filter", "gopher_quality", 209)
    }
    assert all(row["value"] < 209 for row in rows)


def test_the_corpora_part_at_the_filter_and_only_where_pages_went(
    stricter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = diff_as_json(monkeypatch, capsys, stricter, "corpus@1", "corpus")
    (origin,) = told["origins"]
    shards = {row["shard_a"] for row in told["documents"]["documents"]}
    assert (origin["stage"], set(origin["shards"])) == ("filter", shards)
    assert origin["reasons"] == ["setting gopher_quality.min_doc_words: 50 -> 209"]
    assert told["b"]["recipe"] == "smoke"


def test_runs_part_where_their_corpora_do(
    stricter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = diff_as_json(monkeypatch, capsys, stricter, FIRST, STRICTER)
    assert [origin["stage"] for origin in told["origins"]] == ["filter"]
    idle = [change for change in told["settings"] if not change["num_changed"]]
    assert all(change["setting"] == "gopher_quality.min_doc_words" for change in idle)
    assert diff_as_json(monkeypatch, capsys, stricter, FIRST, FIRST)["equal"]


def test_another_seed_is_the_only_cause_and_measures_say_what_it_did(
    reseeded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = diff_as_json(monkeypatch, capsys, reseeded, "assistant@1", "assistant")
    (origin,) = told["origins"]
    assert (origin["stage"], origin["reasons"]) == ("practice", ["setting seed: 0 -> 5"])
    assert (told["num_other"], told["num_consequences"]) == (1, 0)
    assert told["documents"]["counts"] == []
    store = open_store(reseeded)
    for side in ("a", "b"):
        (evaluation,) = [
            artifact
            for artifact in Catalogue.open(store).children(store.named(told[side]["name"]))
            if artifact.stage == "evaluate-practice"
        ]
        stored = json.loads(evaluation.path("measures.json").read_text())
        rows = [m[side] for m in told["measures"] if m["evaluation"] == "evaluate-practice"]
        assert rows == stored
    others = [m for m in told["measures"] if m["evaluation"] != "evaluate-practice"]
    assert {m["verdict"] for m in others} == {"equal"}


def test_the_terminal_is_a_screen_and_all_is_more(
    reseeded: Path,
    stricter: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for home, names in (
        (reseeded, ("assistant@1", "assistant")),
        (stricter, (FIRST, STRICTER)),
    ):
        assert diff(monkeypatch, home, *names) == 0
        text = capsys.readouterr().out
        assert len(text.splitlines()) <= 45
        assert "\x1b" not in text
        assert diff(monkeypatch, home, *names, "--all") == 0
        assert len(capsys.readouterr().out) > len(text)
    assert re.search(
        r"^  filter \(.*: setting gopher_quality\.min_doc_words: 50 -> 209$", text, re.M
    )
    out = r"^  - http://people\.example/\S+ \(web\)  B dropped it at filter: gopher_quality"
    assert re.search(out, text, re.M)
    assert text.count("\n  - ") <= NUM_SHOWN


def test_the_same_model_twice_is_said_to_be_the_same_bytes(
    reseeded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diff(monkeypatch, reseeded, "assistant", "assistant@2") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "A and B are the same model" in text and "equal digests are equal bytes" in text
    assert "where they part" not in text


def test_a_page_opens_by_itself_and_says_it_all(
    stricter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "diff.html"
    assert diff(monkeypatch, stricter, "corpus@1", "corpus", "--html", str(page)) == 0
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)|src=|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html
    assert "setting gopher_quality.min_doc_words: 50 -&gt; 209" in html
    assert re.search(r"Only in A: \d+</h3>", html)
    with pytest.raises(HeadwaterError, match="name another file"):
        diff(monkeypatch, stricter, "corpus@1", "corpus", "--html", str(tmp_path))


def test_what_others_wrote_is_escaped(reseeded: Path) -> None:
    """A page's address, and a rule's detail, come from the web."""
    catalogue = Catalogue.open(open_store(reseeded))
    a, b = (open_side(catalogue, reseeded / "runs", n) for n in ("assistant@1", "assistant"))
    difference = compare_sides(catalogue, a, b)
    evil = "<script>alert('x')</script>"
    row = DocumentChange(
        "removed", "0" * 16, evil, evil, "s", None, 1, None, "filter", evil, evil, 1.0, None
    )
    count = DocumentCount("removed", evil, "filter", evil, 1, 1, 0)
    documents = replace(difference.documents, counts=[count], documents=[row])
    html = render_page(replace(difference, documents=documents))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5


@pytest.mark.parametrize(("better", "low"), [("higher", -50.0), ("lower", -100.0)])
def test_better_is_drawn_on_the_right(better: Any, low: float) -> None:
    change = MeasureChange("s", "e", "m", better, None, None, 0.25, -0.5, 1.0, "equal", ())
    place = place_interval(change)
    assert place is not None
    assert (place["low"], place["middle"]) == (low, 25.0 if better == "higher" else -25.0)


def test_an_unknown_name_is_one_line_with_what_there_is(
    stricter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeadwaterError) as error:
        diff(monkeypatch, stricter, "corpse", "corpus")
    text = str(error.value)
    assert "corpus" in text and STRICTER in text and "\n" not in text


def test_a_model_and_a_run_are_not_compared(
    stricter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeadwaterError, match="compare two of a kind"):
        diff(monkeypatch, stricter, "corpus", FIRST)
