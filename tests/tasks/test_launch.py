"""Worker processes for real: what ends them, what they leave, what people are told."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline_data.artifact import Counts
from pipeline_data.errors import StageError, TransientError
from pipeline_data.stage_run import silent
from tasks.launch import Job, Workers
from tasks.limits import StageLimits
from tests.tasks.toy_stages import NumberConfig

SECONDS = 120.0


@pytest.fixture
def workers() -> Iterator[Workers]:
    opened = Workers(2)
    yield opened
    opened.close()


def toy(home: Path, function: str, value: int = 1, **changes: object) -> Job:
    """A job with a toy stage that says in ``home/pids`` who is at work."""
    out = home / f"out-{time.monotonic_ns()}"
    out.mkdir()
    job = Job(
        stage=function,
        function=f"tests.tasks.toy_stages:{function}",
        config=NumberConfig(value=value, calls=str(home)),
        inputs={},
        out=out,
        log=home / "logs" / f"{function}.log",
        threads=1,
        checkpoints=home / "checkpoints",
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def run(workers: Workers, job: Job) -> Counts:
    return workers.run(job, lambda: None, silent)[0]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids_in(home: Path) -> list[int]:
    """The processes of a stage that has begun."""
    wait_for(lambda: (home / "pids").exists() and (home / "pids").read_text())
    return [int(pid) for pid in (home / "pids").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_gone(pids: list[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ESTALE])
def test_a_fault_of_the_machine_is_told_as_one(
    workers: Workers, tmp_path: Path, number: int
) -> None:
    job = toy(tmp_path, "fault", number)
    config = NumberConfig(value=number, calls=str(tmp_path), fail=1)
    with pytest.raises(TransientError, match=f"of {job.out}"):
        run(workers, replace(job, config=config))
    assert "Traceback" in job.log.read_text()
    assert run(workers, replace(job, config=config)) == {}


def test_a_full_disk_that_holds_the_log_as_well(workers: Workers, tmp_path: Path) -> None:
    job = toy(tmp_path, "overflow", log=Path("/dev/full"))
    with pytest.raises(TransientError, match="is full"):
        run(workers, job)
    assert run(workers, toy(tmp_path, "fault", errno.EIO)) == {}  # the same worker goes on


def test_memory_over_the_limit_ends_the_stage_and_all_it_started(
    workers: Workers, tmp_path: Path
) -> None:
    job = toy(tmp_path, "hoard", 400, limits=StageLimits(memory_mb=300))
    with pytest.raises(StageError) as caught:
        run(workers, job)
    line = str(caught.value)
    assert "MB of memory in use, 300 allowed" in line
    assert "raise compute.limits.hoard in the recipe; it left no checkpoint" in line
    wait_for(lambda: is_gone(pids_in(tmp_path)))


def test_time_over_the_limit_keeps_the_checkpoint(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "rest").touch()
    job = toy(tmp_path, "trudge", 3, limits=StageLimits(minutes=0.05))
    with pytest.raises(StageError, match=r"0.05 minutes were not enough") as caught:
        run(workers, job)
    assert "its checkpoint is kept for the next run" in str(caught.value)
    (tmp_path / "rest").unlink()
    assert run(workers, replace(job, limits=StageLimits())) == {"steps_now": 3}


def test_a_worker_that_the_system_killed_points_at_memory(workers: Workers, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(run, workers, toy(tmp_path, "hoard", 2))
        worker, child = pids_in(tmp_path)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(StageError, match=r"killed by signal 9, most likely.*memory ran out"):
            ended.result(SECONDS)
    wait_for(lambda: is_gone([worker, child]))


def test_closing_ends_whoever_works_or_waits(workers: Workers, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        busy = pool.submit(run, workers, toy(tmp_path, "hoard", 2))
        pids = pids_in(tmp_path)
        waiting = pool.submit(run, workers, toy(tmp_path, "trudge", 1, threads=2))
        workers.close()
        begin = time.monotonic()
        for future in (busy, waiting):
            with pytest.raises(StageError, match="ended together with its run"):
                future.result(SECONDS)
        wait_for(lambda: is_gone(pids))
        assert time.monotonic() - begin < 5
    assert workers.closed
    with pytest.raises(StageError, match="ended together"):
        run(workers, toy(tmp_path, "trudge", 1))


ORPHANS = """
import sys
from pathlib import Path
from tests.tasks.test_launch import run, toy
from tasks.launch import Workers
run(Workers(1), toy(Path(sys.argv[1]), "hoard", 2))
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)], env=dict(os.environ))
    pids = pids_in(tmp_path)
    parent.kill()
    parent.wait()
    wait_for(lambda: is_gone(pids))


def test_there_are_never_more_workers_than_cores_and_idle_ones_end(tmp_path: Path) -> None:
    workers = Workers(2, idle_seconds=1.0)
    me = psutil.Process()
    most = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal most
        while not stop.wait(0.02):
            most = max(most, len(worker_pids(me)))

    counter = threading.Thread(target=count)
    counter.start()
    try:
        with ThreadPoolExecutor() as pool:
            done: list[Future[Counts]] = [
                pool.submit(run, workers, toy(tmp_path, "fault", value=1)) for _ in range(8)
            ]
            assert [future.result(SECONDS) for future in done] == [{}] * 8
        wait_for(lambda: not worker_pids(me))
        assert run(workers, toy(tmp_path, "fault", 1)) == {}
    finally:
        stop.set()
        counter.join()
        workers.close()
    assert 1 <= most <= 2
    assert not worker_pids(me)


def worker_pids(parent: psutil.Process) -> set[int]:
    """The worker processes that this process has started."""
    found = set()
    for child in parent.children():
        try:
            if "tasks.worker" in child.cmdline():
                found.add(child.pid)
        except psutil.Error:  # ended meanwhile
            continue
    return found
