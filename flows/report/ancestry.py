"""All that a model was made of, in memory: whole artefacts and the edges between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pipeline_data.artifact import Artifact, FileRecord, Parent
from tasks.lineage.catalogue import Catalogue

Content = tuple[str, str, str]
"""Stage, shard and digest: what an edge goes by."""


@dataclass(frozen=True)
class Ancestry:
    """A model and its ancestors, nearest first."""

    artifacts: Sequence[Artifact]
    by_content: dict[Content, Artifact]
    _files: dict[tuple[str, str], dict[str, list[FileRecord]]] = field(default_factory=dict)

    @classmethod
    def read(cls, catalogue: Catalogue, artifact: Artifact) -> Self:
        """The ancestry of an artefact.

        Raises:
            ArtifactError: the record of one is gone.
        """
        artifacts = catalogue.ancestry(artifact)
        by_content: dict[Content, Artifact] = {}
        for made in artifacts:
            by_content.setdefault((made.stage, made.shard or "", made.digest), made)
            for shard, digest in made.parts.items():
                by_content.setdefault((made.stage, shard, digest), made)
        return cls(artifacts, by_content)

    def of_stage(self, stage: str) -> list[Artifact]:
        """The ancestors of a stage, shards in the order of their names."""
        found = [artifact for artifact in self.artifacts if artifact.stage == stage]
        return sorted(found, key=lambda artifact: (artifact.shard or "", artifact.key))

    def parents(self, artifact: Artifact) -> Iterator[tuple[Parent, Artifact]]:
        """Each input as its record names it, and the whole artefact that stands for it."""
        for parent in artifact.parents:
            yield parent, self.by_content[parent.stage, parent.shard or "", parent.digest]

    def parent(self, artifact: Artifact, role: str) -> tuple[Parent, Artifact] | None:
        """The first input of a role, if there is one."""
        found = (pair for pair in self.parents(artifact) if pair[0].role == role)
        return next(found, None)

    def files(self, artifact: Artifact, shard: str | None) -> list[FileRecord]:
        """The files of an artefact, or of one part of it, by their paths below the artefact.

        Grouped once: of a thousand parts, :meth:`Artifact.part` would look at all files for each.
        """
        if shard is None or shard not in artifact.parts:
            return list(artifact.files)
        name = (artifact.stage, artifact.key)
        if name not in self._files:
            groups: dict[str, list[FileRecord]] = {}
            for file in artifact.files:
                groups.setdefault(file.path.partition("/")[0], []).append(file)
            self._files[name] = groups
        return self._files[name].get(shard, [])
