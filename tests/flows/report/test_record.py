"""What becomes of a record's past: versions that were superseded, files that were erased."""

from pathlib import Path

import pytest

from flows.report import _renderers
from flows.report.card import render_card
from flows.report.record import ModelRecord, read_record
from flows.report.summary import render_summary
from tasks.store import Store, Tombstone
from tests.flows.report.homes import copy_home, number, open_catalogue, read_table
from tests.flows.report.truth import read_truth

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture
def store(report_home: Path, tmp_path: Path) -> Store:
    home = copy_home(report_home, tmp_path)
    return Store(str(home / "store"), home / "cache")


def reread(store: Store, name: str = "assistant@1") -> ModelRecord:
    catalogue = open_catalogue(store.cache.parent)
    return read_record(catalogue, catalogue.named(name))


def test_a_superseded_model_says_so_at_once(store: Store) -> None:
    other = store.load("ppo", open_catalogue(store.cache.parent).of_stage("ppo")[0].key)
    assert other is not None
    store.point("assistant", other)
    store.registry.supersede("assistant", 1, 2)
    card = render_card(reread(store))
    warning = "> **assistant@1 is superseded by version 2 and must not be used any more.**"
    assert warning in card.split("## The model")[0]
    later = render_summary(reread(store, "assistant@2"))
    (row,) = (line for line in later.splitlines() if line.startswith("| Earlier versions"))
    assert f"assistant@1 `{reread(store).artifact.digest[:12]}`" in row


def test_erased_shards_are_told_and_not_counted(store: Store, report_home: Path) -> None:
    home = store.cache.parent
    shards = [s for s in open_catalogue(home).of_stage("tokenize") if s.shard == "world-000"]
    store.erase(shards[0], Tombstone("2026-03-01T00:00:00+00:00", "asked by Ada", "ada"))
    record = reread(store)
    truth = read_truth(home)
    everything = read_truth(report_home)
    assert truth.tokens["world", "train"] < everything.tokens["world", "train"]
    for text in (render_card(record), render_summary(record)):
        heading = "source | category" if "## The model" in text else "source | section"
        table = {row[0]: row for row in read_table(text, heading)}
        assert number(table["world"][4]) == truth.tokens["world", "train"]
        assert f"| `{shards[0].label}` | 2026-03-01 |" in text
        assert "Ada" not in text
    assert record.as_of >= "2026-03-01"
    papers = {name: render(record) for name, render in _renderers().items()}
    assert "token-shards/world-000" not in papers["croissant"]
    assert "headwater:erased" in papers["bom"]


def test_all_papers_can_be_made_when_every_shard_and_the_model_are_gone(store: Store) -> None:
    catalogue = open_catalogue(store.cache.parent)
    gone = Tombstone("2026-03-01T00:00:00+00:00", "all", "ada")
    for stage in ("extract", "filter", "tokenize", "pretrain", "practice"):
        for artifact in catalogue.of_stage(stage):
            store.erase(artifact, gone)
    record = reread(store)
    papers = {name: render(record) for name, render in _renderers().items()}
    assert all(papers.values())
    assert "no crawled text was left to train on, or its files were erased" in papers["summary"]
    assert "of the artefacts it was made of were erased" in papers["card"]
