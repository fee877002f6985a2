"""The catalogue: edges by content, catching up, and what may happen to its file."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.store import Store, Tombstone
from tests.tasks.lineage.made_up import make

TOMBSTONE = Tombstone("2026-01-01", "asked for", "a test")
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(str(tmp_path / "store"), tmp_path / "cache")
        return
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    yield store
    store.fs.rm(store.root, recursive=True)


def names(artifacts: list[Artifact]) -> list[str]:
    return [artifact.key for artifact in artifacts]


def parents(catalogue: Catalogue, artifact: Artifact, as_of: str | None = None) -> list[str]:
    return [parent.key for _, parent in catalogue.inputs(artifact, as_of)]


def test_a_parent_is_the_latest_of_equal_content_in_its_time(store: Store) -> None:
    old = make(store, "shard", "same", config=0, created="2026-01-01")
    new = make(store, "shard", "same", config=1, created="2026-01-03")
    other = make(store, "shard", "other", config=2, created="2026-01-02")
    early = make(store, "model", "a", [old], config=0, created="2026-01-02")
    late = make(store, "model", "b", [old], config=1, created="2026-01-04")
    catalogue = Catalogue.open(store)
    assert parents(catalogue, early) == [old.key]
    assert parents(catalogue, late) == [new.key]
    assert parents(catalogue, late, as_of="2026-01-02") == [old.key]
    assert names(catalogue.ancestry(late)) == [late.key, new.key]
    assert names(catalogue.children(old)) == names(catalogue.children(new))
    assert set(names(catalogue.children(old))) == {early.key, late.key}
    assert catalogue.children(other) == []


def test_what_was_erased_is_a_parent_only_where_nothing_else_is(store: Store) -> None:
    old = make(store, "shard", "same", config=0, created="2026-01-01")
    new = make(store, "shard", "same", config=1, created="2026-01-02")
    model = make(store, "model", "a", [new], created="2026-01-03")
    store.erase(new, TOMBSTONE)
    catalogue = Catalogue.open(store)
    assert parents(catalogue, model) == [old.key]
    store.erase(old, TOMBSTONE)
    catalogue = Catalogue.open(store)
    assert parents(catalogue, model) == [new.key]
    assert catalogue.erasure(new) == TOMBSTONE
    assert {artifact.key for artifact, _ in catalogue.erasures()} == {old.key, new.key}
    assert catalogue.get("shard", new.key) is not None


def test_a_part_has_children_of_its_own(store: Store) -> None:
    whole = make(store, "dedup", "", folders={"a": "1", "b": "2"})
    of_a = make(store, "kept", "x", [whole.part("a")], config=0)
    of_b = make(store, "kept", "y", [whole.part("b")], config=1)
    catalogue = Catalogue.open(store)
    assert names(catalogue.children(whole.part("a"))) == [of_a.key]
    assert set(names(catalogue.children(whole))) == {of_a.key, of_b.key}
    ((role, part),) = catalogue.inputs(of_b)
    assert (role, part.shard, part.digest) == ("input", "b", whole.parts["b"])


def test_a_record_that_is_gone_is_told(store: Store) -> None:
    shard = make(store, "shard", "a")
    model = make(store, "model", "b", [shard])
    Catalogue.open(store)
    store.discard(shard)
    catalogue = Catalogue.open(store)
    assert catalogue.get("shard", shard.key) is None
    for ask in (catalogue.inputs, catalogue.ancestry, catalogue.lineage):
        with pytest.raises(ArtifactError, match=r"the record of shard .* is gone"):
            ask(model)


def test_a_result_made_again_under_its_key_takes_the_place(store: Store) -> None:
    old = make(store, "shard", "first")
    Catalogue.open(store)
    store.discard(old)
    new = make(store, "shard", "second")
    assert new.key == old.key
    catalogue = Catalogue.open(store)
    assert [a.digest for a in catalogue.of_stage("shard")] == [new.digest]
    assert catalogue.named(new.digest[:8]).digest == new.digest
    with pytest.raises(ArtifactError):
        catalogue.named(old.digest[:8])


@pytest.mark.parametrize("seed", range(4))
def test_walks_are_those_of_the_records(tmp_path: Path, seed: int) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    draw = random.Random(seed)
    made: list[Artifact] = []
    for number in range(25):
        below = draw.sample(made, min(len(made), draw.randint(0, 3)))
        made.append(make(store, f"stage-{number % 3}", str(number), below, config=number))
        if number % 8 == 0:
            Catalogue.open(store)  # which so catches up more than once
    catalogue = Catalogue.open(store)
    by_key = {artifact.key: artifact for artifact in made}
    for artifact in made:
        above = {artifact.key}
        for other in reversed(made):
            if other.key in above:
                above |= {parent.key for parent in other.parents}
        assert set(names(catalogue.ancestry(artifact))) == above
        assert names(catalogue.ancestry(artifact))[0] == artifact.key
        below_it = {artifact.key}
        for other in made:
            if below_it & {parent.key for parent in other.parents}:
                below_it.add(other.key)
        found = names(catalogue.descendants([artifact]))
        assert sorted(found) == sorted(below_it - {artifact.key})
        lineage = catalogue.lineage(artifact)
        edges = {(a.key, p.key) for a in lineage.artifacts for _, p in lineage.inputs(a)}
        assert edges == {(key, p.key) for key in above for p in by_key[key].parents}


def spoil_nothing(path: Path) -> None:
    """Leave it."""


def delete_cache(path: Path) -> None:
    shutil.rmtree(path.parent)


def make_stale(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 999")
        database.execute("DROP TABLE edge")


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize("spoil", [spoil_nothing, delete_cache, make_stale, overwrite])
def test_the_file_may_be_lost_at_any_time(store: Store, spoil: "object") -> None:
    shard = make(store, "shard", "a")
    model = make(store, "model", "b", [shard])
    Catalogue.open(store).database.close()
    assert callable(spoil)
    spoil(store.cache / "lineage" / "catalogue.db")
    catalogue = Catalogue.open(store)
    assert names(catalogue.ancestry(model)) == [model.key, shard.key]
    assert names(catalogue.children(shard)) == [model.key]


def test_two_processes_may_open_it_at_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    shards = [make(store, "shard", str(number), config=number) for number in range(40)]
    model = make(store, "model", "m", shards)
    code = (
        "import sys, json; from pathlib import Path; from tasks.store import Store\n"
        "from tasks.lineage.catalogue import Catalogue\n"
        "catalogue = Catalogue.open(Store(sys.argv[1], Path(sys.argv[2])))\n"
        "(model,) = catalogue.of_stage('model')\n"
        "print(json.dumps(sorted(a.key for a in catalogue.ancestry(model))))"
    )
    command = [sys.executable, "-c", code, store.root, str(store.cache)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert answers == [sorted(names([model, *shards]))] * 2
