"""Where this installation keeps its things: everything below one folder.

HEADWATER_HOME   (.headwater)        store, logs, records of runs, Prefect's and MLflow's state
HEADWATER_STORE  (<home>/store)      folder or fsspec URL of the artefacts
HEADWATER_DOWNLOADS (<home>/downloads)  pinned downloads, shared between stores
"""

import os
from dataclasses import dataclass
from pathlib import Path

from flows.servers import running
from pipeline_data.errors import HeadwaterError
from tasks.store import Store

MARKER = "HEADWATER"


@dataclass(frozen=True)
class Home:
    """The folder of one installation."""

    path: Path

    @property
    def runs(self) -> Path:
        """Records of pipeline runs, one JSON file each."""
        return self.path / "runs"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return os.environ["MLFLOW_TRACKING_URI"]

    @property
    def mlflow_url(self) -> str | None:
        """Where MLflow's pages are served, if they are."""
        servers = running(self)
        if servers:
            return servers.mlflow_url
        return self.tracking_uri if self.tracking_uri.startswith("http") else None

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow keeps files when it runs without a server."""
        return self.path / "mlflow"

    def open_store(self) -> Store:
        """The artefact store."""
        url = os.environ.get("HEADWATER_STORE", str(self.path / "store"))
        return Store(url, self.path / "cache")


def open_home() -> Home:
    """The installation that the environment names, with Prefect and MLflow pointed into it.

    Must be called before prefect or mlflow is imported; what the user has set stays.

    Raises:
        HeadwaterError: the folder holds other things.
    """
    path = Path(os.environ.get("HEADWATER_HOME", ".headwater")).resolve()
    _claim(path)
    for name, value in {
        "HEADWATER_HOME": str(path),
        "HEADWATER_DOWNLOADS": str(path / "downloads"),
        "PREFECT_HOME": str(path / "prefect"),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(path / "prefect" / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        # One transaction a row would make the server the slowest part of a run of small tasks.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "20",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "MLFLOW_TRACKING_URI": f"sqlite:///{path / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "DO_NOT_TRACK": "1",
    }.items():
        os.environ.setdefault(name, value)
    home = Home(path)
    servers = running(home)
    if servers:
        os.environ.setdefault("PREFECT_API_URL", servers.prefect_api_url)
    return home


def _claim(path: Path) -> None:
    """Make the folder ours, so that cleaning up can never delete another's."""
    marker = path / MARKER
    if marker.is_file():
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise HeadwaterError(
            f"HEADWATER_HOME={path} is not empty and no home of headwater: name another folder"
        )
    path.mkdir(parents=True, exist_ok=True)
    marker.write_text("This folder belongs to headwater; 'headwater clean' deletes it.\n")
