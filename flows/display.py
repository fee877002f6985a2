"""What a person sees of a run: one calm live view in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.run_view import Display, StageView
from tasks.pace import show_duration

PLAIN_SECONDS = 15.0
NUM_NOTES = 3
BAR_WIDTH = 20
MIN_WIDTH = 80
"""Columns below which there are no bars."""


class LiveDisplay(Display):
    """A table that redraws itself a few times a second, and fits the terminal."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.console = console
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Leave nothing of the view but where the logs of failed stages are."""
        self._live.stop()
        for view in self.stages.values():
            if view.failed and view.log and str(view.log) not in str(exception[1]):
                line = f"{view.name} failed; its log: {view.log}"
                self.console.print(line, style="red", highlight=False, soft_wrap=True)

    def render(self) -> Group:
        """The view as it is now."""
        with self.lock:
            now = self.clock()
            head = [_line(f"run {self.run}, logs in {_nearest(self.logs)}", "dim")]
            notes = [_line(note, "yellow") for note in self.notes[-NUM_NOTES:]]
            overall = _line(self.summarise(now), "bold")
            num_rows = self.console.size.height - len(head) - len(notes) - 2
            return Group(*head, *self._rows(now, num_rows), overall, *notes)

    def _rows(self, now: float, num_rows: int) -> Iterator[RenderableType]:
        """The stages in order; what is done, and if need be what is to come, in one line each."""
        views = [view for view in self.stages.values() if view.pace.num_shards]
        to_come: list[StageView] = []
        if len(views) > num_rows:
            done = [view for view in views if view.pace.is_finished]
            views = [view for view in views if not view.pace.is_finished]
            if done:
                yield _list_stages("✓", "green", "done", done)
            num_rows -= bool(done)
        if len(views) > num_rows:
            busy = [view for view in views if view.pace.is_running or view.failed]
            to_come = [view for view in views if view not in busy]
            to_come = to_come[max(0, num_rows - len(busy) - 1) :]
            views = [view for view in views if view not in to_come]
        yield self._table(views, now)
        if to_come:
            yield _list_stages("·", "dim", "to come", to_come)

    def _table(self, views: Sequence[StageView], now: float) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        wide = self.console.size.width >= MIN_WIDTH
        for _ in range(4 if wide else 3):
            table.add_column(no_wrap=True)
        table.add_column()  # the one that gives way
        for view in views:
            mark, name, *rest = self._cells(view, now)
            bar = ProgressBar(total=1.0, completed=view.pace.fraction, width=BAR_WIDTH)
            table.add_row(mark, name, *([bar] if wide else []), *rest)
        return table

    def _cells(self, view: StageView, now: float) -> tuple[Text, ...]:
        """Mark, name, time, and how it goes."""
        pace = view.pace
        seconds = _clock_time(view.elapsed(now)) if view.started is not None else ""
        cells = Text(view.name), Text(seconds, justify="right")
        if view.failed:
            what = f"failed, see {view.log.name}" if view.log else "failed"
            return Text("✗", "red"), *cells, _line(what, "red")
        if view.started is not None and not pace.is_finished:
            return Text("▸", "cyan"), *cells, _line(pace.describe(now))
        parts = [f"{pace.num_shards:,} shards"] if pace.num_shards > 1 else []
        if pace.is_finished:
            if pace.num_reused:
                parts.append("cached" if view.is_cached else f"{pace.num_reused:,} cached")
            return Text("✓", "green"), *cells, _line(", ".join(parts), "dim")
        left = view.seconds_left(now, self.cores)
        if left:
            parts.append(f"about {show_duration(left)}")
        return Text("·", "dim"), Text(view.name, "dim"), cells[1], _line(", ".join(parts), "dim")


def _line(text: str, style: str = "") -> Text:
    return Text(text.replace("\n", " "), style, no_wrap=True, overflow="ellipsis")


def _list_stages(mark: str, style: str, what: str, views: Sequence[StageView]) -> Text:
    names = ", ".join(view.name for view in views)
    line = _line(f"{mark}  {len(views)} {what}: {names}")
    line.stylize(style, 0, len(mark))
    return line


def _clock_time(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def _nearest(path: Path) -> Path:
    """The shorter way to write a path, from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class PlainDisplay(Display):
    """A line when a stage is done, and now and then one from a long stage."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._told: dict[str, float] = {}
        self._num_notes = 0

    def opened(self, run: str, logs: Path) -> None:
        """Say the run's name and where its logs go."""
        super().opened(run, logs)
        _say(f"run {run}, logs in {logs}")

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        """Say where the log is, too."""
        super().failed(stage, shard, error)
        log = self.stages[stage].log
        if log and str(log) not in str(error):
            _say(f"log: {log}")

    def changed(self, stage: str | None) -> None:
        """A line for each new note, and for a stage whose last shard is done."""
        for note in self.notes[self._num_notes :]:
            _say(f"note: {note}")
        self._num_notes = len(self.notes)
        if stage is None or not self.stages[stage].pace.is_finished:
            return
        view = self.stages[stage]
        pace = view.pace
        shards = f" {pace.num_shards:,} shards," if pace.num_shards > 1 else ""
        if view.is_cached:
            _say(f"{stage}:{shards} cached")
        else:
            cached = f", {pace.num_reused:,} cached" if pace.num_reused else ""
            _say(f"{stage}:{shards} done in {view.elapsed(self.clock()):.1f} s{cached}")

    def moved(self, stage: str) -> None:
        """A line from a stage that takes long."""
        now = self.clock()
        view = self.stages[stage]
        last = self._told.get(stage, now if view.started is None else view.started)
        if now - last >= PLAIN_SECONDS:
            self._told[stage] = now
            _say(f"{stage}: {view.pace.describe(now)}")


def open_display(stream: Any = None) -> Display:
    """The display that suits the stream (standard error by default)."""
    console = Console(file=stream or sys.stderr)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
