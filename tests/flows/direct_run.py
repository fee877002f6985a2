"""Walks the flows' own graph in this process: same keys, same store, no Prefect, no workers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.recipe import SHIPPED, Recipe, check_recipe
from pipeline_data.artifact import Artifact
from pipeline_data.settings import Settings, canonical_json
from pipeline_data.sources import RawFile, list_raw_files
from pipeline_data.sources.settings import FilesSource
from pipeline_data.stage_run import Inputs, Runtime
from tasks.stage import Input, Ref, Stage, build_request, narrow, scope_config
from tasks.store import Store
from tasks.worker import import_name


def corpus_recipe(sources: Mapping[str, Mapping[str, Any]], **changes: Any) -> Recipe:
    """The smoke recipe on these sources and nothing else but what little is generated."""
    values = yaml.safe_load((SHIPPED / "smoke.yaml").read_text())
    values |= {"sources": sources, "tokenizer": {"vocab_size": 300}} | changes
    values["curriculum"] |= {"num_bytes": 20_000}
    values["pretrain"]["mixture"] = dict.fromkeys(sources, 1.0)
    return check_recipe(values, "recipe of the test")


@dataclass(frozen=True)
class Call:
    """One stage run that the graph asks for, with what it was given and what came of it."""

    stage: str
    shard: str | None
    config: str
    """As canonical JSON."""
    inputs: tuple[tuple[str, str | None, str], ...]
    """(role, shard, content digest) of every input, in order."""
    digest: str
    parts: tuple[tuple[str, str], ...]


@dataclass
class DirectRun:
    """Takes the place of a :class:`tasks.run.PipelineRun`; results are artefacts at once."""

    store: Store
    calls: list[Call] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Artifact:
        roles = {role: narrow(value, self._load) for role, value in (inputs or {}).items()}
        scoped = scope_config(stage, config, Inputs(roles).one)
        request = build_request(stage, scoped, roles, shard)
        artifact = self.store.find(request)
        if artifact is None:
            run = import_name(stage.function)
            artifact = self.store.produce(
                request, lambda out: run(scoped, Inputs(roles), out, Runtime()), {}
            )
            self.executed[stage.name] += 1
        given = tuple((parent.role, parent.shard, parent.digest) for parent in request.parents)
        parts = tuple(sorted(artifact.parts.items()))
        written = canonical_json(config.model_dump(mode="json"))
        self.calls.append(Call(stage.name, shard, written, given, artifact.digest, parts))
        return artifact

    def list_files(self, source: FilesSource) -> list[RawFile]:
        return list_raw_files(source)

    def adopt(self, file: RawFile) -> Artifact:
        return self.store.adopt(Path(file.path), file.relative)

    def adopt_folder(self, folder: str, only: Sequence[str] = ()) -> Artifact:
        return self.store.adopt_folder(Path(folder), only)

    def succeeded(self, result: Any) -> bool:
        return True

    def skip(self, what: str, why: str) -> None:
        self.skipped.append(f"{what}: {why}")

    def _load(self, ref: Ref) -> Artifact:
        raise AssertionError(f"{ref} stands for an artefact that is here")
