"""``headwater verify`` names what MLflow's record says otherwise than the store."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from flows.verify import add_verify
from tests.tasks.tracking.conftest import Mirrored

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture
def at_home(copy: Mirrored, monkeypatch: pytest.MonkeyPatch) -> Mirrored:
    monkeypatch.setenv("HEADWATER_HOME", str(copy.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy.uri)
    return copy


def verify(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_verify(parser.add_subparsers())
    options = parser.parse_args(["verify", *words, "--json"])
    capsys.readouterr()
    assert options.run_command(options) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_faithful_mirror_is_sound(at_home: Mirrored, capsys: Any) -> None:
    assert verify(capsys, 0)["problems"] == []


def test_a_dropped_run_and_an_edited_tag_are_named(at_home: Mirrored, capsys: Any) -> None:
    at_home.client.delete_run(at_home.logged.stages["sft"][1])
    pretrain = at_home.logged.stages["pretrain"][1]
    at_home.client.set_tag(pretrain, "digest", "0" * 64)
    found = verify(capsys, 1, "--all")
    assert len(found["problems"]) == len(set(found["problems"]))
    findings = found["findings"]
    assert {(finding["kind"], finding["place"]) for finding in findings} == {
        ("mlflow", at_home.uri)
    }
    named = " ".join(f"{finding['subject']}: {finding['what']}" for finding in findings)
    assert f"MLflow has no run of {at_home.catalogue.named('sft').label}" in named
    assert f"MLflow's run of pretrain ({pretrain}): tag digest is" in named
    assert all("headwater run" in finding["mend"] for finding in findings)


def test_a_broken_database_is_noted(
    at_home: Mirrored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "broken.db").write_text("not a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'broken.db'}")
    (note,) = [note for note in verify(capsys, 0)["notes"] if "MLflow" in note]
    assert note.startswith("MLflow cannot be asked (")
