"""The process that runs stage functions: ``python -m tasks.worker``.

It reads one job a line from standard input and answers in lines on what was standard
output, while everything that libraries print goes to the stage's log file. When its parent dies, by
whatever signal, standard input ends and so does the worker, with all that it started.
"""

import contextlib
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pipeline_data.artifact import Artifact, from_record
from pipeline_data.errors import HeadwaterError, StageError
from pipeline_data.faults import explain_fault
from pipeline_data.stage_run import Inputs, Runtime

PROGRESS_SECONDS = 0.2


def import_name(name: str) -> Any:
    """The object that ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _import_stage(name: str) -> Any:
    """The function, and its module without garbage collection.

    What a module makes stays, and every look through it costs: a fifth of the seconds that the
    import of a training stage takes, and a third of a second in all full collections after it.
    """
    if name.partition(":")[0] in sys.modules:
        return import_name(name)
    gc.collect()  # what earlier jobs left is not to stay
    gc.disable()
    try:
        return import_name(name)
    finally:
        gc.freeze()
        gc.enable()


def load_artifact(record: Mapping[str, Any]) -> Artifact:
    """An artefact as it came through the pipe."""
    return from_record(record, Path(record["directory"]))


def _load_inputs(roles: Mapping[str, Any]) -> Inputs:
    return Inputs(
        {
            role: [load_artifact(v) for v in value]
            if isinstance(value, list)
            else load_artifact(value)
            for role, value in roles.items()
        }
    )


class _ProgressLines:
    """Sends progress to the parent a few times a second at most; the last of it in the end."""

    def __init__(self, answers: IO[str]) -> None:
        self.answers = answers
        self.last = 0.0
        self.held: dict[str, Any] | None = None

    def __call__(
        self, done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
    ) -> None:
        now = time.monotonic()
        self.held = {"done": done, "total": total, "unit": unit, "metrics": dict(metrics or {})}
        if now - self.last >= PROGRESS_SECONDS or done == total:
            self.last = now
            self.flush()

    def flush(self) -> None:
        """Send what was held back."""
        if self.held is not None:
            _answer(self.answers, self.held)
            self.held = None


def _answer(answers: IO[str], message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _run(job: Mapping[str, Any], answers: IO[str]) -> None:
    started_cpu = time.process_time()
    out, checkpoints = Path(job["out"]), job["checkpoints"] and Path(job["checkpoints"])
    try:
        _print_to(job["log"])
        if checkpoints:
            checkpoints.mkdir(parents=True, exist_ok=True)
        run = _import_stage(job["function"])
        config = import_name(job["config_class"]).model_validate_json(job["config"])
        progress = _ProgressLines(answers)
        runtime = Runtime(threads=job["threads"], progress=progress, checkpoints=checkpoints)
        counts = run(config, _load_inputs(job["inputs"]), out, runtime)
        progress.flush()
    except Exception as error:
        with contextlib.suppress(OSError):  # the log's disk may be the one that is full
            traceback.print_exc()
        explained = _explain(error, *([out, checkpoints] if checkpoints else [out]))
        _answer(answers, {"error": str(explained), "type": type(explained).__name__})
    else:
        cpu_seconds = time.process_time() - started_cpu
        _answer(answers, {"counts": counts, "cpu_seconds": cpu_seconds})


def _explain(error: Exception, *folders: Path) -> HeadwaterError:
    """The error for people: as it was raised for them, a fault of the machine, or a crash."""
    if isinstance(error, HeadwaterError):
        return error
    fault = explain_fault(error, *folders)
    return fault or StageError(f"{type(error).__name__}: {error}")


def _print_to(path: str) -> None:
    """Send standard output and standard error to a file, those of libraries in C as well."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _read_jobs(jobs: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    # The parent is gone: whatever is being made is no longer wanted.
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _volunteer() -> None:
    """Where the system must kill a process for its memory, let it be this one, not the run's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main() -> None:
    """Serve jobs until the parent goes away."""
    _volunteer()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        _run(jobs.get(), answers)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()


if __name__ == "__main__":
    main()
