"""Forgetting a page, a host or a raw file: gone from corpus and store, and nothing else changed."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.forget import forgetting
from flows.forget.command import add_forget
from flows.forget.forgetting import open_index
from flows.forget.forgotten import read_forgotten
from flows.forget.gates import Gate
from flows.forget.remaking import Remaking
from flows.home import Home
from flows.recipe import load_recipe
from flows.sql import CORPUS
from pipeline_data.errors import HeadwaterError
from tasks import erasure
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.verification import verify_lineage
from tasks.store import Store
from tests.byte_search import find_bytes
from tests.flows.forget.forgetful_home import (
    HOST,
    Reruns,
    build,
    copy_home,
    forget,
    make_home,
    page,
    prepare,
    record_build,
    sentence,
    sources,
    write_shard,
)
from tests.flows.recorded_run import corpus_recipe

WORLD = "generated://world/000/0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files, and a home with a corpus made of them."""
    folder = tmp_path_factory.mktemp("forgetful")
    make_home(folder)
    return folder


@pytest.fixture
def home(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return copy_home(folder / "home", tmp_path / "home", monkeypatch)


def token_urls(home: Home) -> set[str]:
    """The pages in the token shards that the corpus in use is made of."""
    catalogue = Catalogue.open(home.open_store())
    report = catalogue.named(CORPUS)
    return {
        url
        for role, shard in catalogue.inputs(report)
        if role == "tokens"
        for url in pq.read_table(shard.path("tokens.parquet"))["url"].to_pylist()
    }


def is_held(home: Home, url: str) -> bool:
    return bool(open_index(home.open_store()).find_url(url))


@pytest.mark.parametrize(
    ("target", "gone"),
    [
        (page("a", 1), {page("a", 1)}),
        pytest.param(f"far-a.{HOST}", {page("far-a", n) for n in range(3)}, marks=pytest.mark.long),
        pytest.param(page("far-b", 2), {page("far-b", 2)}, marks=pytest.mark.long),
        pytest.param(WORLD, {WORLD}, marks=pytest.mark.long),
        pytest.param("own-b.jsonl", {page("b", n) for n in range(3)}, marks=pytest.mark.long),
    ],
)
def test_what_is_forgotten_leaves_the_corpus_then_the_store(
    home: Home, folder: Path, target: str, gone: set[str]
) -> None:
    before = token_urls(home)
    reruns = Reruns()
    forget(home, target, reruns)
    assert token_urls(home) == before - gone
    (executed,) = reruns.executed
    assert "extract" not in executed
    assert executed.get("filter", 0) == (0 if target == "own-b.jsonl" else 1)
    (entry,) = read_forgotten(home.path)
    assert (entry.reason, entry.erased) == ("asked", None)

    said = _sentence(home, min(gone))
    others = {url: _sentence(home, url) for url in (page("a", 0), page("far-b", 1))}
    outcome = forget(home, target, reruns, erase=True)
    assert find_bytes(home.path, said) == []
    assert all(find_bytes(home.path / "store", text) for text in others.values())
    assert not any(is_held(home, url) for url in gone)
    assert token_urls(home) == before - gone
    catalogue = Catalogue.open(home.open_store())
    for version in (CORPUS, f"{CORPUS}@1"):
        assert verify_lineage(catalogue, {version: catalogue.named(version)}).problems == []
    (entry,) = read_forgotten(home.path)
    assert entry.erased
    outside = find_bytes(folder / "own", said) + find_bytes(folder / "far", said)
    assert {Path(left.place.removeprefix("file://")) for left in outcome.left} == set(outside)


@pytest.mark.parametrize("erase", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_incremental_corpus_is_the_clean_one(home: Home, tmp_path: Path, erase: bool) -> None:
    forget(home, page("a", 1), Reruns(), erase=erase)
    recipe = load_recipe(str(max((home.path / "remade").iterdir(), key=os.path.getmtime)))
    clean = record_build(Store(str(tmp_path / "clean"), tmp_path / "clean-cache"), recipe)
    own = record_build(home.open_store(), recipe)
    if erase:  # a clean build has the raw records still
        own, clean = ([c for c in calls if c.stage == "tokenize"] for calls in (own, clean))
    assert [call.digest for call in own] == [call.digest for call in clean]


@pytest.mark.long
def test_pages_of_one_file_are_forgotten_one_after_the_other(home: Home, folder: Path) -> None:
    before = token_urls(home)
    for target in (page("a", 1), page("far-a", 0), page("a", 2), page("far-a", 1)):
        said = _sentence(home, target)
        outcome = forget(home, target, Reruns(), erase=True)
        assert find_bytes(home.path, said) == []
        assert {left.url for left in outcome.left} == {target}
        before -= {target}
        assert token_urls(home) == before
    catalogue = Catalogue.open(home.open_store())
    assert verify_lineage(catalogue, {CORPUS: catalogue.named(CORPUS)}).problems == []
    assert [a.shard for a in catalogue.of_stage("redact") if not catalogue.erasure(a)] == [
        "own-a.jsonl"
    ]


def _sentence(home: Home, url: str) -> str:
    """Something that the text of a page says and no other."""
    if url.startswith("http"):
        shard, _, number = url.removeprefix("http://").partition(f".{HOST}/")
        return sentence(shard, int(number))
    catalogue = Catalogue.open(home.open_store())
    for extracted in catalogue.of_stage("extract"):
        for row in pq.read_table(extracted.path("documents.parquet")).to_pylist():
            if row["url"] == url:
                return str(row["text"])
    raise AssertionError(url)


class StoppedError(Exception):
    """Stands for a kill."""


STEPS: list[tuple[type | object, str]] = [
    (forgetting.Forgetting, "_check_names"),
    (forgetting.Forgetting, "_supersede"),
    (forgetting, "redact_stored"),
    (forgetting, "note_erasure"),
    (forgetting.Forgetting, "_erase_results"),
    (erasure, "_remove_attempts"),
    (Store, "erase"),
    (forgetting, "remove_leftovers"),
]


ERASE = 6


def test_stopped_and_given_again_it_goes_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_and_go_on(home, monkeypatch, ERASE, page("far-b", 2))


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "step"),
    [
        (target, step)
        for target, not_taken in {
            WORLD: set(),
            page("a", 1): {"_remove_attempts"},
            "own-b.jsonl": {"redact_stored", "_remove_attempts"},
        }.items()
        for step, (_, name) in enumerate(STEPS)
        if name not in not_taken
    ],
)
def test_stopped_anywhere_and_given_again_it_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, target: str, step: int
) -> None:
    stop_and_go_on(home, monkeypatch, step, target)


def stop_and_go_on(home: Home, monkeypatch: pytest.MonkeyPatch, step: int, target: str) -> None:
    said = _sentence(home, page("b", 0) if target == "own-b.jsonl" else target)
    owner, name = STEPS[step]
    original: Callable[..., object] = getattr(owner, name)
    calls = 0

    def stop(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == (2 if name == "erase" else 1):
            raise StoppedError
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(owner, name, stop)
        forget(home, target, Reruns(), erase=True)
    forget(home, target, Reruns(), erase=True)
    assert find_bytes(home.path, said) == []
    assert len(read_forgotten(home.path)) == 1


def test_a_run_that_fails_leaves_all_as_it_was(home: Home) -> None:
    def fail(remaking: Remaking, gate: Gate) -> None:
        raise HeadwaterError("a stage failed")

    before = home.open_store().registry.find(CORPUS)
    with pytest.raises(HeadwaterError, match="a stage failed"):
        forget(home, page("a", 1), fail, erase=True)
    assert home.open_store().registry.find(CORPUS) == before
    assert is_held(home, page("a", 1))


@pytest.mark.long
def test_what_comes_back_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_home(tmp_path)
    home = copy_home(tmp_path / "home", tmp_path / "copy", monkeypatch)
    forget(home, page("far-b", 2), Reruns(), erase=True)
    write_shard(tmp_path / "own", "c", [0])
    again = write_shard(tmp_path / "own", "far-b", range(3))
    again.rename(tmp_path / "own" / "copy.jsonl")
    build(home, load_recipe(str(next((home.path / "remade").iterdir()))))
    urls = token_urls(home)
    assert page("c", 0) in urls
    assert page("far-b", 2) not in urls


@pytest.mark.long
def test_a_shard_of_a_source_that_is_no_file_is_a_set_of_pages(home: Home) -> None:
    before = token_urls(home)
    forgetting = prepare(home, "world-001", Reruns())
    assert forgetting.target.kind == "url"
    gone = set(forgetting.target.entries)
    assert gone > {"generated://world/001/0"}
    forget(home, "world-001", Reruns(), erase=True)
    assert token_urls(home) == before - gone
    assert {e.part_of for e in read_forgotten(home.path)} == {"world-001"}
    assert prepare(home, "world-001", Reruns()).target.entries == sorted(gone)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (page("a", 7), f"of 3 pages of a.{HOST} the nearest: http://a.{HOST}/"),
        (f"http://new.{HOST}/", f"pages of {HOST} the nearest"),
        (f"nobody.{HOST}", f"of 4 hosts of {HOST} the nearest"),
        ("own-a.json", "of 6 raw shards the nearest: own-a.jsonl"),
        ("http://elsewhere.org/1", "give an address as the corpus spells it"),
    ],
)
def test_what_the_corpus_does_not_have_is_told_with_what_is_near(
    home: Home, target: str, text: str
) -> None:
    with pytest.raises(HeadwaterError, match=f"the corpus has no '{target}'") as raised:
        prepare(home, target, Reruns())
    assert text in str(raised.value)


def test_a_raw_file_is_known_by_its_path_and_its_address(home: Home, folder: Path) -> None:
    by_path = prepare(home, str(folder / "own" / "a.jsonl"), Reruns()).target
    by_address = prepare(home, f"file://{folder}/far/far-a.jsonl", Reruns()).target
    assert [by_path.entries, by_address.entries] == [["own-a.jsonl"], ["far-far-a.jsonl"]]


def test_a_home_without_a_run_says_so(home: Home) -> None:
    (home.path / "store" / "references" / f"{CORPUS}.json").unlink()
    with pytest.raises(HeadwaterError, match="no run has finished"):
        prepare(home, page("a", 1), Reruns())


def test_what_a_name_still_needs_keeps_its_bytes(home: Home) -> None:
    store = home.open_store()
    version = store.registry.find(CORPUS)
    report = store.load(version.stage, version.key)
    assert report
    store.point("kept", report, recipe_digest=version.recipe_digest)
    with pytest.raises(HeadwaterError, match="kept still comes of"):
        forget(home, page("a", 1), Reruns(), erase=True)
    assert is_held(home, page("a", 1))


def test_of_several_recipes_the_one_that_makes_what_is_in_use_is_run(
    home: Home, folder: Path
) -> None:
    store = home.open_store()
    version = store.registry.find(CORPUS)
    assert version.recipe_digest
    other = corpus_recipe(sources(folder), dedup={"threshold": 0.5}).model_dump(mode="json")
    digest = store.registry.save_recipe(other)
    made = {
        name: Remaking(home, store, name, store.registry.load_recipe(name), [CORPUS]).makes(
            {CORPUS: version}, []
        )
        for name in (version.recipe_digest, digest)
    }
    assert made == {version.recipe_digest: True, digest: False}
    report = store.load(version.stage, version.key)
    assert report
    store.point("odd", report, recipe_digest=digest, recipe="other")
    with pytest.raises(HeadwaterError, match=f"odd by other {digest[:12]}"):
        prepare(home, page("a", 1), Reruns())


def test_nothing_is_erased_beside_a_run(home: Home) -> None:
    from filelock import FileLock

    live = home.path / "live" / "run.json"
    live.parent.mkdir()
    with FileLock(live), pytest.raises(HeadwaterError, match="is under way"):
        forget(home, page("a", 1), Reruns(), erase=True)
    assert is_held(home, page("a", 1))


def command(home: Home, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_forget(parser.add_subparsers())
    options = parser.parse_args(["forget", *arguments])
    return int(options.run_command(options))


def test_a_dry_run_says_what_it_means_and_does_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(home, page("a", 1), "--dry-run", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["impact"]["shards"] == [
        {"shard": "own-a.jsonl", "num_documents": 1, "num_tokens": answer["impact"]["tokens"]}
    ]
    filters = [row for row in answer["plan"] if row["stage"] == "filter"]
    assert [row["shard"] for row in filters if row["action"] == "run"] == ["own-a.jsonl"]
    assert command(home, page("a", 1), "--dry-run", "--erase") == 0
    out = capsys.readouterr().out
    assert "in 1 shard: 1 document, " in out
    assert "no model has seen it" in out
    assert "run      filter (1 of 6 shards)" in out
    assert read_forgotten(home.path) == []


def test_it_asks_before_it_acts(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HeadwaterError, match="there is no terminal: give --yes"):
        command(home, page("a", 1), "--erase")
    assert read_forgotten(home.path) == []
    assert "then:" in capsys.readouterr().out
