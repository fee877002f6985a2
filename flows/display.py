"""What a person sees of a run: one calm live view in a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline_data.artifact import Artifact
from tasks.observer import Observer
from tasks.stages import STAGES

PLAIN_SECONDS = 15.0
METRIC_CHARACTERS = 28


@dataclass
class _Row:
    """The state of one stage."""

    planned: int = 0
    reused: int = 0
    executed: int = 0
    fractions: dict[str | None, float] = field(default_factory=dict)
    detail: str = ""
    started: float | None = None
    seconds: float = 0.0
    failed: bool = False

    @property
    def finished(self) -> int:
        return self.reused + self.executed

    @property
    def running(self) -> bool:
        return self.started is not None and self.finished < self.planned and not self.failed

    @property
    def fraction(self) -> float:
        return (self.finished + sum(self.fractions.values())) / max(1, self.planned)

    def elapsed(self) -> float:
        return time.monotonic() - self.started if self.running and self.started else self.seconds


class Display(Observer):
    """Observes a run and keeps one row a stage."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {name: _Row() for name in STAGES}
        self.lock = threading.RLock()
        self.notes: list[str] = []

    def planned(self, stage: str, shard: str | None) -> None:
        """One more stage run to come."""
        with self.lock:
            self.rows[stage].planned += 1

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """A cached result."""
        with self.lock:
            self.rows[stage].reused += 1
            self.changed(stage)

    def started(self, stage: str, shard: str | None) -> None:
        """A stage function is about to run."""
        with self.lock:
            row = self.rows[stage]
            row.started = row.started or time.monotonic()
            row.fractions[shard] = 0.0

    def progressed(
        self,
        stage: str,
        shard: str | None,
        done: int,
        total: int | None,
        unit: str,
        metrics: Mapping[str, float],
    ) -> None:
        """A stage function tells how far it is."""
        with self.lock:
            row = self.rows[stage]
            row.fractions[shard] = done / total if total else 0.0
            shown = ", ".join(f"{name} {value:.3g}" for name, value in list(metrics.items())[:2])
            of_total = f"/{total:,}" if total else ""
            row.detail = f"{done:,}{of_total} {unit}" + (f"  {shown}" if shown else "")
            if row.planned > 1:
                row.detail = f"{row.finished}/{row.planned} shards"
            self.moved(stage)

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """A stage function has ended well."""
        with self.lock:
            row = self.rows[stage]
            row.fractions.pop(shard, None)
            row.executed += 1
            row.seconds = time.monotonic() - (row.started or time.monotonic())
            self.changed(stage)

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        """A stage function has failed (and may be tried again)."""
        with self.lock:
            self.notes.append(f"{stage}{f' {shard}' if shard else ''} failed: {error}")
            self.rows[stage].fractions.pop(shard, None)
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


class LiveDisplay(Display):
    """A table that redraws itself a few times a second."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.stop()

    def _render(self) -> Group:
        table = Table(box=None, padding=(0, 1), show_header=False)
        with self.lock:
            for name, row in self.rows.items():
                if row.planned:
                    table.add_row(*_cells(name, row))
            notes = [Text(note, style="yellow") for note in self.notes[-3:]]
        return Group(table, *notes)


def _cells(name: str, row: _Row) -> tuple[Any, ...]:
    done = row.finished == row.planned
    mark = Text("✓", "green") if done else Text("▸", "cyan") if row.running else Text("·", "dim")
    count = f"{row.finished}/{row.planned}" if row.planned > 1 else ""
    bar = ProgressBar(total=1.0, completed=row.fraction, width=24)
    if done and row.reused == row.planned:
        detail = Text("cached", "dim")
    elif done:
        detail = Text(f"{row.reused} cached" if row.reused else "", "dim")
    else:
        detail = Text(row.detail)
    elapsed = f"{row.elapsed():.0f}s" if row.started else ""
    return mark, Text(name, "" if row.started or done else "dim"), count, bar, elapsed, detail


class PlainDisplay(Display):
    """A line when a stage is done, and now and then one from a long stage."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}
        self._num_notes = 0

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def changed(self, stage: str | None) -> None:
        """A line for each new note, and for a stage whose last shard is done."""
        for note in self.notes[self._num_notes :]:
            _say(f"note: {note}")
        self._num_notes = len(self.notes)
        if stage is None or self.rows[stage].finished != self.rows[stage].planned:
            return
        row = self.rows[stage]
        shards = f" {row.planned} shards," if row.planned > 1 else ""
        if row.executed == 0:
            _say(f"{stage}:{shards} cached")
        else:
            cached = f", {row.reused} cached" if row.reused else ""
            _say(f"{stage}:{shards} done in {row.seconds:.1f} s{cached}")

    def moved(self, stage: str) -> None:
        """A line from a stage that takes long."""
        now = time.monotonic()
        last = self._told.get(stage, self.rows[stage].started or now)
        if now - last >= PLAIN_SECONDS:
            self._told[stage] = now
            _say(f"{stage}: {self.rows[stage].detail}")


def open_display(stream: Any = None) -> LiveDisplay | PlainDisplay:
    """The display that suits the stream (standard error by default)."""
    console = Console(file=stream or sys.stderr)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
