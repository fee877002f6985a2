"""Leases against a real Prefect server, with a real process that is killed."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Crashed, Running, Scheduled

from flows import leases
from flows.leases import Lease, hold, run_flow, sweep, task_runs
from pipeline_data.errors import HeadwaterError
from tests.conftest import free_port

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.xdist_group("prefect")]

VICTIM = """
import subprocess, sys, time
from flows.home import open_home
home = open_home()
from prefect import flow, task
from flows.leases import run_flow

@task
def wait():
    code = [sys.executable, "-c", "import time; time.sleep(300)"]
    child = subprocess.Popen(code, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(300)

@flow
def victim():
    wait()

run_flow(home.path, victim, {})
"""


@flow
def empty() -> None:
    """Does nothing."""


def start_run(*states: "State[None]") -> FlowRun:
    """A flow run that has been through these states."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(empty)
        for state in states:
            client.set_flow_run_state(run.id, state, force=True)
        return client.read_flow_run(run.id)


def state_of(run: FlowRun) -> "State[None]":
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
        assert state
        return state


def leave_lease(home: Path, run: FlowRun, api_url: str | None = None) -> Path:
    """What a killed process leaves: the file, and no lock on it."""
    path = home / "live" / f"{run.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    lease = Lease(str(run.id), run.name, 1, now, api_url or PREFECT_API_URL.value())
    path.write_text(json.dumps(asdict(lease)))
    return path


def test_a_killed_run_and_its_task_are_marked_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        env=os.environ | {"HEADWATER_HOME": str(home), "PREFECT_HOME": str(home / "prefect")},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    child = psutil.Process(int(process.stdout.readline()))
    try:
        lease = Lease(**json.loads(next((home / "live").iterdir()).read_text()))
        assert lease.pid == process.pid
        assert sweep(home) == []
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(lease.flow_run))
            deadline = time.monotonic() + 60
            while [task.state_name for task in task_runs(client, run.id)] != ["Running"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert state_of(run).is_running()

        process.kill()
        process.communicate(timeout=30)
        assert child.is_running()  # it has inherited no lock
        with ThreadPoolExecutor() as pool:
            sweeps = [pool.submit(copy_context().run, sweep, home) for _ in range(2)]
        assert sorted(done.result() for done in sweeps) == [[], [run.name]]
    finally:
        child.kill()
    assert state_of(run).is_crashed()
    assert state_of(run).message == leases.MESSAGE
    with get_client(sync_client=True) as client:
        states = [task.state_name for task in task_runs(client, run.id)]
    assert states == ["Crashed"]
    assert sweep(home) == []
    assert list((home / "live").iterdir()) == []


def test_a_run_that_was_being_cancelled_is_cancelled(tmp_path: Path) -> None:
    run = start_run(Running(), Cancelling())
    leave_lease(tmp_path, run)
    assert sweep(tmp_path) == [run.name]
    assert state_of(run).is_cancelled()


def test_what_was_marked_or_started_again_meanwhile_stays(tmp_path: Path) -> None:
    crashed = start_run(Running(), Crashed(message="the worker said so"))
    completed = start_run(Running(), Completed())
    scheduled = start_run(Running())
    again = start_run(Running())
    for run in (crashed, completed, scheduled, again):
        leave_lease(tmp_path, run)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(scheduled.id, Scheduled(), force=True)
        client.set_flow_run_state(again.id, Crashed(), force=True)
        client.set_flow_run_state(again.id, Running(), force=True)
    assert len(sweep(tmp_path)) == 4
    assert state_of(crashed).message == "the worker said so"
    assert state_of(completed).is_completed()
    assert state_of(scheduled).is_scheduled()
    assert state_of(again).is_running()
    assert list((tmp_path / "live").iterdir()) == []


def test_a_lease_waits_for_its_server(tmp_path: Path) -> None:
    run = start_run(Running())
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    path = leave_lease(tmp_path, run)
    with temporary_settings({PREFECT_API_URL: nowhere}):
        assert sweep(tmp_path) == []
    assert path.exists()
    assert sweep(tmp_path) == [run.name]
    assert state_of(run).is_crashed()


def test_the_server_at_hand_is_asked_before_that_of_the_lease(tmp_path: Path) -> None:
    """A home's own server knows the runs that the temporary one had."""
    known = start_run(Running())
    unknown = start_run(Running()).model_copy(update={"id": UUID(int=1)})
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    leave_lease(tmp_path, known, nowhere)
    left = leave_lease(tmp_path, unknown, nowhere)
    assert sweep(tmp_path) == [known.name]
    assert state_of(known).is_crashed()
    assert list((tmp_path / "live").iterdir()) == [left]
    leave_lease(tmp_path, unknown)
    assert sweep(tmp_path) == [unknown.name]  # nobody knows it: there is nothing to mark
    assert not left.exists()


def test_a_lease_that_was_never_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "torn.json").write_text("")
    assert sweep(tmp_path) == []
    assert list((tmp_path / "live").iterdir()) == []


def test_a_lease_is_held_until_the_last_state_is_set(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(when: str, run_id: object) -> None:
        held = (tmp_path / "live" / f"{run_id}.json").exists()
        seen.append(f"{when} {held} {sweep(tmp_path)}")

    @flow(on_completion=[lambda _, run, state: look("after", run.id)])
    def observed(number: int) -> int:
        context = FlowRunContext.get()
        assert context and context.flow_run
        with hold(tmp_path, context.flow_run):
            look("within", context.flow_run.id)
        return number + 1

    assert run_flow(tmp_path, observed, {"number": 1}) == 2
    assert seen == ["within True []", "after True []"]
    assert list((tmp_path / "live").iterdir()) == []


def test_two_processes_cannot_hold_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start_run(Running())
    code = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(300)"
    )
    path = tmp_path / "live" / f"{run.id}.json"
    path.parent.mkdir()
    other = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    try:
        assert other.stdout
        other.stdout.readline()
        monkeypatch.setattr(leases, "WAIT_SECONDS", 0.1)
        with pytest.raises(HeadwaterError, match="already running in another process"):
            hold(tmp_path, run).__enter__()
    finally:
        other.kill()
        other.communicate()
    with hold(tmp_path, run):
        assert path.exists()
