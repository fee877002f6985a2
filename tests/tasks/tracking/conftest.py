"""A finished run in MLflow, made once; tests change copies of its database."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.stages import STAGES
from tasks.store import Store
from tasks.tracking.client import open_client
from tasks.tracking.mirror import LoggedRun, Mirror

MODELS = ("base", "sft", "reward", "assistant")


@dataclass(frozen=True)
class Mirrored:
    """A store and the MLflow that mirrors it."""

    home: Path
    catalogue: Catalogue
    database: Path
    logged: LoggedRun

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def client(self) -> MlflowClient:
        return open_client(self.uri)

    @property
    def assistant(self) -> Artifact:
        return self.catalogue.named("assistant")

    @property
    def stages(self) -> dict[str, list[Artifact]]:
        """All artefacts of the store, as a run hands them over."""
        found = {stage: self.catalogue.of_stage(stage) for stage in STAGES}
        return {stage: artifacts for stage, artifacts in found.items() if artifacts}

    def record(self, name: str = "again", stages: Sequence[str] = tuple(STAGES)) -> LoggedRun:
        """Mirror it once more, or the names and these stages of it."""
        models = {model: self.catalogue.named(model) for model in MODELS}
        chosen = {stage: made for stage, made in self.stages.items() if stage in stages}
        mirror = Mirror(self.catalogue, self.uri, self.home / "mlflow")
        return mirror.record(name, {"run": name}, chosen, models)

    def copy(self, folder: Path) -> "Mirrored":
        """The same with a database of its own; files of models and runs are shared."""
        shutil.copy(self.database, folder / "mlflow.db")
        return replace(self, database=folder / "mlflow.db")


@pytest.fixture(scope="session")
def mirrored(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    """The finished run, in MLflow; not to be changed."""
    home = tmp_path_factory.mktemp("mirrored") / "home"
    shutil.copytree(finished_home, home)
    catalogue = Catalogue.open(Store(str(home / "store"), home / "cache"))
    empty = LoggedRun("", "", {})
    mirrored = Mirrored(home, catalogue, home / "mlflow.db", empty)
    return replace(mirrored, logged=mirrored.record("first"))


@pytest.fixture
def copy(mirrored: Mirrored, tmp_path: Path) -> Mirrored:
    """The finished run, in an MLflow that may be changed."""
    return mirrored.copy(tmp_path)
