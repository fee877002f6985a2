"""What a stage is, how its inputs are written down, and what it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from pipeline_data.artifact import Artifact, Parent
from pipeline_data.settings import Settings
from tasks.launch import RoleArtifacts
from tasks.store import Request
from tasks.worker import import_name


@dataclass(frozen=True)
class Stage:
    """One row of the stage table.

    Attributes:
        function: ``module:function`` of the pure function, imported only where it runs.
        version: raised by hand when the function's output for the same input changes.
        sharded: its top-level folders are shards with digests of their own.
        all_cores: gets every core, and so runs alone.
        measures: the stage whose result this one measures on held-out data.
        retries: how often it is tried again after what may pass: an absent network, a full disk.
        retry_seconds: the first delay before that, doubled each time, give or take a half.
        scope: ``module:function`` that reduces the config to what concerns the inputs, before
            the key is made; it gets the config and a function from role to artefact. A setting
            that cannot touch a shard then leaves that shard's result as it is.
    """

    name: str
    function: str
    version: int = 1
    sharded: bool = False
    all_cores: bool = False
    measures: str | None = None
    retries: int = 2
    retry_seconds: float = 2.0
    scope: str | None = None


class Ref(BaseModel, frozen=True):
    """An artefact as it passes between Prefect tasks: the key under which the store has it."""

    stage: str
    key: str


class Refs(BaseModel, frozen=True):
    """What a Prefect task made: an artefact a shard, or the one of a stage without shards."""

    shards: dict[str, Ref]


@dataclass(frozen=True)
class Result:
    """A stage result to come: that of one shard of the Prefect task which makes it.

    Attributes:
        task: the task's future; Prefect puts its :class:`Refs` there for the tasks that need it.
    """

    task: Any
    shard: str | None

    def ref(self) -> Ref:
        """The reference, once the task has ended."""
        refs = self.task
        assert isinstance(refs, Refs)
        return refs.shards[self.shard or ""]


@dataclass(frozen=True)
class Part:
    """One shard of an artefact (or of a task's result still to come) as an input."""

    artifact: Any
    shard: str


@dataclass(frozen=True)
class Work:
    """One stage result that a task is to make."""

    config: Settings
    inputs: Mapping[str, "Input"]
    shard: str | None


Input: TypeAlias = Any
"""An Artifact, a Result, a Part of either, or a list of these."""


def scope_config(stage: Stage, config: Settings, open_input: Callable[[str], Artifact]) -> Settings:
    """The config as far as it concerns the inputs; ``open_input`` brings a role's files here."""
    if stage.scope is None:
        return config
    scoped: Settings = import_name(stage.scope)(config, open_input)
    return scoped


def results_in(value: Input) -> Iterator[Result]:
    """The results to come within an input."""
    if isinstance(value, Part):
        yield from results_in(value.artifact)
    elif isinstance(value, Result):
        yield value
    elif not isinstance(value, Artifact):
        for item in value:
            yield from results_in(item)


def build_request(
    stage: Stage, config: Settings, inputs: RoleArtifacts, shard: str | None
) -> Request:
    """What a stage is asked for, once its inputs are known and its config is scoped to them."""
    parents = []
    for role, value in sorted(inputs.items()):
        for artifact in [value] if isinstance(value, Artifact) else value:
            parents.append(
                Parent(role, artifact.stage, artifact.key, artifact.digest, artifact.shard)
            )
    return Request(
        stage=stage.name,
        version=stage.version,
        config=config.model_dump(mode="json"),
        parents=tuple(parents),
        shard=shard,
        sharded=stage.sharded,
    )


def narrow(value: Any, load: Callable[[Ref], Artifact]) -> Artifact | Sequence[Artifact]:
    """The artefacts behind an input whose results have come: references loaded, parts taken."""
    if isinstance(value, Artifact):
        return value
    if isinstance(value, Result):
        return load(value.ref())
    if isinstance(value, Part):
        whole = narrow(value.artifact, load)
        assert isinstance(whole, Artifact)
        return whole.part(value.shard)
    artifacts = [narrow(v, load) for v in value]
    return [a for a in artifacts if isinstance(a, Artifact)]
