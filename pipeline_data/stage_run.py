"""What a stage function is given: its inputs, and where and how it runs.

A stage is a pure function ``run(config, inputs, out, runtime) -> counts``. It reads its
inputs, writes files below ``out``, and nothing else. ``runtime`` is placement and progress: it
never changes a byte of the result and is no part of any key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError


class Progress(Protocol):
    """Called by a stage as it goes; cheap enough to call once per document or step."""

    def __call__(
        self, done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
    ) -> None: ...


def silent(
    done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
) -> None:
    """A :class:`Progress` that shows nothing."""


@dataclass(frozen=True)
class Runtime:
    """Placement of one stage run.

    Attributes:
        threads: processor cores it may use.
        memory_mb: memory for joins that can spill.
        progress: where progress goes.
        checkpoints: folder that outlives a killed attempt and is seen only by attempts at the very
            same result; a stage that finds its checkpoint there goes on from it.
        checkpoint_seconds: least time between two checkpoints; 0 makes one after every step.
    """

    threads: int = 1
    memory_mb: int = 1024
    progress: Progress = field(default=silent)
    checkpoints: Path | None = None
    checkpoint_seconds: float = 15.0


@dataclass(frozen=True)
class Inputs:
    """The input artefacts of a stage by role; a role holds one artefact or several."""

    roles: Mapping[str, Artifact | Sequence[Artifact]]

    def one(self, role: str) -> Artifact:
        """The single artefact of a role.

        Raises:
            ArtifactError: the role is absent or holds several.
        """
        value = self.roles.get(role)
        if not isinstance(value, Artifact):
            raise ArtifactError(f"a stage needs exactly one input '{role}'")
        return value

    def many(self, role: str) -> Sequence[Artifact]:
        """All artefacts of a role, in the order they were given; empty when the role is absent."""
        value = self.roles.get(role, ())
        return [value] if isinstance(value, Artifact) else list(value)

    def optional(self, role: str) -> Artifact | None:
        """The artefact of a role, or nothing."""
        return self.one(role) if role in self.roles else None
