"""Erases what a store holds of forgotten pages, and leaves tombstones that keep the history.

Three things hold a page's bytes. The *raw shard* it came in: its artefact keeps its key and gets a
new content without the page; its former content stands in the store as an erased artefact under a
key of its own, so that whatever was made of it can still be traced. The *results made of it*:
extraction is asked again, and those of the former content are erased, models included. And what is
*left over* of attempts that were killed.

What is made of what goes by content. So a result is erased only if there is no way left to make it
of contents without the page.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.errors import ArtifactError
from pipeline_data.sources.crawl import SITE
from pipeline_data.sources.raw.reader import RECORDS
from pipeline_data.sources.raw.redaction import RedactedRecord, Unwanted, find_records, redact_raw
from pipeline_data.sources.settings import ReaderConfig
from pipeline_data.sources.warc_shards import PAGES
from tasks.lineage.catalogue import Catalogue
from tasks.stages import STAGES
from tasks.store import EXTERNAL, Request, Store, Tombstone

REDACTABLE = ("crawl", "ingest", "dataset", "curriculum", "fetch")
"""The stages whose artefacts are raw shards of the store's own."""
UNREAD: Mapping[str, tuple[Literal["crawl", "records"], str]] = {
    "crawl": ("crawl", PAGES),
    **dict.fromkeys(("ingest", "dataset", "curriculum"), ("records", RECORDS)),
}
"""How the shards of a stage are read, and the file that each has."""
COPIES = "redact"
"""The stage whose artefacts are raw shards of others without what was forgotten before."""
SOURCES_OF_RAW = ("site", "package", "folder")
"""The inputs from which a raw shard of the store's own was made; they stand for the world."""
REDACTIONS = "redactions"
Key = tuple[str, str]


@dataclass(frozen=True)
class Left:
    """A place outside the store's own contents that still holds a page.

    Attributes:
        place: path of a file, or address of a remote one.
        offset: byte, row or line; ``None`` where it is not known.
    """

    place: str
    url: str
    offset: int | None


@dataclass(frozen=True)
class RawShard:
    """A raw shard that extraction read: as an artefact or a part, and how it was read."""

    name: str
    raw: Artifact
    reader: ReaderConfig

    @property
    def is_stored(self) -> bool:
        """Whether it is the store's own."""
        return self.raw.stage in REDACTABLE


def raw_shards(catalogue: Catalogue, holders: Iterable[Artifact]) -> list[RawShard]:
    """The raw shards that extracted documents were read from, as far as they are there."""
    found: dict[tuple[str, str, str | None], RawShard] = {}
    for artifact in holders:
        if artifact.stage != "extract":
            continue
        reader = ReaderConfig.model_validate(artifact.config["reader"])
        for role, raw in catalogue.inputs(artifact):
            if role == "raw" and catalogue.erasure(raw) is None:
                name = (raw.stage, raw.key, raw.shard)
                found[name] = RawShard(artifact.shard or "", raw, reader)
    return list(found.values())


def unread_shards(catalogue: Catalogue) -> list[RawShard]:
    """Raw shards of the store's own that nothing was extracted from, after a run that was stopped.

    No index knows what is in them. Fetched files are not among them: how one is read stands in the
    config of its extraction alone.
    """
    found = []
    for stage, (record_format, file) in UNREAD.items():
        for artifact in catalogue.of_stage(stage):
            if catalogue.erasure(artifact) is not None:
                continue
            live = [a for a in catalogue.children(artifact) if catalogue.erasure(a) is None]
            read = {p.digest for a in live if a.stage == "extract" for p in a.parents}
            found += [
                RawShard(part, artifact.part(part), ReaderConfig(format=record_format))
                for part, digest in artifact.parts.items()
                if digest not in read and any(f.path == f"{part}/{file}" for f in artifact.files)
            ]
    return found


def redact_stored(
    catalogue: Catalogue, shards: Sequence[RawShard], is_unwanted: Unwanted, tombstone: Tombstone
) -> list[RedactedRecord]:
    """Take the unwanted records out of the store's own raw shards.

    Stopped at any point, it can be done again: what was redacted is found so and left as it is.
    """
    whole: dict[Key, list[RawShard]] = {}
    for shard in shards:
        if shard.is_stored:
            whole.setdefault(_key(shard.raw), []).append(shard)
    redacted: list[RedactedRecord] = []
    for (stage, key), group in whole.items():
        artifact = catalogue.store.load(stage, key)
        if artifact is not None:
            local = catalogue.store.fetch(artifact)
            readers = {s.raw.shard if s.raw.shard in local.parts else None: s.reader for s in group}
            redacted += _redact(catalogue.store, local, readers, is_unwanted, tombstone)
    return redacted


def _redact(
    store: Store,
    artifact: Artifact,
    readers: Mapping[str | None, ReaderConfig],
    is_unwanted: Unwanted,
    tombstone: Tombstone,
) -> list[RedactedRecord]:
    """Give an artefact a new content without the unwanted records of some of its shards."""
    request = Request(
        artifact.stage,
        artifact.version,
        artifact.config,
        artifact.parents,
        artifact.shard,
        bool(artifact.parts),
    )
    assert request.key == artifact.key, "a record determines its key"
    parts = {part: artifact.part(part) if part else artifact for part in readers}
    if not any(_holds(raw, readers[part], is_unwanted) for part, raw in parts.items()):
        _remove_attempts(store, artifact)
        return []
    redacted: list[RedactedRecord] = []
    facts = dict(artifact.facts)

    def write(out: Path) -> Counts:
        for part, raw in parts.items():
            target = out / part if part else out
            target.mkdir(parents=True, exist_ok=True)
            redacted.extend(redact_raw(raw, readers[part], is_unwanted, target))
        for file in artifact.files:
            if not (out / file.path).exists():
                _link(artifact.path(file.path), out / file.path)
        note = {
            "date": tombstone.date,
            "reason": tombstone.reason,
            "digest_before": artifact.digest,
            "num_records": len(redacted),
            "url_sha256": sorted({_hash(record.url) for record in redacted}),
        }
        facts[REDACTIONS] = [*facts.get(REDACTIONS, ()), note]
        facts["created"] = tombstone.date
        return dict(artifact.counts)

    store.bury(artifact, tombstone)
    made = store.produce(request, write, facts)
    if made.digest == artifact.digest:
        raise ArtifactError(f"{artifact.label}: its records could not be taken out")
    _remove_attempts(store, made)
    return redacted


def _holds(raw: Artifact, reader: ReaderConfig, is_unwanted: Unwanted) -> bool:
    return next(find_records(raw, reader, is_unwanted), None) is not None


def _remove_attempts(store: Store, artifact: Artifact) -> None:
    """Delete all files of an artefact but those that its record names."""
    kept = artifact.directory.name
    _remove_folders(store, artifact.stage, artifact.key[:24], kept)
    for copy in () if store.is_local else artifact.directory.parent.glob("*"):
        if copy.name != kept:
            shutil.rmtree(copy, ignore_errors=True)


def _remove_folders(store: Store, stage: str, folder: str, kept: str | None) -> int:
    """Delete the attempts at an artefact but the one that is kept; returns of how many."""
    found = store.fs.ls(f"{store.root}/{stage}/{folder}", detail=True)
    paths = [entry["name"] for entry in found if entry["type"] == "directory"]
    gone = [path for path in paths if PurePosixPath(path).name != kept]
    for path in gone:
        store.fs.rm(path, recursive=True)
    return len(gone)


def remove_leftovers(store: Store) -> int:
    """Delete the files of attempts that no record names; returns of how many.

    For when nothing is being made in this store: an attempt under way looks the same.
    """
    num_removed = 0
    for stage, folder, _ in list(store.records()):
        recorded = store.load(stage, folder)
        kept = recorded.directory.name if recorded else None
        num_removed += _remove_folders(store, stage, folder, kept)
    return num_removed


def find_tainted(catalogue: Catalogue, holders: Iterable[Artifact]) -> list[Artifact]:
    """The live results that cannot be made without these ones, themselves included.

    Measures are left out, as they hold numbers and a few answers, and are what a model that is gone
    is remembered by.
    """
    live: dict[Key, Artifact] = {}
    by_content: dict[tuple[str, str, str], list[Artifact | None]] = {}
    for stage in (*STAGES, EXTERNAL):
        for artifact in catalogue.of_stage(stage):
            gone = catalogue.erasure(artifact) is not None
            if not gone:
                live[_key(artifact)] = artifact
            contents = {(artifact.shard or "", artifact.digest), *artifact.parts.items()}
            for shard, digest in contents:
                place = by_content.setdefault((stage, shard, digest), [])
                place.append(None if gone else artifact)
    tainted = {_key(holder): True for holder in holders}

    def is_tainted(artifact: Artifact | None) -> bool:
        if artifact is None:
            return True
        key = _key(artifact)
        if key not in tainted:
            made_of = (by_content.get((p.stage, p.shard or "", p.digest)) for p in artifact.parents)
            tainted[key] = any(
                equals is not None and all(is_tainted(equal) for equal in equals)
                for equals in made_of
            )
        return tainted[key]

    return [
        artifact
        for artifact in live.values()
        if is_tainted(artifact)
        and artifact.stage != EXTERNAL
        and (artifact.stage not in STAGES or not STAGES[artifact.stage].measures)
    ]


def find_left(
    catalogue: Catalogue, shards: Iterable[RawShard], is_unwanted: Unwanted | None
) -> Iterator[Left]:
    """Where the pages still lie outside the store's own contents, for the user to decide about.

    Args:
        is_unwanted: by address; ``None`` for whole raw files, of which only the place is told.
    """
    for shard in shards:
        whole = catalogue.get(shard.raw.stage, shard.raw.key)
        made_of = catalogue.inputs(whole) if whole else []
        raw = next((made for role, made in made_of if role == "raw"), shard.raw)
        if is_unwanted is None:
            yield Left(_place(raw), "", None)
            continue
        for record in find_records(raw, shard.reader, is_unwanted):
            if raw.stage in (EXTERNAL, "fetch"):
                yield Left(_place(raw), record.url, record.offset)
            for role, source in made_of:
                if role in SOURCES_OF_RAW:
                    yield Left(_place_within(role, source, record.url), record.url, None)


def _place(raw: Artifact) -> str:
    """Where a raw file came from."""
    address = raw.config.get("url")
    return str(address or raw.directory / raw.files[0].path)


def _place_within(role: str, source: Artifact, url: str) -> str:
    """The file of a page on a practice site; the file or folder of anything else."""
    if role != "site":
        return str(source.directory if len(source.files) > 1 else _place(source))
    parts = urlsplit(url)
    page = source.directory / SITE / parts.netloc / (parts.path.lstrip("/") or "index.html")
    return str(page if page.is_file() else source.directory / SITE)


def _link(path: Path, target: Path) -> None:
    """The same file in another folder, as a copy where it must be one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()


def _key(artifact: Artifact) -> Key:
    return (artifact.stage, artifact.key)
