"""Progress of a task on the page of its run."""

import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from pipeline_data.stage_run import Progress
from tasks.observer import Position
from tasks.pace import Pace

PROGRESS_SECONDS = 4.0


class ProgressArtifact:
    """Shows how far a task that lasts some seconds is with its shards, how fast, and until when.

    A context manager: left without an error, it shows that everything is done. A server that
    does not answer costs the task nothing but the view.

    Args:
        name: of the task run.
        num_shards: how many results the task makes.
    """

    def __init__(self, name: str, num_shards: int = 1) -> None:
        self.name = name
        self.pace = Pace(num_shards)
        self._artifact: UUID | None = None
        self._due = time.monotonic() + PROGRESS_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._artifact is not None:
            self._show(100.0)

    def of(self, shard: str | None) -> Progress:
        """What the stage function of a shard reports to."""
        self.pace.start(shard, time.monotonic())

        def report(
            done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
        ) -> None:
            self.pace.move(shard, Position(done, total, unit, metrics or {}), time.monotonic())
            self._show_when_due()

        return report

    def reuse(self) -> None:
        """A shard is in the store already."""
        self.pace.reuse()
        self._show_when_due()

    def execute(self, shard: str | None) -> None:
        """A shard is done."""
        self.pace.execute(shard, time.monotonic())
        self._show_when_due()

    def _show_when_due(self) -> None:
        if time.monotonic() >= self._due:
            self._show(100.0 * self.pace.fraction)
            self._due = time.monotonic() + PROGRESS_SECONDS

    def _show(self, percent: float) -> None:
        text = f"{self.name}: {self.pace.describe(time.monotonic())}"
        with suppress(HTTPError, PrefectException):  # seen later, or not at all
            self._artifact = self._write(percent, text)

    def _write(self, percent: float, text: str) -> UUID:
        if self._artifact is None:
            created: Any = create_progress_artifact(progress=percent, description=text)
            return cast(UUID, created)
        update_progress_artifact(self._artifact, progress=percent, description=text)
        return self._artifact
