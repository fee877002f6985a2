"""What takes long before lineage answers shows how far it is."""

import shutil
from pathlib import Path

import pytest

from flows import lineage
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.store import Store


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show = lineage.show_progress("records")
    for done in range(1, 6):
        show(done, 5)
    assert capsys.readouterr() == ("", "")


def test_what_lasts_is_counted_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "QUIET_SECONDS", 0.0)
    show = lineage.show_progress("records")
    for done in range(1, 5001):
        show(done, 5000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("reading 1 of 5,000 records\r")
    assert shown.err.endswith("reading 5,000 of 5,000 records\n")
    assert shown.err.count("reading") < 50


@pytest.mark.xdist_group("lineage")
def test_the_index_tells_how_much_of_it_is_read(finished_home: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_home / "store", tmp_path / "store")
    told: list[tuple[int, int]] = []
    catalogue = Catalogue.open(Store(str(tmp_path / "store"), tmp_path / "cache"))
    DocumentIndex.open(catalogue, lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (100, 100)
    told.clear()
    DocumentIndex.open(catalogue, lambda done, total: told.append((done, total)))
    assert told == []
