"""One real Prefect server for the session; every test has a home of its own."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

gc.disable()  # modules stay: to look through them as they are imported costs seconds

_SESSION = Path(tempfile.mkdtemp(prefix="headwater-tests-"))
FOR_TESTS = {"HEADWATER_FIELD_DATA", "HEADWATER_SCREENSHOTS"}
for name in list(os.environ):  # what a parent process, such as xdist's, has set for itself
    if name.startswith(("HEADWATER_", "PREFECT_", "MLFLOW_")) and name not in FOR_TESTS:
        del os.environ[name]
os.environ["HEADWATER_HOME"] = str(_SESSION / "home")

from flows.home import open_home  # noqa: E402

open_home()  # before anything imports prefect


def pytest_collection_finish() -> None:
    """Spare what is imported by now every later garbage collection as well."""
    gc.freeze()
    gc.enable()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes never name a test: gzip puts the time into them, and workers must agree on names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def finished_home() -> Path:
    """A home with a finished run of the smallest recipe; copy it before you change it.

    Tests that use it are in the group ``lineage``, so that it is made once.
    """
    from tests.finished_home import make_home

    path = _SESSION / "finished"
    make_home(path)
    return path


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The API URL of a Prefect server with a database of its own."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = (_SESSION / "prefect-server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
         "--port", str(port)],
        stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        env=os.environ | {
            "PREFECT_SERVER_UI_API_URL": url,  # or its pages ask port 4200
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        },
    )  # fmt: skip
    try:
        _wait_for(f"{url}/health", server)
        os.environ["PREFECT_API_URL"] = url
        with temporary_settings({PREFECT_API_URL: url}):
            yield url
    finally:
        _drain()
        os.environ.pop("PREFECT_API_URL", None)
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="session")
def worker(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything deployed, and a worker that serves the pool; gives the home of its runs.

    Tests that use it are in the group ``deployments``, so that there is one.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    from tests.flows.deployed import ROOT, prefect

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name="headwater", type="process", base_job_template=template)
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool)
    prefect("deploy", "--all")
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    home = tmp_path_factory.mktemp("worker") / "home"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {
        "HEADWATER_HOME": str(home),
        "PREFECT_HOME": str(home.parent / "prefect"),
        "PREFECT_API_URL": prefect_server,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "headwater"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        yield home
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:  # idle for minutes, it may not end by itself
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _drain() -> None:
    """Let Prefect's background threads send what they hold while there is a server to take it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended early"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(url)
