"""Real processes are killed anywhere; the next run goes on, and ends where a quiet one ends."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client

from flows.orphans import OWNER, SERVER, end_orphans
from tasks.claims import clear_claims

SEED = 4
NUM_KILLS = 28
SETTINGS = ("--set", "pretrain.steps=60")
Run = subprocess.Popen[str]


def start(home: Path, *options: str, output: int = subprocess.PIPE, api_url: str = "") -> Run:
    """``headwater run smoke`` with a server, or by itself."""
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    environment |= {"HEADWATER_HOME": str(home)} | ({"PREFECT_API_URL": api_url} if api_url else {})
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", "smoke", *SETTINGS, *options, "--json"],
        env=environment, stdout=output, stderr=output, text=True,
    )  # fmt: skip


def finish(process: Run) -> dict[str, Any]:
    """The record of a run that is to end well."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    record: dict[str, Any] = json.loads(out)
    return record


def processes_of(home: Path) -> Iterator[psutil.Process]:
    """Whatever was started for a home and is still up."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HEADWATER_HOME") == str(home):
                yield process


def servers_of(home: Path) -> list[psutil.Process]:
    """The temporary Prefect servers of a home that are still up."""
    return [process for process in processes_of(home) if SERVER in process.cmdline()]


def wait_until(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def logs_of(home: Path, stage: str) -> set[Path]:
    """The logs of all runs of a stage; a log is there once a worker has its job."""
    return {*home.glob(f"logs/*/{stage}.log"), *home.glob(f"logs/*/{stage}-*.log")}


def start_and_reach(home: Path, stage: str, *options: str, api_url: str = "") -> Run:
    """Start a run and wait until this stage has begun."""
    before = logs_of(home, stage)
    run = start(home, *options, output=subprocess.DEVNULL, api_url=api_url)

    def has_begun() -> bool:
        begun = bool(logs_of(home, stage) - before)
        assert begun or run.poll() is None, f"the run ended before {stage}"
        return begun

    wait_until(has_begun, f"{stage} begins")
    return run


def kill_run(run: Run) -> None:
    run.kill()


def terminate_run(run: Run) -> None:
    run.terminate()


def kill_worker(run: Run) -> None:
    """Kill the worker that has most to do; the run then ends by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(run.pid).children()
        workers = [child for child in children if "tasks.worker" in child.cmdline()]
        for worker in workers:
            worker.cpu_percent()
        time.sleep(0.05)
        if workers:
            max(workers, key=psutil.Process.cpu_percent).kill()


def kill_everything(run: Run) -> None:
    """Kill the run, its workers with all that they started, and its server, as a machine dies."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


KILLS = (kill_run, kill_worker, terminate_run, kill_everything)


def states(home: Path) -> dict[str, int]:
    """How many flow runs and task runs of a home's own database are in each state."""
    database = sqlite3.connect(home / "prefect" / "prefect.db")
    rows = [
        (f"{table} {state}", number)
        for table in ("flow_run", "task_run")
        for state, number in database.execute(
            f"SELECT state_type, COUNT(*) FROM {table} GROUP BY 1"
        )
    ]
    database.close()
    return dict(rows)


def assert_nothing_is_left(home: Path) -> None:
    assert list((home / "live").iterdir()) == []
    clear_claims(home / "store" / ".claims")
    assert list((home / "store" / ".claims").iterdir()) == []  # none is held
    wait_until(lambda: not list(processes_of(home)), "no process is left", 30)


@pytest.mark.long
def test_a_killed_run_leaves_no_server_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = start_and_reach(home, "curriculum")
    run.kill()
    run.wait()
    assert servers_of(home)
    assert end_orphans(str(home / "prefect")) == 1
    wait_until(lambda: not servers_of(home), "the server ends", 30)


def test_a_server_is_ended_whose_run_left_its_number_to_another_process(tmp_path: Path) -> None:
    code = [sys.executable, "-c", "import time; time.sleep(300)", SERVER]
    home = {"PREFECT_HOME": str(tmp_path)}
    ours, elder = (
        subprocess.Popen(code, env=os.environ | home | {OWNER: f"{os.getpid()} {created}"})
        for created in (psutil.Process().create_time(), 1.0)
    )
    try:
        wait_until(lambda: end_orphans(str(tmp_path)), "the orphan has its command line", 30)
        assert elder.wait(30) == -signal.SIGTERM
        assert end_orphans(str(tmp_path)) == 0
    finally:
        ours.kill()
        ours.wait()


@pytest.mark.long
@pytest.mark.xdist_group("prefect")
def test_two_runs_at_once_share_what_a_killed_one_left_to_do(
    tmp_path: Path, prefect_server: str
) -> None:
    home, until = tmp_path / "home", ("--until", "crawl")
    run = start_and_reach(home, "site", *until, api_url=prefect_server)
    run.kill()
    run.wait()
    lease = next((home / "live").iterdir())
    both = [start(home, *until, api_url=prefect_server) for _ in range(2)]
    for run in both:
        finish(run)
    records = [json.loads(path.read_text()) for path in home.glob("runs/*.json")]
    executed = [{s["name"]: s["executed"] for s in record["stages"]} for record in records]
    assert sorted(stages["crawl"] for stages in executed) == [0, 1]
    assert sum(stages["site"] for stages in executed) <= 1  # none if the kill came too late
    with get_client(sync_client=True) as client:
        killed = client.read_flow_run(UUID(lease.stem))
    assert killed.state_name == "Crashed"
    assert_nothing_is_left(home)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_runs_killed_at_any_moment_end_like_a_quiet_one(tmp_path: Path) -> None:
    quiet = finish(start(tmp_path / "quiet"))
    seconds = {stage["name"]: stage["seconds"] / stage["shards"] for stage in quiet["stages"]}
    longest = sorted(seconds, key=lambda stage: -seconds[stage])
    targets = [*seconds, *longest[: max(0, NUM_KILLS - len(seconds))]]
    chance = random.Random(SEED)
    home = tmp_path / "killed"
    for number, stage in enumerate(sorted(targets, key=list(seconds).index)):
        run = start_and_reach(home, stage, "--force", stage)
        time.sleep(chance.uniform(0, seconds[stage]))
        KILLS[number % len(KILLS)](run)
        run.wait(300)
    assert finish(start(home))["model_digest"] == quiet["model_digest"]
    assert_nothing_is_left(home)
    found = states(home)
    assert found["flow_run CRASHED"] >= NUM_KILLS // 2
    assert not {"flow_run PENDING", "flow_run RUNNING", "task_run RUNNING"} & set(found)
