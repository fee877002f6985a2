"""What is known of a run while it goes on, for whoever shows it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from flows.plan import show_estimate
from pipeline_data.artifact import Artifact
from tasks.decision import Decision
from tasks.observer import Observer, Position, log_path
from tasks.pace import Pace, show_duration
from tasks.stages import STAGES


@dataclass
class StageView:
    """What is known of one stage."""

    name: str
    pace: Pace = field(default_factory=lambda: Pace(num_shards=0))
    expected: dict[str | None, Decision] = field(default_factory=dict)
    """What is decided about each shard that is still to make."""
    started: float | None = None
    ended: float | None = None
    failed: bool = False
    log: Path | None = None
    """Of the shard that failed, if its stage function came so far."""

    @property
    def is_cached(self) -> bool:
        """Whether all of it was in the store."""
        return self.pace.is_finished and self.pace.num_executed == 0

    def elapsed(self, now: float) -> float:
        """Seconds since its first shard began, until its last one was done."""
        return 0.0 if self.started is None else (self.ended or now) - self.started

    def seconds_left(self, now: float, cores: int, *, possible: bool = True) -> float:
        """Estimate by its own pace where it says so, else by what it took the last time.

        Args:
            possible: count the results that may turn out not to be needed, too.
        """
        if self.pace.num_shards and self.pace.is_finished:
            return 0.0
        expected = [d for d in self.expected.values() if possible or d.certain]
        known = [decision.seconds for decision in expected if decision.seconds]
        if self.pace.is_running and (self.pace.num_shards == 1 or not known):
            by_pace = self.pace.seconds_left(now)
            return max(0.0, sum(known) - self.elapsed(now)) if by_pace is None else by_pace
        return max(sum(known) / cores, max(known, default=0.0))


class Display(Observer):
    """Keeps what is known of each stage; a subclass shows it.

    Args:
        clock: tells the seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.stages = {name: StageView(name) for name in STAGES}
        self.lock = threading.RLock()
        self.notes: list[str] = []
        self.run = ""
        self.logs = Path()
        self.cores = 1
        self.num_decided = 0
        self.began = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        """Leave the view."""

    def opened(self, run: str, logs: Path) -> None:
        """The run's name and where its logs go."""
        with self.lock:
            self.run, self.logs = run, logs
            self.changed(None)

    def decided(self, decisions: Sequence[Decision], cores: int) -> None:
        """What is to be made, and how long it took the last time."""
        with self.lock:
            self.cores, self.num_decided = cores, len(decisions)
            for decision in decisions:
                if decision.action == "run":
                    self.stages[decision.stage].expected[decision.shard] = decision

    def planned(self, stage: str, shard: str | None) -> None:
        """One more stage run to come."""
        with self.lock:
            self.stages[stage].pace.num_shards += 1

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """A cached result."""
        with self.lock:
            view = self.stages[stage]
            view.pace.reuse()
            self._finish(view, shard)

    def started(self, stage: str, shard: str | None) -> None:
        """A stage function is about to run."""
        with self.lock:
            view, now = self.stages[stage], self.clock()
            view.started = now if view.started is None else view.started
            view.failed = False
            view.pace.start(shard, now)

    def progressed(self, stage: str, shard: str | None, position: Position) -> None:
        """A stage function tells how far it is."""
        with self.lock:
            self.stages[stage].pace.move(shard, position, self.clock())
            self.moved(stage)

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """A stage function has ended well."""
        with self.lock:
            view, now = self.stages[stage], self.clock()
            view.pace.execute(shard, now)
            view.ended = now if view.pace.is_finished else None
            self._finish(view, shard)

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        """A stage function has failed (and may be tried again)."""
        with self.lock:
            view = self.stages[stage]
            view.pace.fail(shard)
            log = log_path(self.logs, stage, shard)
            view.failed, view.log = True, log if log.is_file() else None
            self.notes.append(f"{stage}{f' {shard}' if shard else ''} failed: {error}")
            self.changed(stage)

    def skipped(self, what: str, why: str) -> None:
        """Something optional is left out."""
        with self.lock:
            self.notes.append(f"{what}: {why}")
            self.changed(None)

    def changed(self, stage: str | None) -> None:
        """A stage run or note is new; called with the lock held."""

    def moved(self, stage: str) -> None:
        """Progress within a stage; called with the lock held."""

    def summarise(self, now: float) -> str:
        """One line on the whole run."""
        paces = [view.pace for view in self.stages.values()]
        num_finished = sum(pace.num_finished for pace in paces)
        num_reused = sum(pace.num_reused for pace in paces)
        total = max(self.num_decided, sum(pace.num_shards for pace in paces))
        parts = [f"{num_finished:,}/{total:,} results"]
        if num_reused:
            parts.append(f"{num_reused:,} cached")
        parts.append(show_duration(now - self.began))
        left = self._estimate(now)
        if left:
            parts.append(f"{left} left")
        return ", ".join(parts)

    def _estimate(self, now: float) -> str:
        views = self.stages.values()
        certain, most = (
            sum(view.seconds_left(now, self.cores, possible=possible) for view in views)
            for possible in (False, True)
        )
        expected = [decision for view in views for decision in view.expected.values()]
        return show_estimate(certain, most, all(d.seconds is not None for d in expected))

    def _finish(self, view: StageView, shard: str | None) -> None:
        view.expected.pop(shard, None)
        self.changed(view.name)
