"""Tells flow runs that live from those whose process is gone, and marks the latter.

    <home>/live/<flow run>.json    locked by the process that runs it, as long as it does

The operating system frees the lock when the process dies, by whatever signal; so a lease that can
be locked belongs to a run that is dead, however its number may have been given to another process.
Prefect's heartbeats cannot tell that: a server that was away for some minutes, or a laptop that
slept, looks to them like a dead run.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from filelock import FileLock, Timeout
from prefect import Flow, flow_engine
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed

from pipeline_data.errors import HeadwaterError

MESSAGE = "The process of this run is gone; the next run goes on from what is in the store."
WAIT_SECONDS = 60.0
"""How long a run waits for its own lease, which a sweep may have for a moment."""
OTHER_SERVER_SECONDS = 5.0
_PAGE = 200
Result = TypeVar("Result")
_held: set[Path] = set()


@dataclass(frozen=True)
class Lease:
    """What a lease says of the run whose process holds it."""

    flow_run: str
    name: str
    pid: int
    created: str
    api_url: str | None
    """Of the Prefect server; none stands for the temporary one of this home."""


@contextmanager
def hold(home: Path, flow_run: FlowRun) -> Iterator[None]:
    """Show that a flow run lives in this process; within itself it does nothing more.

    Raises:
        HeadwaterError: another living process holds the same flow run.
    """
    path = home / "live" / f"{flow_run.id}.json"
    if path in _held:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise HeadwaterError(
            f"flow run {flow_run.name} is already running in another process of {home}: "
            "wait for its end, or start another run"
        ) from None
    lease = Lease(
        flow_run=str(flow_run.id),
        name=flow_run.name,
        pid=os.getpid(),
        created=datetime.now(UTC).isoformat(),
        api_url=PREFECT_API_URL.value(),
    )
    path.write_text(json.dumps(asdict(lease)), encoding="utf-8")
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)
        lock.release()


def run_flow(home: Path, flow: Flow[..., Result], parameters: Mapping[str, Any]) -> Result:
    """Call a flow with its lease held from before it starts until after its last state is set.

    Raises:
        HeadwaterError: as :func:`hold`, and whatever the flow raises.
    """
    values = dict(parameters)
    with get_client(sync_client=True) as client:
        created = client.create_flow_run(flow, parameters=flow.serialize_parameters(values))
    with hold(home, created):
        return cast(Result, flow_engine.run_flow(flow, created, values))


def sweep(home: Path) -> list[str]:
    """Mark the runs of this home whose process is gone as crashed; returns their names.

    Runs that were being cancelled become cancelled, and those which have been marked or started
    again meanwhile stay as they are. A lease whose Prefect server cannot be reached stays for the
    next sweep. Without a dead lease no server is asked, or started.
    """
    swept = []
    for path in sorted((home / "live").glob("*.json")):
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue  # it lives, or another sweep is at it
        try:
            lease = _read(path)
            if lease is None:
                path.unlink()
            elif _settle(lease):
                swept.append(lease.name)
                path.unlink()
        finally:
            lock.release()
    return swept


def task_runs(client: SyncPrefectClient, flow_run: UUID) -> list[TaskRun]:
    """All task runs of a flow run that Prefect knows."""
    runs: list[TaskRun] = []
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    while True:
        page = client.read_task_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(runs))
        runs += page
        if len(page) < _PAGE:
            return runs


def is_settled(run: TaskRun) -> bool:
    """Whether a task run's state is its last: final, or never ready as what it needs failed."""
    return run.state is not None and (run.state.is_final() or run.state.name == "NotReady")


def _read(path: Path) -> Lease | None:
    """The lease; none where its holder ended, or died before it was written."""
    try:
        return Lease(**json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return None


def _settle(lease: Lease) -> bool:
    """Mark the run of a dead lease; false when its server could not be asked."""
    here = PREFECT_API_URL.value()
    try:
        with get_client(sync_client=True) as client:
            if _mark(client, lease) or lease.api_url == here:
                return True
        if lease.api_url is None:  # of the temporary server, whose database is not this server's
            return False
        patience = {"timeout": OTHER_SERVER_SECONDS}
        with (
            temporary_settings({PREFECT_API_URL: lease.api_url}),
            get_client(patience, sync_client=True) as client,
        ):
            _mark(client, lease)
    except (httpx.HTTPError, RuntimeError):  # the latter from a temporary server
        return False
    return True


def _mark(client: SyncPrefectClient, lease: Lease) -> bool:
    """Mark a run and its tasks as ended; false when this server does not know it."""
    try:
        run = client.read_flow_run(UUID(lease.flow_run))
    except ObjectNotFound:
        return False
    state = run.state
    if state is None or state.is_completed():
        return True
    if state.name == "Suspended" or state.type == StateType.SCHEDULED:
        return True  # it waits for a process, which will be another one
    if not state.is_final():
        since = datetime.fromisoformat(lease.created)
        if any(s.is_final() and s.timestamp > since for s in client.read_flow_run_states(run.id)):
            return True  # somebody ended it and another process runs it again
        client.set_flow_run_state(run.id, _end_of(state), force=True)
    for task in task_runs(client, run.id):
        if not is_settled(task):
            client.set_task_run_state(task.id, _end_of(state), force=True)
    return True


def _end_of(state: State) -> State:
    cancelled = state.is_cancelling() or state.is_cancelled()
    return Cancelled(message=MESSAGE) if cancelled else Crashed(message=MESSAGE)
