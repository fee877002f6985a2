"""Prefect without a server of its own: what it remembers, and what is said when it cannot start."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows.orphans import SERVER
from flows.temporary_server import start_server
from pipeline_data.errors import HeadwaterError
from tests.conftest import free_port

NUM_TASKS = 200
MANY_TASKS = f"""
from flows.home import open_home
open_home()
from prefect import flow, task
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner
from flows.temporary_server import drain, start_server

@task
def small(number):
    if number == 3:
        raise ValueError(number)

@flow(task_runner=ThreadPoolTaskRunner(max_workers=16))
def many():
    futures = small.map(range({NUM_TASKS}))
    late = small.submit(futures[3])
    for future in [*futures, late]:
        future.wait()
    print(drain(FlowRunContext.get().flow_run.id, len(futures) + 1), flush=True)

start_server()
many()
"""


def run(code: str, home: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HEADWATER_HOME": str(home)} | settings,
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip


@pytest.mark.long
def test_every_task_is_in_the_database_after_the_process_has_ended(tmp_path: Path) -> None:
    done = run(MANY_TASKS, tmp_path / "home")
    assert done.stdout == "0\n", done.stderr
    with sqlite3.connect(tmp_path / "home" / "prefect" / "prefect.db") as database:
        rows = database.execute("SELECT state_name, COUNT(*) FROM task_run GROUP BY 1").fetchall()
        states = database.execute("SELECT state_name FROM flow_run").fetchall()
    database.close()
    assert dict(rows) == {"Completed": NUM_TASKS - 1, "Failed": 1, "NotReady": 1}
    assert states == [("Completed",)]


def test_one_line_says_that_the_temporary_server_did_not_start() -> None:
    impatient = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}
    with (
        temporary_settings(impatient, restore_defaults={PREFECT_API_URL}),
        pytest.raises(HeadwaterError) as raised,
    ):
        start_server()
    line = str(raised.value)
    assert line.startswith("Prefect's temporary server did not start within 1 s (Timed out")
    assert "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=600" in line
    assert "\n" not in line
    left = [child for child in psutil.Process().children() if SERVER in child.cmdline()]
    assert left == []  # it does not go on starting


def test_one_line_says_that_the_server_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(HeadwaterError) as raised,
    ):
        start_server()
    assert str(raised.value).startswith(f"the Prefect server at {url} does not answer (")
    assert "\n" not in str(raised.value)
