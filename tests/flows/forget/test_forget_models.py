"""The command itself: models are retrained, gated, superseded and erased, in store and MLflow."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.forget.command import add_forget
from flows.forget.forgotten import read_forgotten
from flows.home import Home
from pipeline_data.artifact import hash_file
from pipeline_data.errors import HeadwaterError
from tasks.lineage.catalogue import Catalogue
from tests.byte_search import find_bytes
from tests.finished_home import CHANGES

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.long, pytest.mark.timeout(1200)]

PAGE = "http://people.example/northgate-choir-0.html"
SENTENCE = "There were 47 visitors at the last open day."
NAMES = ("base", "sft", "reward", "assistant")


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_forget(parser.add_subparsers())
    options = parser.parse_args(["forget", *arguments, "--json"])
    assert options.run_command(options) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def weights_below(folder: Path) -> set[str]:
    """The hashes of all models below a folder."""
    return {hash_file(path) for path in folder.rglob("*.safetensors")}


def test_a_page_is_forgotten_by_corpus_models_and_mlflow(
    prefect_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    home = Home(tmp_path / "home")
    monkeypatch.setenv("HEADWATER_HOME", str(home.path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    changes = [argument for change in CHANGES for argument in ("--set", change)]
    assert main(["run", "smoke", *changes, "--json"]) == 0
    capsys.readouterr()
    store = home.open_store()
    before = {name: store.registry.find(name) for name in NAMES}
    assert find_bytes(home.path / "store", SENTENCE)

    dry = run_command(capsys, PAGE, "--dry-run")
    assert sorted(dry["impact"]["names"]) == sorted(NAMES)
    (base,) = [m for m in dry["impact"]["models"] if m["in_use_as"] == ["base"]]
    assert base["orders"][0]["num_steps"] > 0

    # So small a reward model has no pairs to rank by chance, so a measure is gone.
    with pytest.raises(HeadwaterError, match=r"is not measured any more.*--accept-worse"):
        run_command(capsys, PAGE, "--yes", "--erase", "--reason", "asked by its author")
    assert {name: store.registry.find(name) for name in NAMES} == before
    assert find_bytes(home.path / "store", SENTENCE)
    assert [entry.erased for entry in read_forgotten(home.path)] == [None]

    done = run_command(capsys, PAGE, "--yes", "--erase", "--accept-worse")
    assert {(row["name"], row["version"], row["by"]) for row in done["superseded"]} == {
        (name, 1, 2) for name in NAMES
    }
    (left,) = done["left"]
    assert SENTENCE in Path(left["place"]).read_text()
    assert find_bytes(home.path, SENTENCE) == [Path(left["place"])]
    assert done["outcome_notes"] == []
    assert {row["stage"] for row in done["erased"]} >= {"extract", "tokenize", "pretrain", "sft"}
    catalogue = Catalogue.open(store)
    for name in NAMES:
        old, new = store.registry.versions(name)
        assert old.superseded_by == new.version
        erased = catalogue.get(old.stage, old.key)
        assert erased
        tombstone = catalogue.erasure(erased)
        assert tombstone
        assert tombstone.reason == "asked by its author"
        assert not erased.directory.exists()
        assert all(catalogue.erasure(a) is None for a in catalogue.ancestry(store.named(name)))
    client = MlflowClient(tracking_uri=home.tracking_uri)
    for name in NAMES:
        tags = client.get_model_version(name, "1").tags
        assert tags["superseded-by"] == "2"
        assert "asked by its author" in tags["erased"]
        assert str(client.get_registered_model(name).aliases["champion"]) == "2"
    weights = {place: weights_below(home.path / place) for place in ("store", "mlflow")}
    assert weights["mlflow"]
    assert weights["mlflow"] <= weights["store"]
    assert main(["verify", "assistant"]) == 0
