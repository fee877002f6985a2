"""Whoever watches a run: displays, records and trackers are told, and change nothing."""

from collections.abc import Mapping

from pipeline_data.artifact import Artifact


class Observer:
    """Is told what happens, from several threads; a subclass hears what it overrides."""

    def planned(self, stage: str, shard: str | None) -> None:
        """A stage run is submitted."""

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """The store has the result."""

    def started(self, stage: str, shard: str | None) -> None:
        """The stage function begins."""

    def progressed(
        self,
        stage: str,
        shard: str | None,
        done: int,
        total: int | None,
        unit: str,
        metrics: Mapping[str, float],
    ) -> None:
        """The stage function says how far it is."""

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        """The stage function has ended well and its result is in the store."""

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        """The stage function has failed; it may be tried again."""

    def skipped(self, what: str, why: str) -> None:
        """The run goes on without something."""
