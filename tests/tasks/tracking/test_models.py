"""Versions that others took the place of, and models whose files are erased."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_data.errors import HeadwaterError
from tasks.lineage.catalogue import Catalogue
from tasks.store import Store, Tombstone
from tasks.tracking.check import disagreements
from tasks.tracking.models import erase_model, supersede
from tests.tasks.tracking.conftest import Mirrored

PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "source",
}
"""Where MLflow's database names places of files."""
pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture
def own(mirrored: Mirrored, tmp_path: Path) -> Mirrored:
    """A store and an MLflow that may be changed, with all their files."""
    shutil.copytree(mirrored.home, tmp_path / "home", dirs_exist_ok=True)
    home = tmp_path / "home"
    store = Store(str(home / "store"), home / "cache")
    with sqlite3.connect(home / "mlflow.db") as database:
        for table, column in PATHS.items():
            statement = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(statement, (str(mirrored.home), str(home)))
    catalogue = Catalogue.open(store)
    return replace(mirrored, home=home, database=home / "mlflow.db", catalogue=catalogue)


def test_a_superseded_version_says_so_and_loses_its_aliases(own: Mirrored) -> None:
    store, client = own.catalogue.store, own.client
    old, new = own.catalogue.named("sft"), own.catalogue.named("base")  # any other model does
    client.set_registered_model_alias("sft", "live", "1")
    with pytest.raises(HeadwaterError, match=f"no version of sft with key {new.key[:12]}"):
        supersede(own.uri, "sft", old.key, new.key)
    store.point("sft", new)
    own.record(stages=())
    supersede(own.uri, "sft", old.key, new.key)
    first, second = (client.get_model_version("sft", number) for number in ("1", "2"))
    assert first.tags["superseded-by"] == "2"
    assert first.aliases == []
    assert sorted(second.aliases) == ["champion", "live"]
    assert second.tags["digest"] == new.digest


def test_what_the_store_has_superseded_is_marked_by_the_next_run(own: Mirrored) -> None:
    store = own.catalogue.store
    store.point("sft", own.catalogue.named("base"))
    own.record(stages=())
    store.registry.supersede("sft", 1, 2)
    (line,) = disagreements(own.catalogue, own.catalogue.named("sft@1"), own.uri)
    assert line.startswith("MLflow's sft version 1: it is not marked as superseded")
    own.record(stages=())
    assert own.client.get_model_version("sft", "1").tags["superseded-by"] == "2"


def test_an_erased_model_has_no_files_and_says_why(own: Mirrored) -> None:
    client, assistant, report = own.client, own.assistant, own.catalogue.named("corpus")
    models = own.home / "mlflow" / "models"
    num_kept = len(list(models.glob("*/artifacts/model.safetensors")))
    erase_model(own.uri, assistant.key, "asked for by its author")
    erase_model(own.uri, report.key, "asked for by its author")
    erase_model(own.uri, "0" * 64, "nothing has this key")
    assert len(list(models.glob("*/artifacts/model.safetensors"))) == num_kept - 1
    (run,) = client.search_runs(["1"], f"tags.key = '{report.key}'")
    assert not Path(run.info.artifact_uri.removeprefix("file://"), "report.html").exists()
    version = client.get_model_version("assistant", "1")
    assert version.tags["erased"].endswith(": asked for by its author")
    (model,) = client.search_logged_models(["1"], f"tags.key = '{assistant.key}'")
    assert model.tags["erased"] == version.tags["erased"]
    assert model.tags["digest"] == assistant.digest
    lines = disagreements(own.catalogue, assistant, own.uri)
    assert all("is missing" in line for line in lines)
    assert len(lines) == 5

    own.catalogue.store.erase(assistant, Tombstone("2026-01-01", "asked for", "somebody"))
    catalogue = Catalogue.open(own.catalogue.store)
    erased = catalogue.get("practice", assistant.key)
    assert erased
    assert disagreements(catalogue, erased, own.uri) == []
