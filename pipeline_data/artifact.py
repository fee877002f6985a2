"""Artefacts: a folder of files and the record that gives them an identity.

A stage writes files below one folder; :func:`describe` hashes them into
:class:`FileRecord` rows, and the artefact's *digest* is the hash of the
(path, sha256) pairs that a next stage reads. Files below ``provenance/`` (fetch
times, raw offsets, crawl order) are kept and verified but are no part of the digest, so
two crawls of an unchanged site agree.

An artefact may be *sharded*: each folder below it is then a part with a digest of
its own, and :meth:`Artifact.part` gives it as an artefact.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint

MANIFEST = "artifact.json"
PROVENANCE = "provenance"
Counts = dict[str, int | float | str]


@dataclass(frozen=True)
class FileRecord:
    """One file: its path below the artefact, content hash, size, and rows when it is Parquet."""

    path: str
    sha256: str
    bytes: int
    rows: int | None = None

    @property
    def is_provenance(self) -> bool:
        return PROVENANCE in Path(self.path).parts


@dataclass(frozen=True)
class Parent:
    """An input of a stage as the record keeps it: role, key in the store, shard and digest."""

    role: str
    stage: str
    key: str
    digest: str
    shard: str | None = None


@dataclass(frozen=True)
class Artifact:
    """The record of a finished stage and the local folder that holds its files.

    ``key`` names it in the store (what was asked for), ``digest`` its content (what
    came out). ``shard`` is set for the artefact of one shard and for a part.
    """

    stage: str
    version: int
    key: str
    digest: str
    directory: Path
    shard: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    parents: Sequence[Parent] = ()
    files: Sequence[FileRecord] = ()
    counts: Counts = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is worth knowing but is no part of the identity: time, duration, machine, commit."""

    def path(self, name: str) -> Path:
        """The path of a file of this artefact.

        Raises:
            ArtifactError: there is no such file.
        """
        path = self.directory / name
        if not path.exists():
            raise ArtifactError(
                f"artefact {self.label} has no file {name}: rebuild it with --force {self.stage}"
            )
        return path

    def part(self, shard: str) -> "Artifact":
        """One shard of a sharded artefact, as an artefact of its own.

        Raises:
            ArtifactError: there is no such shard.
        """
        if shard not in self.parts:
            raise ArtifactError(f"artefact {self.label} has no shard {shard}")
        prefix = f"{shard}/"
        files = tuple(
            replace(f, path=f.path.removeprefix(prefix)) for f in self._files_by_part.get(shard, ())
        )
        return replace(
            self,
            digest=self.parts[shard],
            directory=self.directory / shard,
            shard=shard,
            files=files,
            parts={},
            counts={},
        )

    @cached_property
    def _files_by_part(self) -> Mapping[str, Sequence[FileRecord]]:
        """Files by the top-level folder they are in."""
        found: dict[str, list[FileRecord]] = {}
        for file in self.files:
            found.setdefault(file.path.partition("/")[0], []).append(file)
        return found

    @property
    def label(self) -> str:
        """Stage, shard and the start of the digest, for people."""
        shard = f"[{self.shard}]" if self.shard else ""
        return f"{self.stage}{shard} {self.digest[:12]}"


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(directory: Path) -> tuple[FileRecord, ...]:
    """Hash every file below ``directory``, in path order."""
    import pyarrow.parquet as pq  # not to be waited for where records are only read

    records = []
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
        records.append(
            FileRecord(
                path.relative_to(directory).as_posix(), hash_file(path), path.stat().st_size, rows
            )
        )
    return tuple(records)


def content_digest(files: Iterable[FileRecord]) -> str:
    """The digest over what the next stage reads: (path, sha256) of all but provenance files."""
    return fingerprint(sorted([f.path, f.sha256] for f in files if not f.is_provenance))


def part_digests(files: Sequence[FileRecord]) -> dict[str, str]:
    """The digest of every top-level folder, each as if it were an artefact of its own."""
    shards: dict[str, list[FileRecord]] = {}
    for file in files:
        shard, _, rest = file.path.partition("/")
        if rest and shard != PROVENANCE:
            shards.setdefault(shard, []).append(replace(file, path=rest))
    return {shard: content_digest(group) for shard, group in sorted(shards.items())}


def to_record(artifact: Artifact) -> dict[str, Any]:
    """Everything of an artefact but its place, as JSON values."""
    record = asdict(replace(artifact, directory=Path()))
    del record["directory"]
    return record


def from_record(record: Mapping[str, Any], directory: Path) -> Artifact:
    """The artefact of a record whose files lie in ``directory``."""
    return Artifact(
        stage=record["stage"],
        version=record["version"],
        key=record["key"],
        digest=record["digest"],
        directory=directory,
        shard=record["shard"],
        config=record["config"],
        parents=tuple(Parent(**p) for p in record["parents"]),
        files=tuple(FileRecord(**f) for f in record["files"]),
        counts=record["counts"],
        parts=record["parts"],
        facts=record["facts"],
    )
