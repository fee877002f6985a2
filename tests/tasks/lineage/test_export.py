"""A model folder that carries its lineage: complete, refused when not sound, checked by itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint
from tasks.lineage.export import export_model
from tasks.lineage.exported_folder import CHAIN, MANIFESTS, SIGNATURE, verify_folder
from tasks.lineage.verification.chain import links_of, record_chain
from tasks.lineage.verification.signing import create_key
from tasks.store import Tombstone
from tests.tasks.lineage.verification.small_store import SmallStore, edit_json, make_store
from tests.tasks.lineage.verification.tampering import EDITS, flip, sealed, set_to, truncate

CARD = {"README.md": "# A model\n", "lineage/lineage.html": "<p>its lineage</p>\n"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return make_store(tmp_path_factory.mktemp("small"))


@pytest.fixture
def folder(small: SmallStore, tmp_path: Path) -> Path:
    export_model(small.open(), small.model, tmp_path / "model", CARD)
    return tmp_path / "model"


def places(folder: Path, public_key: Path | None = None) -> set[str]:
    found = verify_folder(folder, public_key).problems
    return {Path(problem.place).relative_to(folder).as_posix() for problem in found}


def test_the_folder_holds_the_model_and_every_record(small: SmallStore, folder: Path) -> None:
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {"config.json", "weights.bin", *CARD, MANIFESTS, CHAIN}
    assert (folder / "weights.bin").read_text() == "0123456789"
    result = verify_folder(folder)
    assert result.problems == []
    assert result.num_records == 6
    assert result.model["digest"] == small.model.digest
    assert result.chain == record_chain(small.open(), small.model)
    assert not any(path.name.startswith(".") for path in folder.parent.iterdir())


def test_the_folder_needs_no_store(folder: Path, tmp_path: Path) -> None:
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert verify_folder(Path(moved)).problems == []


@pytest.mark.parametrize("name", ["weights.bin", "README.md", "lineage/lineage.html"])
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Any) -> None:
    damage(folder / name)
    assert places(folder) == {name}


@pytest.mark.parametrize("name", ["more.bin", "lineage/more.json", ".gitattributes"])
def test_a_further_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("more")
    assert places(folder) == {name}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_named(folder: Path, edit: str) -> None:
    edit_line(folder, 1, EDITS[edit])
    problems = verify_folder(folder).problems
    assert any(p.kind == "record-edited" and "line 2" in p.what for p in problems) or (
        {p.kind for p in problems} >= {"record-edited", "file-changed"}
    )


@pytest.mark.parametrize("line", [0, 1, 5])
def test_a_record_left_out_is_named(folder: Path, line: int) -> None:
    path = folder / MANIFESTS
    lines = path.read_text().splitlines()
    record = json.loads(lines.pop(line))["record"]
    path.write_text("\n".join(lines) + "\n")
    subjects = " ".join(problem.subject for problem in verify_folder(folder).problems)
    assert record["digest"][:12] in subjects


def test_whatever_agrees_with_itself_has_another_chain(small: SmallStore, folder: Path) -> None:
    """So an edit sealed anew shows against the store's chain, or by the signature."""
    edit_line(folder, 1, sealed(set_to("counts", "num_files", value=9)))
    records = [row["record"] for row in read_rows(folder)]

    def seal(kept: dict[str, Any]) -> None:
        from dataclasses import astuple

        from pipeline_data.artifact import hash_file

        kept["chain"]["records"] = [list(astuple(link)) for link in links_of(records)]
        kept["digest"] = fingerprint(kept["chain"])
        for file in kept["files"]:
            file["sha256"] = hash_file(folder / file["path"])
            file["bytes"] = (folder / file["path"]).stat().st_size

    edit_json(folder / CHAIN, seal)
    result = verify_folder(folder)
    assert result.problems == []
    assert result.chain != record_chain(small.open(), small.model)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"digest": 1, "chain": {}}', '{"record": []}',
     '{"digest": "", "chain": {"model": {}, "records": []}, "files": []}'],
)  # fmt: skip
@pytest.mark.parametrize("name", [CHAIN, MANIFESTS])
def test_a_torn_lineage_is_named(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert verify_folder(folder).problems


def test_a_signed_folder_holds_for_its_key_alone(small: SmallStore, tmp_path: Path) -> None:
    public = create_key(tmp_path / "own.pem")
    foreign = create_key(tmp_path / "foreign.pem")
    folder = tmp_path / "model"
    written = export_model(small.open(), small.model, folder, CARD, tmp_path / "own.pem")
    assert written.is_signed
    assert places(folder, public) == set()
    assert places(folder, foreign) == {SIGNATURE}
    edit_json(folder / CHAIN, lambda kept: kept.update(remark="all is well"))
    assert places(folder, public) == {SIGNATURE}
    assert b"PRIVATE" not in b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_an_unsigned_folder_does_not_do_where_a_key_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    assert places(folder, create_key(tmp_path / "own.pem")) == {SIGNATURE}


def test_nothing_is_written_over(small: SmallStore, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    export_model(small.open(), small.model, tmp_path / "model", {})
    with pytest.raises(ArtifactError, match="not empty"):
        export_model(small.open(), small.model, tmp_path / "model", {})


def test_what_is_no_model_or_not_sound_is_not_exported(tmp_path: Path) -> None:
    small = make_store(tmp_path)
    target = tmp_path / "model"
    with pytest.raises(ArtifactError, match="is no model"):
        export_model(small.open(), small.crawl, target, {})
    flip(small.model.directory / "model/weights.bin")
    with pytest.raises(ArtifactError, match=r"not exported: .*weights\.bin does not match"):
        export_model(small.open(), small.model, target, {})
    flip(small.model.directory / "model/weights.bin")
    small.store.erase(small.model, Tombstone("2026-03-03", "asked to", "owner"))
    erased = small.open().named(small.model.digest)
    with pytest.raises(ArtifactError, match="was erased"):
        export_model(small.open(), erased, target, {})
    assert {path.name for path in tmp_path.iterdir()} == {"store", "cache", "raw"}


def test_a_lineage_with_erased_parts_is_exported_with_their_records(tmp_path: Path) -> None:
    small = make_store(tmp_path)
    small.store.erase(small.crawl, Tombstone("2026-03-03", "asked to", "owner"))
    export_model(small.open(), small.model, tmp_path / "model", {})
    assert verify_folder(tmp_path / "model").problems == []
    (erased,) = [row for row in read_rows(tmp_path / "model") if row["erased"]]
    assert erased["record"]["digest"] == small.crawl.digest
    assert erased["erased"]["reason"] == "asked to"


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / MANIFESTS).read_text().splitlines()]


def edit_line(folder: Path, number: int, edit: Any) -> None:
    """Change one record of the folder."""
    rows = read_rows(folder)
    edit(rows[number]["record"])
    (folder / MANIFESTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
