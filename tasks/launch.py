"""Runs stage functions in worker processes: memory given back, cancel possible, one log a stage.

Workers live as long as the run, since importing what stages need costs seconds. A budget of cores
keeps them from crowding each other.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_data import errors
from pipeline_data.artifact import Artifact, Counts, to_record
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Progress

RoleArtifacts = Mapping[str, Artifact | Sequence[Artifact]]


@dataclass(frozen=True)
class Job:
    """One stage function to run, with everything it needs."""

    function: str
    config: Settings
    inputs: RoleArtifacts
    out: Path
    log: Path
    threads: int


class Cores:
    """A budget of cores: first come, first served, so a stage that wants all of them gets them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def take(self, wanted: int) -> Iterator[int]:
        """Wait for ``wanted`` cores (at most all there are) and hold them."""
        num_cores = min(wanted, self.total)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._free >= num_cores)
            self._queue.pop(0)
            self._free -= num_cores
            self._changed.notify_all()
        try:
            yield num_cores
        finally:
            with self._changed:
                self._free += num_cores
                self._changed.notify_all()


class Workers:
    """The worker processes of one pipeline run."""

    def __init__(self, num_cores: int) -> None:
        self.cores = Cores(num_cores)
        self._idle: list[subprocess.Popen[str]] = []
        self._all: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def run(
        self, job: Job, started: Callable[[], None], progress: Progress
    ) -> tuple[Counts, dict[str, float]]:
        """Run one job to its end; returns its counts and the seconds it took, wall and CPU.

        ``started`` is called once there are cores for it.

        Raises:
            HeadwaterError: as the stage raised it; StageError when the stage itself is at fault.
        """
        with self.cores.take(job.threads) as threads:
            started()
            begin = time.monotonic()
            worker = self._borrow()
            try:
                answer = _converse(worker, job, threads, progress)
            except BaseException:
                self._stop(worker)
                raise
            with self._lock:
                self._idle.append(worker)
        if "error" in answer:
            error = getattr(errors, answer["type"])
            where = f" (log: {job.log})" if error is errors.StageError else ""
            raise error(f"{answer['error']}{where}")
        return answer["counts"], {
            "seconds": round(time.monotonic() - begin, 3),
            "cpu_seconds": round(answer["cpu_seconds"], 3),
        }

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._all):
            self._stop(worker)

    def _borrow(self) -> "subprocess.Popen[str]":
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _start(self) -> "subprocess.Popen[str]":
        worker = subprocess.Popen(
            [sys.executable, "-m", "tasks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **worker_environment(self.cores.total)},
        )
        with self._lock:
            self._all.append(worker)
        return worker

    def _stop(self, worker: "subprocess.Popen[str]") -> None:
        with self._lock:
            if worker in self._all:
                self._all.remove(worker)
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe:
                pipe.close()


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


def _record(value: Artifact | Sequence[Artifact]) -> Any:
    if isinstance(value, Artifact):
        return {**to_record(value), "directory": str(value.directory)}
    return [_record(v) for v in value]


def _converse(
    worker: "subprocess.Popen[str]", job: Job, threads: int, progress: Progress
) -> Mapping[str, Any]:
    assert worker.stdin and worker.stdout
    job.log.parent.mkdir(parents=True, exist_ok=True)
    config_class = type(job.config)
    message = {
        "function": job.function,
        "config_class": f"{config_class.__module__}:{config_class.__qualname__}",
        "config": job.config.model_dump_json(),
        "inputs": {role: _record(value) for role, value in job.inputs.items()},
        "out": str(job.out),
        "log": str(job.log),
        "threads": threads,
    }
    try:
        worker.stdin.write(json.dumps(message) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # reported below, with the exit status
    for line in worker.stdout:
        answer: dict[str, Any] = json.loads(line)
        if "done" not in answer:
            return answer
        progress(answer["done"], answer["total"], answer["unit"], answer["metrics"])
    status = worker.wait()
    reason = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    raise errors.StageError(f"the worker process ended early: {reason} (log: {job.log})")
