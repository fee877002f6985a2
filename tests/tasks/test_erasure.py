"""Raw shards lose records under their own key; results go only if nothing else can make them."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline_data.artifact import Artifact, Parent
from pipeline_data.formats import read_jsonl, write_jsonl
from pipeline_data.sources.settings import ReaderConfig
from tasks.erasure import (
    REDACTIONS,
    RawShard,
    find_tainted,
    raw_shards,
    redact_stored,
    remove_leftovers,
    unread_shards,
)
from tasks.lineage.catalogue import Catalogue
from tasks.store import FORMER, Request, Store, Tombstone
from tests.byte_search import find_bytes

READER = ReaderConfig(format="records")
TOMBSTONE = Tombstone("2026-01-02T03:04:05+00:00", "asked", "a test")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path}"
    return Store(url, tmp_path / "cache")


def make_raw(store: Store, num_shards: int = 2) -> Artifact:
    """A sharded raw artefact of three records a shard."""

    def write(out: Path) -> dict[str, int]:
        for shard in range(num_shards):
            rows = [{"url": f"{shard}/{n}", "text": f"secret {shard}{n}."} for n in range(3)]
            write_jsonl(out / f"records-{shard:03d}" / "records.jsonl", rows)
        return {"num_documents": 3 * num_shards}

    return store.produce(Request("ingest", 1, {"k": "v"}, (), None, True), write, {"run": "first"})


def make(
    store: Store, stage: str, parents: Mapping[str, Artifact], text: str, **config: object
) -> Artifact:
    """A result with one file that says ``text``, whatever it was made of."""

    def write(out: Path) -> dict[str, int]:
        (out / "file").write_text(text)
        return {}

    made_of = [Parent(role, a.stage, a.key, a.digest, a.shard) for role, a in parents.items()]
    return store.produce(Request(stage, 1, config, made_of), write, {})


def holdings(store: Store, tmp_path: Path, text: str) -> list[object]:
    """Whatever holds a text, in the store and in the copies that are kept here."""
    found: list[object] = [*find_bytes(tmp_path, text)]
    if not store.is_local:
        paths = store.fs.find(store.root)
        found += [path for path in paths if text.encode() in store.fs.cat_file(path)]
    return found


def redact(store: Store, raw: Artifact, *urls: str) -> int:
    current = store.load(raw.stage, raw.key)
    assert current
    parts = [RawShard(p, current.part(p), READER) for p in current.parts]
    return len(redact_stored(Catalogue.open(store), parts, set(urls).__contains__, TOMBSTONE))


def test_a_raw_shard_keeps_its_key_and_the_other_shards_their_content(
    store: Store, tmp_path: Path
) -> None:
    raw = make_raw(store)
    assert redact(store, raw, "0/1") == 1
    found = store.load(raw.stage, raw.key)
    assert found
    assert found.digest != raw.digest
    assert found.parts["records-000"] != raw.parts["records-000"]
    assert found.parts["records-001"] == raw.parts["records-001"]
    assert store.damage(found) == []
    (note,) = found.facts[REDACTIONS]
    assert (note["reason"], note["digest_before"], note["num_records"]) == ("asked", raw.digest, 1)
    local = store.fetch(found)
    rows = read_jsonl(local.path("records-000/records.jsonl"))
    assert [row["url"] for row in rows] == ["0/0", "0/2"]
    assert holdings(store, tmp_path, "secret 01.") == []
    assert holdings(store, tmp_path, "secret 11.")
    assert holdings(store, tmp_path, "0/1") == []


def test_the_former_content_is_remembered_as_erased(store: Store) -> None:
    raw = make_raw(store)
    below = make(store, "extract", {"raw": raw.part("records-000")}, "text")
    redact(store, raw, "0/1")
    catalogue = Catalogue.open(store)
    ((_, parent),) = catalogue.inputs(below)
    assert parent.digest == raw.parts["records-000"]
    assert catalogue.erasure(parent) == TOMBSTONE
    assert parent.config[FORMER] == raw.digest
    untouched = make(store, "extract", {"raw": raw.part("records-001")}, "other")
    ((_, parent),) = Catalogue.open(store).inputs(untouched)
    assert catalogue.erasure(parent) is None


def test_redacting_again_changes_nothing_and_more_adds_to_it(store: Store) -> None:
    raw = make_raw(store)
    redact(store, raw, "0/1")
    once = store.load(raw.stage, raw.key)
    assert redact(store, raw, "0/1") == 0
    assert store.load(raw.stage, raw.key) == once
    assert redact(store, raw, "0/1", "1/2", "0/0") == 2
    twice = store.load(raw.stage, raw.key)
    assert twice
    assert [note["num_records"] for note in twice.facts[REDACTIONS]] == [1, 2]
    assert {t.reason for _, t in Catalogue.open(store).erasures()} == {"asked"}


def test_raw_shards_are_found_by_what_was_extracted_of_them(store: Store) -> None:
    raw = make_raw(store)
    reader = READER.model_dump(mode="json")
    part = raw.part("records-001")
    extracted = make(store, "extract", {"raw": part}, "text", reader=reader)
    (found,) = raw_shards(Catalogue.open(store), [extracted])
    assert (found.raw.digest, found.reader, found.is_stored) == (part.digest, READER, True)
    redact(store, raw, "1/0")
    assert raw_shards(Catalogue.open(store), [extracted]) == []


def test_shards_that_nothing_was_extracted_from_are_found_too(store: Store) -> None:
    raw = make_raw(store)
    make(store, "extract", {"raw": raw.part("records-001")}, "text")
    (found,) = unread_shards(Catalogue.open(store))
    assert (found.raw.shard, found.reader.format) == ("records-000", "records")
    assert len(redact_stored(Catalogue.open(store), [found], "0/1".__eq__, TOMBSTONE)) == 1


def test_what_can_be_made_another_way_is_not_tainted(store: Store) -> None:
    raw = make_raw(store)
    old = make(store, "extract", {"raw": raw.part("records-000")}, "with the page")
    first = make(store, "filter", {"documents": old}, "the page is blocked", blocked=1)
    measured = make(store, "evaluate-base", {"base": first}, "numbers")
    tokens = make(store, "tokenize", {"documents": first}, "tokens without it")
    model = make(store, "pretrain", {"tokens": tokens}, "model")
    apart = make(store, "filter", {"documents": make(store, "extract", {}, "apart")}, "apart")
    everything = [old, first, tokens, model]
    assert find_tainted(Catalogue.open(store), [old]) == everything

    redact(store, raw, "0/1")
    redone = store.load(raw.stage, raw.key)
    assert redone
    clean = make(store, "extract", {"raw": redone.part("records-000")}, "without the page")
    second = make(store, "filter", {"documents": clean}, "the page never came")
    same = make(store, "tokenize", {"documents": second}, "tokens without it")
    assert same.digest == tokens.digest
    tainted = find_tainted(Catalogue.open(store), [old])
    assert tainted == [old, first, tokens]

    for artifact in tainted:
        store.erase(artifact, TOMBSTONE)
    catalogue = Catalogue.open(store)
    assert find_tainted(catalogue, []) == []
    assert same in catalogue.ancestry(model)
    assert [catalogue.erasure(a) for a in (measured, apart, model, second)] == [None] * 4


def test_files_that_no_record_names_are_removed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    raw = make_raw(store)
    killed = raw.directory.parent / "elsewhere-0123"
    (killed / "deep").mkdir(parents=True)
    (killed / "deep" / "pages.gz").write_bytes(gzip.compress(b"secret 99."))
    lost = tmp_path / "store" / "extract" / "0" / "attempt"
    lost.mkdir(parents=True)
    assert remove_leftovers(store) == 2
    assert not killed.exists()
    assert store.damage(raw) == []
    assert remove_leftovers(store) == 0
