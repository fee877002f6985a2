"""kill -9 in the middle of every stage; the next run must end with the digests of a quiet one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.orphans import SERVER, end_orphans
from tasks.stages import STAGES

SETTINGS = ("--set", "pretrain.steps=60")
NOT_IN_SMOKE = {"download", "fetch", "ingest"}


def start(home: Path, output: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"HEADWATER_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", "smoke", *SETTINGS, "--json"],
        env=environment, stdout=output, stderr=output, text=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return str(json.loads(out)["model_digest"])


def servers_of(home: Path) -> list[psutil.Process]:
    """The temporary Prefect servers of a home that are still up."""
    found = []
    for process in psutil.process_iter():
        try:
            if SERVER in process.cmdline() and str(home) in process.environ()["PREFECT_HOME"]:
                found.append(process)
        except (psutil.Error, KeyError):
            continue
    return found


def kill_during(home: Path, stage: str) -> None:
    """Start a run that has this stage to do and kill it as soon as it has begun."""
    shutil.rmtree(home / "store" / stage, ignore_errors=True)
    before = set(home.glob(f"logs/*/{stage}*.log"))
    process = start(home, output=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not set(home.glob(f"logs/*/{stage}*.log")) - before:
        assert process.poll() is None, f"the run ended before {stage}"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_leaves_no_server_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kill_during(home, "curriculum")
    assert servers_of(home)
    assert end_orphans(str(home / "prefect")) == 1
    deadline = time.monotonic() + 30
    while servers_of(home):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_stage_survives_a_kill(tmp_path: Path) -> None:
    undisturbed = finish(start(tmp_path / "quiet"))
    home = tmp_path / "killed"
    for stage in STAGES:
        if stage not in NOT_IN_SMOKE:
            kill_during(home, stage)
    assert finish(start(home)) == undisturbed
