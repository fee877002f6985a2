"""Prefect without a server of its own: the temporary one is started in time and ended in time.

The temporary server ends with the process that started it, while events about tasks may still
wait in its queue: of 200 short tasks it had written 16.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS

from pipeline_data.errors import HeadwaterError

POLL_SECONDS = 0.25
STALL_SECONDS = 8.0


def start_server() -> None:
    """Start Prefect's temporary server, unless a real one is configured; once a process.

    Raises:
        HeadwaterError: it did not start, or the configured server does not answer.
    """
    url = PREFECT_API_URL.value()
    try:
        with _interrupt_blocked(), get_client(sync_client=True) as client:
            client.hello()
    except (httpx.HTTPError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].strip() or type(error).__name__
        if url:
            raise HeadwaterError(
                f"the Prefect server at {url} does not answer ({reason}): start it with "
                "'headwater up', or unset PREFECT_API_URL to run without one"
            ) from error
        from prefect.server.api.server import SubprocessASGIServer  # costs seconds and 300 MB

        SubprocessASGIServer().stop()  # or it would go on starting
        seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        raise HeadwaterError(
            f"Prefect's temporary server did not start within {seconds} s ({reason}): give it "
            "longer with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=600, or start a server "
            "that stays with 'headwater up'"
        ) from error


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; what is started here never hears of it.

    Else the server would end before the flow that the same Ctrl-C ends has told it so.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def drain(flow_run: UUID, num_task_runs: int, seconds: float = 60.0) -> int:
    """Wait until the temporary server has written the last state of every task run.

    A server that stays writes them by itself, so there is no wait for it. Never raises: history is
    no part of a run's result.

    Args:
        num_task_runs: how many the flow run submitted.
        seconds: the longest wait; it ends earlier when nothing is written any more.

    Returns:
        How many are missing.
    """
    if PREFECT_API_URL.value():
        return 0
    deadline = time.monotonic() + seconds
    APILogWorker.drain_all(timeout=seconds, at_exit=False)
    EventsWorker.drain_all(timeout=seconds, at_exit=False)
    num_written, changed = 0, time.monotonic()
    try:
        with get_client(sync_client=True) as client:
            while num_written < num_task_runs:
                now = time.monotonic()
                if now > deadline or now - changed > STALL_SECONDS:
                    break
                time.sleep(POLL_SECONDS)
                before, num_written = num_written, _count_settled(client, flow_run)
                if num_written != before:
                    changed = now
    except (httpx.HTTPError, RuntimeError):
        pass
    return num_task_runs - num_written


def _count_settled(client: SyncPrefectClient, flow_run: UUID) -> int:
    """Task runs in their last state, those included that never became ready."""
    last = {
        "operator": "or_",
        "type": {"any_": [state.value for state in TERMINAL_STATES]},
        "name": {"any_": ["NotReady"]},
    }
    chosen = {"flow_runs": {"id": {"any_": [str(flow_run)]}}, "task_runs": {"state": last}}
    return int(client.request("POST", "/task_runs/count", json=chosen).json())
