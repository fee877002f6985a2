"""Asked to end, a run ends its workers within seconds; the next one goes on from the checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelling

from tests.tasks.test_launch import is_gone, pids_in
from tests.tasks.toy_flow import trudge

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.xdist_group("deployments")]


def start(home: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a module in a session of its own, with the test's server and a home of its own."""
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {
        "HEADWATER_HOME": str(home / "home"),
        "PREFECT_API_URL": os.environ["PREFECT_API_URL"],
    }
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], env=environment, cwd=ROOT, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def deployment(worker: Path) -> UUID:
    """The toy flow, deployed to the pool that the worker serves."""
    entrypoint = "tests/tasks/toy_flow.py:trudge"
    flow = cast(Flow[..., int], trudge.from_source(source=str(ROOT), entrypoint=entrypoint))
    return cast(UUID, flow.deploy("cancelled", work_pool_name="headwater", ignore_warnings=True))


def wait_for_end(run_id: UUID) -> FlowRun:
    deadline = time.monotonic() + 40
    with get_client(sync_client=True) as client:
        while True:
            run = client.read_flow_run(run_id)
            if run.state and run.state.is_final():
                return run
            assert time.monotonic() < deadline, run.state
            time.sleep(0.2)


def task_states(run_id: UUID) -> list[str | None]:
    """How the tasks of a flow run ended."""
    deadline = time.monotonic() + 20
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        while True:
            states = [task.state for task in client.read_task_runs(flow_run_filter=only)]
            if states and all(state and state.is_final() for state in states):
                return [state.name for state in states if state]
            assert time.monotonic() < deadline, states
            time.sleep(0.2)


def assert_ended_in_time(home: Path, pids: list[int], deadline: float) -> None:
    """Nobody works any more, nothing is half written, and the next run goes on half-way."""
    while not is_gone(pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while list(home.rglob("half.txt")):  # taken away as soon as the worker is gone
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (home / "rest").unlink()
    assert trudge(str(home)) == 3


def test_a_run_cancelled_in_the_ui_ends_its_worker_and_is_resumed(
    deployment: UUID, tmp_path: Path
) -> None:
    (tmp_path / "rest").touch()
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment, parameters={"home": str(tmp_path)})
        pids = pids_in(tmp_path)
        client.set_flow_run_state(run.id, Cancelling())
    assert_ended_in_time(tmp_path, pids, time.monotonic() + 10)
    assert wait_for_end(run.id).state_name == "Cancelled"
    assert task_states(run.id) == ["Cancelled"]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_ends_the_run_and_its_workers(tmp_path: Path, number: int) -> None:
    (tmp_path / "rest").touch()
    process = start(tmp_path, "tests.tasks.toy_flow", str(tmp_path))
    pids = pids_in(tmp_path)
    run_id = running_flow_run()
    os.killpg(process.pid, number)  # as a terminal does
    assert_ended_in_time(tmp_path, pids, time.monotonic() + 10)
    assert process.wait(60) != 0
    assert wait_for_end(run_id).state_name == "Crashed"
    assert task_states(run_id) == ["Cancelled"]


def running_flow_run() -> UUID:
    toys = FlowFilter(name=FlowFilterName(any_=["toy-trudge"]))
    running = FlowRunFilterStateType(any_=[StateType.RUNNING])
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(
            flow_filter=toys,
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=running)),
            sort=FlowRunSort.START_TIME_DESC,
        )
    return run.id
