"""Whoever watches a run: displays, records and trackers are told, and change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_data.artifact import Artifact
from tasks.decision import Decision


@dataclass(frozen=True)
class Position:
    """How far a stage run is: ``done`` of ``total`` units, or of no one knows how many."""

    done: int
    total: int | None
    unit: str
    metrics: Mapping[str, float] = field(default_factory=dict)


class Observer:
    """Is told what happens, from several threads; a subclass hears what it overrides."""

    def opened(self, run: str, logs: Path) -> None:
        """A run begins; its stages write their logs into the folder."""

    def decided(self, decisions: Sequence[Decision], cores: int) -> None:
        """What the run is going to do, as far as that is known before it does."""

    def planned(self, stage: str, shard: str | None) -> None:
        """A stage run is submitted."""

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """The store has the result."""

    def started(self, stage: str, shard: str | None) -> None:
        """The stage function begins."""

    def progressed(self, stage: str, shard: str | None, position: Position) -> None:
        """The stage function says how far it is."""

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """The stage function has ended well and its result is in the store."""

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        """The stage function has failed; it may be tried again."""

    def skipped(self, what: str, why: str) -> None:
        """The run goes on without something."""


def log_path(logs: Path, stage: str, shard: str | None) -> Path:
    """The file that holds what a stage run prints."""
    return logs / (f"{stage}-{shard}.log" if shard else f"{stage}.log")
