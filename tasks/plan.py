"""What a run would do, without doing it: the flows' own graph, walked against the store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError, SourceError
from pipeline_data.settings import Settings
from pipeline_data.sources import RawFile
from pipeline_data.sources.settings import FilesSource
from tasks.decision import Action, Decision, changed_settings, explain_miss
from tasks.past_results import PastResults
from tasks.runner import Runner
from tasks.stage import Input, Part, Stage, build_request, scope_config
from tasks.store import Store

NUM_NAMED = 2


class _UnknownError(HeadwaterError):
    """An input does not exist yet."""


@dataclass(frozen=True, eq=False)
class Planned:
    """One stage result to come: what is decided about it, and what it is made of."""

    decision: Decision
    inputs: tuple["Planned", ...]
    artifact: Artifact | None

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.decision.stage

    @property
    def shard(self) -> str | None:
        """The shard's name, for a stage with shards."""
        return self.decision.shard

    @property
    def label(self) -> str:
        """Stage and shard for people."""
        return f"{self.stage} {self.shard}" if self.shard else self.stage


@dataclass
class Plan(Runner):
    """Takes the place of a run and writes down what it is asked.

    Args:
        forces: whether a result (stage, shard) is made in any case.
    """

    store: Store
    past: PastResults
    forces: Callable[[str, str | None], bool] = lambda stage, shard: False
    rows: list[Planned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def decisions(self) -> list[Decision]:
        """What is decided about every result, in the order of the graph."""
        return [row.decision for row in self.rows]

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Planned:
        """Decide about one stage result, knowing what is decided about its inputs."""
        given = inputs or {}
        seconds = self.past.seconds(stage.name, shard)
        needs = tuple(dict.fromkeys(row for value in given.values() for row in _rows_in(value)))
        try:
            roles = {role: _resolve(value) for role, value in given.items()}
        except _UnknownError:
            reason, certain = self._explain_unknown(stage, config, needs, shard)
            decision = Decision(stage.name, shard, "run", reason, certain, seconds=seconds)
            row = Planned(decision, needs, None)
        else:
            scoped = scope_config(
                stage, config, lambda role: _resolve(given[role], self.store.fetch)
            )
            request = build_request(stage, scoped, roles, shard)
            artifact = self.store.find(request)
            forced = self.forces(stage.name, shard)
            if forced:
                reason = "forced"
            elif artifact is None:
                previous = self.past.artifact(stage.name, shard)
                reason = explain_miss(self.store, request, previous)
            else:
                reason = "unchanged"
            action: Action = "reuse" if artifact and not forced else "run"
            row = Planned(
                Decision(stage.name, shard, action, reason, key=request.key, seconds=seconds),
                needs,
                artifact if action == "reuse" else None,
            )
        self.rows.append(row)
        return row

    def list_files(self, source: FilesSource) -> list[RawFile]:
        """The raw files of a source; none when its list cannot be read from here."""
        try:
            return super().list_files(source)
        except SourceError as error:
            self.notes.append(f"{error}; its shards are planned once it can be read")
            return []

    def skip(self, what: str, why: str) -> None:
        """Note what a run would go on without."""
        self.notes.append(f"{what}: {why}")

    def _explain_unknown(
        self, stage: Stage, config: Settings, needs: Sequence[Planned], shard: str | None
    ) -> tuple[str, bool]:
        """The reason, and whether the result is made whatever its inputs turn out to be."""
        if self.forces(stage.name, shard):
            return "forced", True
        previous = self.past.artifact(stage.name, shard)
        if previous is None:
            return "no earlier result", True
        if previous.version != stage.version:
            return f"stage version: {previous.version} -> {stage.version}", True
        if stage.scope is None:
            changed = changed_settings(previous.config, config.model_dump(mode="json"))
            if changed:
                return "; ".join(changed), True
        running = [row.label for row in needs if row.decision.action == "run"]
        more = len(running) - NUM_NAMED
        after = ", ".join(running[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"after {after}, if that changes", False


def _rows_in(value: Any) -> Iterator[Planned]:
    if isinstance(value, Planned):
        yield value
    elif isinstance(value, Part):
        yield from _rows_in(value.artifact)
    elif not isinstance(value, Artifact):
        for item in value:
            yield from _rows_in(item)


def _resolve(value: Any, fetch: Callable[[Artifact], Artifact] = lambda artifact: artifact) -> Any:
    if isinstance(value, Artifact):
        return value
    if isinstance(value, Part):
        return _resolve(value.artifact, fetch).part(value.shard)
    if isinstance(value, Planned):
        if value.artifact is None:
            raise _UnknownError(value.stage)
        return fetch(value.artifact)
    return [_resolve(v, fetch) for v in value]
