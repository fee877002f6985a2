"""Whatever is changed in a store is named, with its path; what is as it was is sound."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.model_check import all_versions, verify_models
from tasks.lineage.verification.record_check import flaws_of
from tasks.lineage.verification.verification import verify_lineage
from tasks.seal import seal_of
from tasks.store import Store, Tombstone
from tests.tasks.lineage.verification.small_store import NAME, SmallStore, make_store, produce
from tests.tasks.lineage.verification.tampering import EDITS, Edit, flip, set_to, truncate


@pytest.fixture
def small(tmp_path: Path) -> SmallStore:
    return make_store(tmp_path)


def kinds(small: SmallStore) -> set[str]:
    return {problem.kind for problem in small.verify().problems}


def test_a_store_as_it_was_made_is_sound(small: SmallStore) -> None:
    result = small.verify()
    assert (result.problems, result.notes) == ([], [])
    made = [small.model, *small.texts, small.crawl, small.file]
    assert {(a.stage, a.key) for a in result.artifacts} == {(a.stage, a.key) for a in made}
    assert result.num_bytes == sum(file.bytes for artifact in made for file in artifact.files)


def test_the_bytes_that_are_read_are_told(small: SmallStore) -> None:
    told: list[tuple[int, int]] = []
    result = verify_lineage(small.open(), {NAME: small.model}, lambda *n: told.append(n))
    assert told[-1] == (result.num_bytes, result.num_bytes)
    assert told == sorted(told)


FILES = {
    "of the model": (lambda s: s.model, "model/weights.bin"),
    "of a shard": (lambda s: s.crawl, "crawl-001/pages.jsonl"),
    "of the provenance": (lambda s: s.crawl, "crawl-000/provenance/fetch.jsonl"),
    "of its owner": (lambda s: s.file, "pages.jsonl"),
}


@pytest.mark.parametrize("which", FILES)
@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (flip, "file-changed", "does not match its SHA-256"),
        (truncate, "file-changed", "bytes, not"),
        (Path.unlink, "file-missing", "is missing"),
    ],
    ids=["flipped", "truncated", "deleted"],
)
def test_a_damaged_file_is_named(
    small: SmallStore, which: str, damage: Callable[[Path], None], kind: str, said: str
) -> None:
    choose, name = FILES[which]
    artifact: Artifact = choose(small)
    path = artifact.directory / name
    damage(path)
    (problem,) = small.verify().problems
    assert problem.kind == kind
    assert (problem.subject, problem.place) == (artifact.label, str(path))
    assert f"{name} " in problem.what
    assert said in problem.what
    assert ("of your own" in problem.mend) == (which == "of its owner")


def test_a_file_that_is_not_on_record_is_named(small: SmallStore) -> None:
    path = small.crawl.directory / "crawl-001" / "more.jsonl"
    path.write_text("another page\n")
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("file-unrecorded", str(path))


@pytest.mark.parametrize("known", [True, False], ids=["known before", "seen edited"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_named(small: SmallStore, edit: str, known: bool) -> None:
    """Whether the catalogue read it before the edit or after."""
    if not known:
        small.forget_catalogue()
    path = small.edit_record(small.texts[0], EDITS[edit])
    problems = small.verify().problems
    assert "record-edited" in {problem.kind for problem in problems}
    assert str(path) in {problem.place for problem in problems}


@pytest.mark.parametrize("edited", ["counts", "facts"])
def test_a_seal_tells_of_an_edit_by_itself(small: SmallStore, edited: str) -> None:
    """Of what no chain has, as of an evaluation."""
    path = small.edit_record(small.texts[0], lambda record: record.update(seal=seal_of(record)))
    record = json.loads(path.read_bytes())
    assert flaws_of(record) == []
    assert seal_of({**record, "counts": {"loss": float("nan")}})  # as of a training that failed
    (flaw,) = flaws_of({**record, edited: {"num_files": 9}})
    assert "own seal" in flaw


@pytest.mark.parametrize("text", ["", '{"stage": "extract"', "[]", "null"])
def test_a_torn_record_is_named(small: SmallStore, text: str) -> None:
    path = small.record_path(small.texts[0])
    path.write_text(text)
    assert str(path) in {problem.place for problem in small.verify().problems}


def test_parts_are_compared_with_the_files(small: SmallStore) -> None:
    swap = {
        "crawl-000": small.crawl.parts["crawl-001"],
        "crawl-001": small.crawl.parts["crawl-000"],
    }
    path = small.edit_record(small.crawl, set_to("parts", value=swap))
    problems = [p for p in small.verify().problems if p.place == str(path)]
    assert any("digests of its parts" in problem.what for problem in problems)


@pytest.mark.parametrize("which", ["model", "text", "crawl", "file"])
def test_a_deleted_record_is_named(small: SmallStore, which: str) -> None:
    artifact = {
        "model": small.model, "text": small.texts[1], "crawl": small.crawl, "file": small.file
    }[which]  # fmt: skip
    path = small.record_path(artifact)
    path.unlink()
    result = small.verify()
    assert [problem.place for problem in result.problems if problem.kind == "record-missing"] == [
        str(path)
    ]
    if which != "model":  # all that records still lead to was examined
        assert small.model.key in {examined.key for examined in result.artifacts}


def test_a_parent_that_a_run_made_anew_is_noted(small: SmallStore) -> None:
    """As when a site is crawled again: the store keeps the record of what was there."""
    files = {"crawl-000/pages.jsonl": "first page\n"}
    produce(small.store, "crawl", files, sharded=True, created="2026-02-02T00:00:00+00:00")
    result = small.verify()
    assert result.problems == []
    assert any("made again with other content" in note for note in result.notes)


@pytest.mark.parametrize("known", [True, False], ids=["known before", "seen edited"])
def test_a_parent_that_was_exchanged_is_named(small: SmallStore, known: bool) -> None:
    """With a record that agrees with the files, as a careful forger would write it."""
    (small.crawl.directory / "crawl-001" / "pages.jsonl").write_text("a better page\n")
    files = describe(small.crawl.directory)

    def forge(record: dict[str, Any]) -> None:
        record["files"] = [asdict(file) for file in files]
        record["digest"], record["parts"] = content_digest(files), part_digests(files)
        record.pop("seal", None)

    path = small.edit_record(small.crawl, forge)
    if not known:
        small.forget_catalogue()
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("parent-mismatch", str(path))
    assert problem.subject == f"crawl[crawl-001] {small.crawl.parts['crawl-001'][:12]}"


def test_another_of_the_same_content_stands_for_a_parent(small: SmallStore) -> None:
    """The crawl of other settings found the same pages: what counts is content."""
    files = {
        f"{shard}/pages.jsonl": (small.crawl.directory / shard / "pages.jsonl").read_text()
        for shard in ("crawl-000", "crawl-001")
    }
    site = produce(small.store, "site", {"index.html": "other"})
    produce(small.store, "crawl", files, [site], sharded=True)
    small.record_path(small.crawl).unlink()
    found = {problem.kind for problem in small.verify().problems}
    assert found <= {"record-missing"}  # of the chain, which names that very record


def test_what_was_erased_is_noted_and_no_problem(small: SmallStore) -> None:
    small.store.erase(small.crawl, Tombstone("2026-03-03T00:00:00+00:00", "asked to", "owner"))
    result = small.verify()
    assert result.problems == []
    (note,) = result.notes
    assert small.crawl.label in note
    assert "asked to" in note


def test_what_is_left_of_something_erased_is_named(small: SmallStore) -> None:
    small.store.erase(small.crawl, Tombstone("2026-03-03T00:00:00+00:00", "asked to", "owner"))
    left = small.record_path(small.crawl).with_name("old-attempt")
    left.mkdir()
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("erasure", str(left))


def test_a_record_made_again_is_noted(small: SmallStore) -> None:
    """A damaged file is mended by a run, and the record then has another time."""
    text = small.texts[0]
    (text.directory / "text.txt").unlink()
    again = produce(
        small.store, "extract", {"text.txt": "text 0\n"}, [small.crawl.part("crawl-000")],
        shard="web-000", created="2999-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert again.digest == text.digest
    result = small.verify()
    assert result.problems == []
    assert result.notes == [
        f"{NAME}@1: extract {text.digest[:12]} was made again on 2999-01-01T00:00:00+00:00"
    ]


REFERENCES: dict[str, Edit] = {
    "current": set_to("current", value=2),
    "version": set_to("versions", 0, "version", value=3),
    "stage": set_to("versions", 0, "stage", value="extract"),
    "key": set_to("versions", 0, "key", value="0" * 64),
    "end of the key": lambda r: r["versions"][0].update(key=r["versions"][0]["key"][:-1] + "z"),
    "digest": set_to("versions", 0, "digest", value="0" * 64),
    "chain": set_to("versions", 0, "chain", value="0" * 64),
    "recipe": set_to("versions", 0, "recipe_digest", value="0" * 64),
    "superseded": set_to("versions", 0, "superseded_by", value=9),
    "no versions": set_to("versions", value=[]),
    "digest of another kind": set_to("versions", 0, "digest", value=7),
    "versions of another kind": set_to("versions", value={}),
    "a field removed": lambda record: record["versions"][0].pop("digest"),
    "versions removed": lambda record: record.pop("versions"),
}


@pytest.mark.parametrize("edit", REFERENCES)
def test_an_edited_reference_is_named(small: SmallStore, edit: str) -> None:
    small.edit_reference(REFERENCES[edit])
    problems = small.verify().problems
    assert any(problem.subject.startswith(NAME) for problem in problems)
    assert all(problem.place and problem.mend for problem in problems)


@pytest.mark.parametrize("text", ["", "[]", "null"])
def test_a_torn_reference_is_named(small: SmallStore, text: str) -> None:
    path = Path(small.store.root, "references", f"{NAME}.json")
    path.write_text(text)
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("name-edited", str(path))


def test_a_seal_of_a_reference_is_checked(small: SmallStore) -> None:
    small.edit_reference(lambda reference: reference.update(seal=seal_of(reference)))
    assert small.verify().problems == []
    path = small.edit_reference(set_to("versions", 0, "date", value="2025-01-01T00:00:00+00:00"))
    assert str(path) in {problem.place for problem in small.verify().problems}


def test_an_edited_recipe_is_named(small: SmallStore) -> None:
    (path,) = Path(small.store.root, "recipes").iterdir()
    path.write_text('{"name": "other"}')
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("recipe-edited", str(path))


def test_an_edited_chain_is_named(small: SmallStore) -> None:
    (path,) = Path(small.store.root, "signatures").rglob("*.json")
    path.write_text(path.read_text().replace("extract", "filter"))
    (problem,) = small.verify().problems
    assert (problem.kind, problem.place) == ("chain-edited", str(path))


def test_every_version_can_be_asked_for(small: SmallStore) -> None:
    other = produce(small.store, "toy-training", {"model/config.json": "[]"}, small.texts[:1])
    small.store.point(NAME, other)
    small.store.point("corpus", small.crawl)
    flip(small.model.directory / "model/config.json")
    catalogue = small.open()
    assert verify_models(catalogue, [NAME]).problems == []
    assert len(verify_models(catalogue, [f"{NAME}@1"]).problems) == 1
    assert len(verify_models(catalogue, [small.model.digest[:12]]).problems) == 1
    models = all_versions(catalogue)
    assert models == [f"{NAME}@1", f"{NAME}@2", "corpus@1"]
    result = verify_models(catalogue, models)
    assert len(result.artifacts) == 7
    assert len(result.problems) == 1


def test_a_store_that_was_copied_is_read_where_it_is(small: SmallStore, tmp_path: Path) -> None:
    """With its catalogue, and the one it was copied from still in its place."""
    small.open()
    shutil.copytree(tmp_path / "store", tmp_path / "copy" / "store")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy" / "cache")
    copy = Store(str(tmp_path / "copy" / "store"), tmp_path / "copy" / "cache")
    path = copy.named(NAME).path("model/weights.bin")
    flip(path)
    (problem,) = verify_models(Catalogue.open(copy), [NAME]).problems
    assert problem.place == str(path)
    assert small.verify().problems == []


def test_a_store_elsewhere_is_read_itself_and_not_its_copies(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    text = produce(store, "extract", {"text.txt": "text\n"})
    model = produce(store, "toy-training", {"model/weights.bin": "01"}, [text])
    store.point(NAME, model)
    assert verify_models(Catalogue.open(store), [NAME]).problems == []
    path = f"{store.root}/toy-training/{model.key[:24]}/{model.directory.name}/model/weights.bin"
    store.fs.pipe_file(path, b"10")
    (problem,) = verify_models(Catalogue.open(store), [NAME]).problems
    assert (problem.kind, problem.place) == ("file-changed", path)
