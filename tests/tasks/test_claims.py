"""Claims on artefacts, between threads and between real processes that are killed."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline_data.errors import StageError
from tasks.claims import claim, clear_claims

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from tasks.claims import claim
with claim(Path(sys.argv[1]), "key"):
    code = [sys.executable, "-c", "import time; time.sleep(300)"]
    child = subprocess.Popen(code, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(300)
"""
COUNTER = """
import sys
from pathlib import Path
from tasks.claims import claim
folder, counter = Path(sys.argv[1]), Path(sys.argv[2])
for turn in range(150):
    with claim(folder, f"key{turn % 2}"):
        number = counter.with_name(f"{counter.name}{turn % 2}")
        number.write_text(str(int(number.read_text() or 0) + 1))
"""


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command: Sequence[str] = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_threads_take_turns_and_other_keys_do_not_wait(tmp_path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with claim(tmp_path, "key"):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with claim(tmp_path, "key"):
            done = pool.submit(second)
            assert waiting.wait(30)
            with claim(tmp_path, "other"):
                time.sleep(0.5)
                order.append("first")
        done.result(30)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_processes_take_turns_while_lock_files_come_and_go(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    counters = [tmp_path / f"counter{number}" for number in range(2)]
    for counter in counters:
        counter.touch()
    processes = [start(COUNTER, folder, tmp_path / "counter") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [counter.read_text() for counter in counters] == ["225", "225"]
    assert list(folder.iterdir()) == []


def test_a_killed_process_gives_its_claim_back_though_its_child_lives(tmp_path: Path) -> None:
    holder = start(HOLDER, tmp_path)
    assert holder.stdout
    child = psutil.Process(int(holder.stdout.readline()))
    try:
        impatient = iter([False, True])
        with pytest.raises(StageError), claim(tmp_path, "key", lambda: next(impatient)):
            pytest.fail("two have the claim")
        holder.kill()
        holder.communicate()
        begin = time.monotonic()
        with claim(tmp_path, "key", lambda: time.monotonic() > begin + 30):
            assert child.is_running()
    finally:
        child.kill()


def test_what_killed_processes_left_is_cleared_and_what_is_held_stays(tmp_path: Path) -> None:
    (tmp_path / "left.lock").touch()
    with claim(tmp_path, "held"):
        clear_claims(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["held.lock"]
    clear_claims(tmp_path / "nowhere")


def test_a_wait_can_be_abandoned(tmp_path: Path) -> None:
    closing = threading.Event()

    def wait() -> None:
        with claim(tmp_path, "key", closing.is_set):
            pytest.fail("two have the claim")

    with ThreadPoolExecutor() as pool, claim(tmp_path, "key"):
        waiter = pool.submit(wait)
        time.sleep(0.3)
        assert waiter.running()
        closing.set()
        with pytest.raises(StageError, match="stopped while another run"):
            waiter.result(30)


def test_a_thread_is_told_that_it_would_wait_for_itself(tmp_path: Path) -> None:
    with (
        claim(tmp_path, "key"),
        pytest.raises(RuntimeError, match="Deadlock"),
        claim(tmp_path, "key"),
    ):
        pytest.fail("one claim within the other")
    with claim(tmp_path, "key"):
        pass


def test_a_claim_costs_little(tmp_path: Path) -> None:
    def cost() -> float:
        begin = time.process_time()
        for number in range(100):
            with claim(tmp_path, f"key{number}"):
                pass
        return (time.process_time() - begin) / 100

    assert min(cost() for _ in range(5)) < 0.001
