"""One worker and one home for all tests that run deployments."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from tests.flows.deployed import ROOT, prefect, run_deployment


@pytest.fixture(scope="session")
def worker(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything deployed, and a worker that serves the pool; gives the home of its runs."""
    prefect("work-pool", "create", "headwater", "--type", "process")
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


@pytest.fixture(scope="session")
def first_run(worker: Path) -> FlowRun:
    """A run of the smoke recipe's corpus, after which all its results are in the store."""
    run = run_deployment("corpus/corpus", {"recipe": "smoke"})
    assert run.state_name == "Completed", run.state and run.state.message
    return run
