"""A worker process as the run that started it sees it: given jobs, watched, ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact, to_record
from pipeline_data.errors import StageError
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Progress
from tasks.limits import NO_LIMITS, StageLimits, find_excess

RoleArtifacts = Mapping[str, Artifact | Sequence[Artifact]]


@dataclass(frozen=True)
class Job:
    """One stage function to run, with everything it needs.

    Attributes:
        stage: the stage's name, for messages.
        checkpoints: folder that outlives a killed attempt at the same result, if there is one.
        limits: what ends the job when it uses more.
    """

    stage: str
    function: str
    config: Settings
    inputs: RoleArtifacts
    out: Path
    log: Path
    threads: int
    checkpoints: Path | None = None
    limits: StageLimits = NO_LIMITS


class WorkerProcess:
    """A process that runs one job after another, in a process group with all that it starts."""

    def __init__(self, num_cores: int) -> None:
        self.idle_since = time.monotonic()
        self._job: Job | None = None
        self._job_since = 0.0
        self._why_ended: str | None = None
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **worker_environment(num_cores)},
            process_group=0,  # Ctrl-C is for the run to answer; and children end with the worker
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can take a job."""
        return self._why_ended is None and self._process.poll() is None

    def run(self, job: Job, threads: int, progress: Progress) -> Mapping[str, Any]:
        """Run a job; returns the worker's answer. Afterwards, unless alive, it is to be reaped.

        Raises:
            StageError: the process ended before it answered.
        """
        assert self._process.stdin and self._process.stdout
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._job, self._job_since = job, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # told below, with the exit status
            self._process.stdin.write(json.dumps(_message(job, threads)) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # killed as it wrote
            answer: dict[str, Any] = json.loads(line)
            if "done" not in answer:
                with self._lock:
                    self._job, self.idle_since = None, time.monotonic()
                return answer
            progress(answer["done"], answer["total"], answer["unit"], answer["metrics"])
        status = self._process.wait()
        raise StageError(f"{self._why_ended or _explain_status(job, status)} (log: {job.log})")

    def check(self) -> None:
        """End the process when its job uses more than it may, or when it left children behind."""
        with self._lock:
            job = self._job
            if job is None:
                return
            if self._process.poll() is not None:  # children may hold its end of the pipe open
                self._kill(None)
                return
            seconds = time.monotonic() - self._job_since
            excess = find_excess(job.limits, self._process.pid, seconds)
            if excess:
                self._kill(_explain_limit(job, excess))

    def end(self, why: str) -> None:
        """Kill the process and what it started; ``why`` is what its job ends with."""
        with self._lock:
            self._kill(why)

    def reap(self) -> None:
        """Wait for the end of the process; for the thread that used it last."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):  # a job that it never took
                pipe.close()

    def _kill(self, why: str | None) -> None:
        self._why_ended = self._why_ended or why
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS: a zombie
            os.killpg(self._process.pid, signal.SIGKILL)


def _message(job: Job, threads: int) -> dict[str, Any]:
    config_class = type(job.config)
    return {
        "function": job.function,
        "config_class": f"{config_class.__module__}:{config_class.__qualname__}",
        "config": job.config.model_dump_json(),
        "inputs": {role: _record(value) for role, value in job.inputs.items()},
        "out": str(job.out),
        "log": str(job.log),
        "threads": threads,
        "checkpoints": str(job.checkpoints) if job.checkpoints else None,
    }


def _record(value: Artifact | Sequence[Artifact]) -> Any:
    if isinstance(value, Artifact):
        return {**to_record(value), "directory": str(value.directory)}
    return [_record(v) for v in value]


def _explain_limit(job: Job, excess: str) -> str:
    kept = (
        job.checkpoints is not None and job.checkpoints.is_dir() and any(job.checkpoints.iterdir())
    )
    checkpoint = "its checkpoint is kept for the next run" if kept else "it left no checkpoint"
    return (
        f"{job.stage} was ended at its limit: {excess}; raise compute.limits.{job.stage} in the "
        f"recipe; {checkpoint}"
    )


def _explain_status(job: Job, status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            f"the worker process of {job.stage} was killed by signal 9, most likely by the system "
            "as memory ran out: lower compute.cores, or give the machine more memory"
        )
    reason = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"the worker process of {job.stage} ended early: {reason}"


def worker_environment(num_cores: int) -> dict[str, str]:
    """Settings that make tensor work the same on one thread or many, and libraries quiet.

    Threads that spin while they wait for each other make a training step twenty times slower as
    soon as another process wants the core (6.2 s for .28 s); so they spin only briefly.
    """
    environment = {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": str(num_cores),
        "GOMP_SPINCOUNT": "1000",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
    mode = _strict_blas_mode()
    return environment | ({"MKL_CBWR": mode} if mode else {})


def _strict_blas_mode() -> str | None:
    """MKL's conditional numerical reproducibility mode, whose sums do not depend on threads."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    if " avx512f" in flags:
        return "AVX512,STRICT"
    return "AVX2,STRICT" if " avx2" in flags else None
