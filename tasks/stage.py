"""What a stage is, how its inputs are written down, and what it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from pipeline_data.artifact import Artifact, Parent
from pipeline_data.settings import Settings
from tasks.launch import RoleArtifacts
from tasks.store import Request


@dataclass(frozen=True)
class Stage:
    """One row of the stage table.

    Attributes:
        function: ``module:function`` of the pure function, imported only where it runs.
        version: raised by hand when the function's output for the same input changes.
        sharded: its top-level folders are shards with digests of their own.
        all_cores: gets every core, and so runs alone.
        measures: the stage whose result this one measures on held-out data.
        retries: how often a :class:`TransientError` is tried again, with growing delays.
    """

    name: str
    function: str
    version: int = 1
    sharded: bool = False
    all_cores: bool = False
    measures: str | None = None
    retries: int = 0


class Ref(BaseModel, frozen=True):
    """An artefact as it passes between Prefect tasks: the key under which the store has it."""

    stage: str
    key: str


@dataclass(frozen=True)
class Part:
    """One shard of an artefact (or of a task's result still to come) as an input."""

    artifact: Any
    shard: str


Input: TypeAlias = Any
"""An Artifact, a Ref, a Part, a Prefect future of a Ref, or a list of these."""


def build_request(
    stage: Stage, config: Settings, inputs: RoleArtifacts, shard: str | None
) -> Request:
    """What a stage is asked for, once its inputs are known."""
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
    """The artefacts behind a resolved input: references loaded, parts taken."""
    if isinstance(value, Artifact):
        return value
    if isinstance(value, Ref):
        return load(value)
    if isinstance(value, Part):
        whole = narrow(value.artifact, load)
        assert isinstance(whole, Artifact)
        return whole.part(value.shard)
    artifacts = [narrow(v, load) for v in value]
    return [a for a in artifacts if isinstance(a, Artifact)]
