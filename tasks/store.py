"""Where artefacts live: a local folder or any fsspec URL.

    <root>/<stage>/<key>/artifact.json     the record, written last and put in place atomically
    <root>/<stage>/<key>/<attempt>/...     the files it names
    <root>/<stage>/<key>/tombstone.json    the record of an artefact whose files were erased
    <root>/references/<name>.json          'assistant' -> an artefact, for people and the command

What has no ``artifact.json`` does not exist, so a crash leaves nothing half done. Every
attempt at a key has a folder of its own and the record names the one that counts: two runs
which make the same artefact at once do not touch each other's files, and the first record wins.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_data.artifact import (
    MANIFEST,
    Artifact,
    Counts,
    FileRecord,
    Parent,
    content_digest,
    describe,
    from_record,
    hash_file,
    part_digests,
    to_record,
)
from pipeline_data.errors import ArtifactError, SourceError
from pipeline_data.settings import fingerprint
from tasks.claims import claim
from tasks.names import Names, Version
from tasks.record_shape import shape_flaws
from tasks.remembered_hash import remembered_hash
from tasks.seal import SEAL, seal_of, sealed
from tasks.store_files import TOMBSTONE, StoreFiles

EXTERNAL = "file"
"""The stage name of a raw file that lies where its owner put it."""


FORMER = "former_content"
"""In the config of the record of a former content: its digest, which gives it a key of its own."""


@dataclass(frozen=True)
class Tombstone:
    """Why the files of an artefact are gone for good: ``date`` (ISO 8601), and who asked for it."""

    date: str
    reason: str
    by: str


@dataclass(frozen=True)
class Request:
    """What is asked of a stage: with the digests of the inputs it determines the key."""

    stage: str
    version: int
    config: Mapping[str, Any]
    parents: Sequence[Parent]
    shard: str | None = None
    sharded: bool = False

    @property
    def key(self) -> str:
        """Hash of stage, version, config, shard and the *content* of the inputs, nothing else."""
        inputs = [[p.role, p.shard, p.digest] for p in self.parents]
        return fingerprint([self.stage, self.version, self.config, self.shard, inputs])


class Store(StoreFiles):
    """Reads and commits artefacts below one root.

    Args:
        url: a folder or any fsspec URL (``memory://``, ``s3://bucket/prefix``).
        cache: local folder for working files and, with a remote root, copies of artefacts.
    """

    def __init__(self, url: str, cache: Path) -> None:
        super().__init__(url)
        self.cache = cache
        self.claims = Path(self.root, ".claims") if self.is_local else cache / "claims"
        """Where runs on this machine claim what they are making."""
        self.registry = Names(self)
        """The names of its artefacts."""

    def find(self, request: Request) -> Artifact | None:
        """The finished artefact for a request, if it is sound.

        Every file must be there with its size, and one written later than the record must still
        have its hash; :meth:`damage` reads every byte.
        """
        record = self._record(request.stage, request.key)
        if record is None or record.get(SEAL, "") not in ("", seal_of(record)):
            return None  # an edited record is none to rely upon: the stage runs again
        artifact = from_record(record, self._folder(record))
        return None if self.flaws(artifact) else artifact

    def flaws(self, artifact: Artifact) -> list[str]:
        """What is wrong with an artefact as far as sizes and times tell: a line a file."""
        return self._missing(artifact) or self._touched(artifact)

    def load(self, stage: str, key: str) -> Artifact | None:
        """The record for a key as it stands, files unchecked; nothing when there is none."""
        record = self._record(stage, key)
        return None if record is None else from_record(record, self._folder(record))

    def produce(
        self, request: Request, write: Callable[[Path], Counts], facts: Mapping[str, Any]
    ) -> Artifact:
        """Let ``write`` fill a new folder, then commit it as the artefact of ``request``.

        An existing sound artefact with the same content stays as it is, so a forced rerun
        that changes nothing changes nothing. ``facts`` is read after ``write`` returns.
        """
        attempt = f"{_machine()}-{uuid.uuid4().hex[:12]}"
        directory = self._attempt_directory(request, attempt)
        directory.mkdir(parents=True)
        try:
            counts = write(directory)
            files = describe(directory)
            artifact = Artifact(
                stage=request.stage,
                version=request.version,
                key=request.key,
                digest=content_digest(files),
                directory=directory,
                shard=request.shard,
                config=request.config,
                parents=tuple(request.parents),
                files=files,
                counts=counts,
                parts=part_digests(files) if request.sharded else {},
                facts=dict(facts),
            )
            return self._commit(request, artifact, attempt)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def clear_attempts(self, request: Request) -> None:
        """Delete what killed attempts at a request left; for whoever has the claim on it.

        Those of other machines, which know nothing of the claim, stay.
        """
        recorded = self.load(request.stage, request.key)
        kept = recorded.directory.name if recorded else None
        folder = self._local_path(request.stage, request.key)
        for path in folder.glob(f"{_machine()}-*") if self.is_local else ():
            if path.name != kept:
                shutil.rmtree(path, ignore_errors=True)

    def adopt(self, path: Path, relative: str) -> Artifact:
        """Record a raw file where it lies.

        Its identity is its content and ``relative``, the end of its path by which a source knows
        it and which names its records; the folder it lies in is none of it.
        """
        return self._adopt(Path(str(path.resolve()).removesuffix(relative)), [relative])

    def adopt_folder(self, folder: Path, only: Sequence[str] = ()) -> Artifact:
        """Record the files of a folder where they lie: all but hidden ones, or those named.

        Raises:
            SourceError: there is no such folder, or no such file in it.
        """
        folder = folder.expanduser().resolve()
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        names = [p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts)]
        wanted = sorted(name for name in names if not only or name in only)
        if not wanted:
            what = " or ".join(only) or "files"
            raise SourceError(f"{folder} is no folder with {what}; correct the recipe")
        return self._adopt(folder, wanted)

    def _adopt(self, folder: Path, names: Sequence[str]) -> Artifact:
        memory = self.cache / "hashes"
        files = tuple(
            FileRecord(name, remembered_hash(folder / name, memory), (folder / name).stat().st_size)
            for name in names
        )
        contents = [[file.path, file.sha256] for file in files]
        artifact = Artifact(
            stage=EXTERNAL,
            version=1,
            key=fingerprint([EXTERNAL, str(folder), contents]),
            digest=content_digest(files),
            directory=folder,
            files=files,
        )
        if not self.fs.exists(self._record_path(EXTERNAL, artifact.key)):
            self._write_record(artifact, str(folder))
        return artifact

    def fetch(self, artifact: Artifact) -> Artifact:
        """The same artefact with its files on this machine (a copy when the root is remote)."""
        if self._is_here(artifact) or artifact.directory.is_dir():
            return artifact
        source = self.place(self._key_path(artifact.stage, artifact.key))
        attempt = artifact.directory.name
        partial = artifact.directory.with_name(f"{attempt}.{uuid.uuid4().hex[:8]}")
        for file in artifact.files:
            target = partial / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(f"{source}/{attempt}/{file.path}", str(target))
        try:
            partial.rename(artifact.directory)
        except OSError:  # another thread was first
            shutil.rmtree(partial)
        return artifact

    def damage(self, artifact: Artifact) -> list[str]:
        """What is wrong with an artefact, every byte being read: a line a file, none if sound."""
        problems = self._missing(artifact)
        if problems:
            return problems
        local = self.fetch(artifact)
        for file in artifact.files:
            if hash_file(local.directory / file.path) != file.sha256:
                problems.append(f"{artifact.label}: {file.path} does not match its SHA-256")
        if content_digest(artifact.files) != artifact.digest:
            problems.append(f"{artifact.label}: the record does not match its own digest")
        return problems

    def discard(self, artifact: Artifact) -> None:
        """Forget an artefact: its record first, then its files."""
        if artifact.stage == EXTERNAL:
            return
        self.fs.rm_file(self._record_path(artifact.stage, artifact.key))
        self.fs.rm(self.place(self._key_path(artifact.stage, artifact.key)), recursive=True)
        if not self.is_local:
            shutil.rmtree(artifact.directory, ignore_errors=True)

    def erase(self, artifact: Artifact, tombstone: Tombstone) -> None:
        """Delete an artefact's files and keep its record as a tombstone.

        Stopped at any point, it can be done again.
        """
        record = sealed({**to_record(artifact), "folder": artifact.directory.name})
        path = self._key_path(artifact.stage, artifact.key)
        self.write_json(f"{path}/{TOMBSTONE}", {"record": record, "tombstone": asdict(tombstone)})
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._record_path(artifact.stage, artifact.key))
        for folder in self.fs.ls(self.place(path), detail=True):
            if folder["type"] == "directory":
                self.fs.rm(folder["name"], recursive=True)
        if not self.is_local:
            shutil.rmtree(artifact.directory, ignore_errors=True)

    def bury(self, artifact: Artifact, tombstone: Tombstone) -> None:
        """Keep the record of a content that another one takes the place of, as one that is erased.

        It gets a key of its own, so that whatever was made of it can still be traced.
        """
        config = {**artifact.config, FORMER: artifact.digest}
        request = Request(
            artifact.stage, artifact.version, config, artifact.parents, artifact.shard
        )
        if self.erased(request.stage, request.key) is None:
            nowhere = self.cache / "attempts" / f"erased-{request.key[:24]}"
            former = replace(artifact, key=request.key, config=config, directory=nowhere)
            self.erase(former, tombstone)

    def erased(self, stage: str, key: str) -> tuple[Artifact, Tombstone] | None:
        """The record of an erased artefact, and why it was erased."""
        found = self.read_json(f"{self._key_path(stage, key)}/{TOMBSTONE}")
        if found is None:
            return None
        record = found["record"]
        return from_record(record, self._folder(record)), Tombstone(**found["tombstone"])

    def point(
        self,
        name: str,
        artifact: Artifact,
        *,
        run: str | None = None,
        recipe: str | None = None,
        recipe_digest: str | None = None,
        chain: str | None = None,
    ) -> Version:
        """Make ``name`` (such as 'assistant') mean this artefact from now on.

        The rest is kept with it, as in :class:`tasks.names.Version`.
        """
        with claim(self.claims, f"name-{name}"):
            return self.registry.point(
                name, artifact, _now(), run=run, recipe=recipe, recipe_digest=recipe_digest,
                chain=chain,
            )  # fmt: skip

    def named(self, name: str) -> Artifact:
        """The artefact that a name, or ``name@version``, means.

        Raises:
            ArtifactError: the name means nothing here, or its record is gone.
        """
        version = self.registry.find(name)
        artifact = self.load(version.stage, version.key)
        if artifact is None or artifact.digest != version.digest:
            if self.erased(version.stage, version.key):
                raise ArtifactError(f"'{name}' was erased: headwater trace {name} says why")
            raise ArtifactError(f"the record of '{name}' is gone: headwater run rebuilds it")
        return artifact

    def names(self) -> list[str]:
        """All names that mean an artefact."""
        return self.registry.all()

    def ancestry(self, artifact: Artifact) -> Iterator[Artifact]:
        """The artefact and all it was made of, each once, nearest first.

        Raises:
            ArtifactError: a parent's record is gone.
        """
        seen: set[tuple[str, str]] = set()
        queue = [artifact]
        while queue:
            current = queue.pop(0)
            if (current.stage, current.key) in seen:
                continue
            seen.add((current.stage, current.key))
            yield current
            queue.extend(self.parent(p) for p in current.parents)

    def parent(self, parent: Parent) -> Artifact:
        """The artefact behind a parent entry.

        Raises:
            ArtifactError: its record is gone.
        """
        artifact = self.load(parent.stage, parent.key)
        if artifact is None:
            raise ArtifactError(
                f"the record of {parent.stage} {parent.digest[:12]} is gone: "
                "headwater run rebuilds it"
            )
        return artifact

    def _commit(self, request: Request, artifact: Artifact, attempt: str) -> Artifact:
        current = self.find(request)
        if current and current.digest == artifact.digest and not self.damage(current):
            shutil.rmtree(artifact.directory)
            return current
        if not self.is_local:
            target = self.place(f"{self._key_path(request.stage, request.key)}/{attempt}")
            for file in artifact.files:
                path = f"{target}/{file.path}"
                self.fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
                self.fs.put_file(str(artifact.directory / file.path), path)
            kept = self.cache / request.stage / request.key[:24] / attempt
            kept.parent.mkdir(parents=True, exist_ok=True)
            artifact = replace(artifact, directory=artifact.directory.rename(kept))
        former = self.load(request.stage, request.key)
        if former and former.digest != artifact.digest:
            reason = f"made again with other content, {artifact.digest[:12]}"
            self.bury(former, Tombstone(_now(), reason, "a run"))
        self._write_record(artifact, attempt)
        return artifact

    def _missing(self, artifact: Artifact) -> list[str]:
        sizes = self._local_sizes if self._is_here(artifact) else self._remote_sizes
        problems = []
        for file, size in zip(artifact.files, sizes(artifact), strict=True):
            if size is None:
                problems.append(f"{artifact.label}: {file.path} is missing")
            elif size != file.bytes:
                problems.append(f"{artifact.label}: {file.path} has {size} bytes, not {file.bytes}")
        return problems

    def _touched(self, artifact: Artifact) -> list[str]:
        """Files written after their record was, whose bytes are not those of the record."""
        if not self.is_local or artifact.stage == EXTERNAL:
            return []
        recorded = Path(self._record_path(artifact.stage, artifact.key)).stat().st_mtime_ns
        return [
            f"{artifact.label}: {file.path} was changed"
            for file in artifact.files
            if (path := artifact.directory / file.path).stat().st_mtime_ns > recorded
            and hash_file(path) != file.sha256
        ]

    def _is_here(self, artifact: Artifact) -> bool:
        return self.is_local or artifact.stage == EXTERNAL

    def _local_sizes(self, artifact: Artifact) -> list[int | None]:
        paths = (artifact.directory / file.path for file in artifact.files)
        return [path.stat().st_size if path.is_file() else None for path in paths]

    def _remote_sizes(self, artifact: Artifact) -> list[int | None]:
        folder = self.place(
            f"{self._key_path(artifact.stage, artifact.key)}/{artifact.directory.name}"
        )
        try:
            listing = self.fs.find(folder, detail=True)
        except FileNotFoundError:
            listing = {}
        sizes = {
            path.rpartition(f"/{artifact.directory.name}/")[2]: info["size"]
            for path, info in listing.items()
        }
        return [sizes.get(file.path) for file in artifact.files]

    def _attempt_directory(self, request: Request, attempt: str) -> Path:
        if self.is_local:
            return self._local_path(request.stage, request.key) / attempt
        return self.cache / "attempts" / attempt

    def _folder(self, record: Mapping[str, Any]) -> Path:
        if record["stage"] == EXTERNAL:
            return Path(record["folder"])
        if self.is_local:
            return self._local_path(record["stage"], record["key"]) / str(record["folder"])
        return self.cache.joinpath(record["stage"], record["key"][:24], record["folder"])

    def _key_path(self, stage: str, key: str) -> str:
        return f"{stage}/{key[:24]}"

    def _local_path(self, stage: str, key: str) -> Path:
        return Path(self.place(self._key_path(stage, key)))

    def _record_path(self, stage: str, key: str) -> str:
        return self.place(f"{self._key_path(stage, key)}/{MANIFEST}")

    def _record(self, stage: str, key: str) -> dict[str, Any] | None:
        record = self.read_json(f"{self._key_path(stage, key)}/{MANIFEST}")
        return None if record is None or shape_flaws(record) else record

    def _write_record(self, artifact: Artifact, folder: str) -> None:
        record = sealed({**to_record(artifact), "folder": folder})
        self.write_json(f"{self._key_path(artifact.stage, artifact.key)}/{MANIFEST}", record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    """A short name of this machine."""
    return fingerprint(uuid.getnode())[:6]
