"""One real Prefect server for the session; every test has a home of its own."""

import os
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

_SESSION = Path(tempfile.mkdtemp(prefix="headwater-tests-"))
FOR_TESTS = {"HEADWATER_FIELD_DATA", "HEADWATER_SCREENSHOTS"}
for name in list(os.environ):  # what a parent process, such as xdist's, has set for itself
    if name.startswith(("HEADWATER_", "PREFECT_", "MLFLOW_")) and name not in FOR_TESTS:
        del os.environ[name]
os.environ["HEADWATER_HOME"] = str(_SESSION / "home")

from flows.home import open_home  # noqa: E402

open_home()  # before anything imports prefect


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes never name a test: gzip puts the time into them, and workers must agree on names."""
    return argname if isinstance(val, bytes) else None


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
