"""What a run would do, without doing it: the flows' own graph, walked against the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError, SourceError
from pipeline_data.settings import Settings
from pipeline_data.sources import RawFile, list_raw_files
from pipeline_data.sources.settings import FilesSource
from tasks.stage import Input, Part, Stage, build_request, scope_config
from tasks.store import Store


class _UnknownError(HeadwaterError):
    """An input does not exist yet."""


@dataclass(frozen=True)
class Planned:
    """One stage run to come: ``reuse`` or ``run``, and why."""

    stage: str
    shard: str | None
    action: str
    reason: str
    artifact: Artifact | None


@dataclass
class Plan:
    """Takes the place of a :class:`tasks.run.PipelineRun` and writes down what it is asked."""

    store: Store
    force: frozenset[str] = frozenset()
    rows: list[Planned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Planned:
        """Decide about one stage run, knowing what is decided about its inputs."""
        try:
            roles = {role: _resolve(value) for role, value in (inputs or {}).items()}
        except _UnknownError as unknown:
            row = Planned(stage.name, shard, "run", f"after {unknown}", None)
        else:
            config = scope_config(
                stage, config, lambda role: _resolve((inputs or {})[role], self.store.fetch)
            )
            artifact = self.store.find(build_request(stage, config, roles, shard))
            if stage.name in self.force:
                row = Planned(stage.name, shard, "run", "forced", artifact)
            elif artifact is None:
                row = Planned(stage.name, shard, "run", "not in the store", None)
            else:
                row = Planned(stage.name, shard, "reuse", artifact.digest[:12], artifact)
        self.rows.append(row)
        return row

    def list_files(self, source: FilesSource) -> list[RawFile]:
        """The raw files of a source; none when its list cannot be read from here."""
        try:
            return list_raw_files(source)
        except SourceError as error:
            self.notes.append(f"{error}; its shards are planned once it can be read")
            return []

    def adopt(self, file: RawFile) -> Artifact:
        """A raw file as an artefact."""
        return self.store.adopt(Path(file.path), file.relative)

    def adopt_folder(self, folder: str, only: Sequence[str] = ()) -> Artifact:
        """The files of a folder that lies where its owner put it, as one artefact."""
        return self.store.adopt_folder(Path(folder), only)

    def succeeded(self, result: Any) -> bool:
        """A plan expects everything to go well."""
        return True

    def skip(self, what: str, why: str) -> None:
        """Nothing is skipped in a plan."""


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
