import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_data.artifact import Artifact, Counts, Parent
from pipeline_data.errors import ArtifactError, SourceError
from tasks.store import Request, Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(str(tmp_path / "store"), tmp_path / "cache")
        return
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    yield store
    store.fs.rm(store.root, recursive=True) if store.fs.exists(store.root) else None


def ask(config: int = 0, sharded: bool = False, parents: tuple[Parent, ...] = ()) -> Request:
    return Request("count", 1, {"value": config}, parents, sharded=sharded)


def writer(text: str, folder: str = "") -> "Write":
    return Write(text, folder)


class Write:
    def __init__(self, text: str, folder: str) -> None:
        self.text = text
        self.folder = folder
        self.num_calls = 0

    def __call__(self, out: Path) -> Counts:
        self.num_calls += 1
        target = out / self.folder
        target.mkdir(exist_ok=True)
        (target / "data.txt").write_text(self.text)
        (out / "provenance").mkdir()
        (out / "provenance" / "when.txt").write_text(f"call {id(self)}")
        return {"characters": len(self.text)}


def damaged_file(store: Store, artifact: Artifact, name: str, data: bytes | None) -> None:
    if store.is_local:
        path = artifact.directory / name
        path.unlink() if data is None else path.write_bytes(data)
        return
    path = f"{store.root}/count/{artifact.key[:24]}/{artifact.directory.name}/{name}"
    store.fs.rm_file(path) if data is None else store.fs.pipe_file(path, data)


def test_what_is_committed_is_found_again(store: Store) -> None:
    made = store.produce(ask(), writer("hello"), {"run": "r1"})
    found = store.find(ask())
    assert found is not None
    assert (found.digest, found.counts, found.facts) == (
        made.digest,
        {"characters": 5},
        {"run": "r1"},
    )
    assert (store.fetch(found).directory / "data.txt").read_text() == "hello"
    assert store.damage(found) == []
    assert store.find(ask(config=1)) is None


def test_provenance_is_no_part_of_the_digest_but_is_verified(store: Store) -> None:
    first = store.produce(ask(0), writer("same"), {})
    second = store.produce(ask(1), writer("same"), {})
    third = store.produce(ask(2), writer("other"), {})
    assert first.digest == second.digest != third.digest
    damaged_file(store, second, "provenance/when.txt", None)
    assert store.find(ask(1)) is None


def test_a_stage_that_fails_leaves_nothing(store: Store) -> None:
    def fail(out: Path) -> Counts:
        (out / "half.txt").write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        store.produce(ask(), fail, {})
    assert store.find(ask()) is None
    left = [p for p in (store.cache.parent / "store").rglob("*") if p.is_file()]
    assert left == []


@pytest.mark.parametrize("data", [None, b"hell"])
def test_missing_or_shortened_files_are_no_hit(store: Store, data: bytes | None) -> None:
    made = store.produce(ask(), writer("hello"), {})
    damaged_file(store, made, "data.txt", data)
    assert store.find(ask()) is None
    assert any("data.txt" in line for line in store.damage(made))
    again = store.produce(ask(), writer("hello"), {})
    assert again.digest == made.digest
    assert store.find(ask()) is not None


def test_bytes_changed_in_place_are_no_hit(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    made = store.produce(ask(), writer("hello"), {})
    (made.directory / "data.txt").write_text("jello")
    assert store.find(ask()) is None
    assert store.damage(made) == [f"{made.label}: data.txt does not match its SHA-256"]


def test_an_edited_record_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    made = store.produce(ask(), writer("hello"), {})
    record_path = made.directory.parent / "artifact.json"
    record = json.loads(record_path.read_text())
    record["digest"] = "0" * 64
    record_path.write_text(json.dumps(record))
    edited = store.load("count", made.key)
    assert edited is not None
    assert store.damage(edited) == [f"{edited.label}: the record does not match its own digest"]


def test_the_same_content_again_keeps_the_first_record(store: Store) -> None:
    first = store.produce(ask(), writer("same"), {"run": "r1"})
    second = store.produce(ask(), writer("same"), {"run": "r2"})
    assert second.facts == {"run": "r1"}
    assert second.directory == first.directory


def test_two_at_once_do_not_hurt_each_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    meet = threading.Barrier(4)

    def write(out: Path) -> Counts:
        (out / "data.txt").write_text("same")
        meet.wait()
        return {}

    threads = [threading.Thread(target=store.produce, args=(ask(), write, {})) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.find(ask())
    assert found is not None
    assert store.damage(found) == []


def test_parts_have_digests_of_their_own(store: Store) -> None:
    made = store.produce(ask(0, sharded=True), writer("one", "a"), {})
    moved = store.produce(ask(1, sharded=True), writer("one", "b"), {})
    assert made.part("a").digest == moved.part("b").digest
    assert made.digest != moved.digest
    assert (store.fetch(made).part("a").path("data.txt")).read_text() == "one"
    with pytest.raises(ArtifactError, match="no shard c"):
        made.part("c")


def test_the_key_follows_content_not_names_or_provenance() -> None:
    parent = Parent("data", "up", "key-1", "digest-1")
    other_key = Parent("data", "up", "key-2", "digest-1")
    other_content = Parent("data", "up", "key-1", "digest-2")
    assert ask(parents=(parent,)).key == ask(parents=(other_key,)).key
    assert ask(parents=(parent,)).key != ask(parents=(other_content,)).key
    assert ask(0).key != ask(1).key


def test_names_point_at_artefacts(store: Store) -> None:
    with pytest.raises(ArtifactError, match="no model named 'assistant'"):
        store.named("assistant")
    made = store.produce(ask(), writer("hello"), {})
    store.point("assistant", made)
    assert store.named("assistant").digest == made.digest
    assert store.names() == ["assistant"]


def test_a_raw_file_is_its_content(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    first = tmp_path / "first.jsonl"
    second = tmp_path / "second.jsonl"
    first.write_text("{}")
    second.write_text("{}")
    copy = tmp_path / "elsewhere" / "first.jsonl"
    copy.parent.mkdir()
    copy.write_text("{}")
    one, moved = store.adopt(first, "first.jsonl"), store.adopt(copy, "first.jsonl")
    assert one.digest == moved.digest != store.adopt(second, "second.jsonl").digest
    assert store.parent(Parent("raw", one.stage, one.key, one.digest)).directory == tmp_path
    first.write_text('{"changed": 1}')
    assert store.adopt(first, "first.jsonl").digest != one.digest
    assert store.damage(one) != []


def test_ancestry_visits_each_artefact_once(store: Store) -> None:
    root = store.produce(ask(0), writer("root"), {})
    link = Parent("data", root.stage, root.key, root.digest)
    left = store.produce(ask(1, parents=(link,)), writer("left"), {})
    right = store.produce(ask(2, parents=(link,)), writer("right"), {})
    links = tuple(Parent("data", a.stage, a.key, a.digest) for a in (left, right))
    top = store.produce(ask(3, parents=links), writer("top"), {})
    assert [a.key for a in store.ancestry(top)] == [top.key, left.key, right.key, root.key]


def test_a_folder_is_what_is_in_it(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.csv").write_text("text\none\n")
    (folder / "b.csv").write_text("text\ntwo\n")
    (folder / ".cache").write_text("of no interest")
    before = store.adopt_folder(folder)
    assert [file.path for file in before.files] == ["b.csv", "sub/a.csv"]
    assert store.load(before.stage, before.key) == before
    (one,) = store.adopt_folder(folder, ["b.csv", "c.csv"]).files
    assert one.path == "b.csv"
    moved = folder.rename(tmp_path / "moved")
    assert store.adopt_folder(moved).digest == before.digest
    (moved / "b.csv").write_text("text\ntwo!\n")
    assert store.adopt_folder(moved).digest != before.digest
    with pytest.raises(SourceError, match="no folder with files"):
        store.adopt_folder(tmp_path / "nowhere")
