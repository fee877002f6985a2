"""Runs stage functions in worker processes: memory given back, cancel possible, one log a stage.

Workers outlive their jobs, since importing what stages need costs seconds; those idle for long
are ended, since what they hold costs memory. A budget of cores keeps them from crowding each other,
so that there are never more of them than cores.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline_data import errors
from pipeline_data.artifact import Counts
from pipeline_data.stage_run import Progress
from tasks.worker_process import Job, RoleArtifacts, WorkerProcess

__all__ = ["Cores", "Job", "RoleArtifacts", "Workers"]

WATCH_SECONDS = 0.5
RUN_ENDED = "the stage was ended together with its run"


class Cores:
    """A budget of cores: first come, first served, so a stage that wants all of them gets them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: list[object] = []
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def take(self, wanted: int) -> Iterator[int]:
        """Wait for ``wanted`` cores (at most all there are) and hold them.

        Raises:
            StageError: the budget was closed.
        """
        num_cores = min(wanted, self.total)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(
                lambda: self._closed or (self._queue[0] is ticket and self._free >= num_cores)
            )
            self._queue.remove(ticket)
            if self._closed:
                raise errors.StageError(RUN_ENDED)
            self._free -= num_cores
            self._changed.notify_all()
        try:
            yield num_cores
        finally:
            with self._changed:
                self._free += num_cores
                self._changed.notify_all()

    def close(self) -> None:
        """Give out no more cores, and let nobody wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Workers:
    """The worker processes of one pipeline run.

    Args:
        idle_seconds: how long a worker is kept without a job.
    """

    def __init__(self, num_cores: int, idle_seconds: float = 60.0) -> None:
        self.cores = Cores(num_cores)
        self.idle_seconds = idle_seconds
        self._busy: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="worker watch", daemon=True)
        self._watcher.start()

    @property
    def closed(self) -> bool:
        """Whether the run has ended, so that a job that fails now is not to blame."""
        return self._closed.is_set()

    def run(
        self, job: Job, started: Callable[[], None], progress: Progress
    ) -> tuple[Counts, dict[str, float]]:
        """Run one job to its end; returns its counts and the seconds it took, wall and CPU.

        ``started`` is called once there are cores for it.

        Raises:
            HeadwaterError: as the stage raised it; StageError when the stage itself is at fault, a
                limit was reached, or the workers were closed.
        """
        with self.cores.take(job.threads) as threads:
            started()
            begin = time.monotonic()
            with self._borrow() as worker:
                answer = worker.run(job, threads, progress)
        if "error" in answer:
            raise _error_of(answer, job)
        return answer["counts"], {
            "seconds": round(time.monotonic() - begin, 3),
            "cpu_seconds": round(answer["cpu_seconds"], 3),
        }

    def close(self) -> None:
        """End all workers, whatever they do: their jobs fail within moments."""
        self._closed.set()
        self.cores.close()
        with self._lock:
            for worker in self._busy:
                worker.end(RUN_ENDED)
            self._end_idle(0.0)
        self._watcher.join()

    @contextmanager
    def _borrow(self) -> Iterator[WorkerProcess]:
        with self._lock:
            if self.closed:
                raise errors.StageError(RUN_ENDED)
            self._end_idle(self.idle_seconds)
            worker = self._idle.pop() if self._idle else WorkerProcess(self.cores.total)
            self._busy.add(worker)
        finished = False
        try:
            yield worker
            finished = True
        finally:
            with self._lock:
                self._busy.remove(worker)
                reusable = finished and worker.is_alive and not self.closed
                if reusable:
                    self._idle.append(worker)
            if not reusable:
                worker.end(RUN_ENDED)
                worker.reap()

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            with self._lock:
                busy = list(self._busy)
                self._end_idle(self.idle_seconds)
            for worker in busy:
                worker.check()

    def _end_idle(self, seconds: float) -> None:
        """End those that had no job for so long; the lock is held."""
        oldest = time.monotonic() - seconds
        for worker in [w for w in self._idle if w.idle_since <= oldest or not w.is_alive]:
            self._idle.remove(worker)
            worker.end(RUN_ENDED)
            worker.reap()


def _error_of(answer: Mapping[str, Any], job: Job) -> errors.HeadwaterError:
    kind: type[errors.HeadwaterError] = getattr(errors, answer["type"])
    where = f" (log: {job.log})" if kind is errors.StageError else ""
    return kind(f"{answer['error']}{where}")
