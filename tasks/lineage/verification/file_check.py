"""Compares every byte of files with their records, as many at once as there are cores."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline_data.artifact import Artifact, FileRecord
from tasks.lineage.verification.finding import RERUN, Finding
from tasks.store import EXTERNAL, Store

Told = Callable[[int, int], None]
"""Called with the bytes that were read, and those there are to read."""

BLOCK = 1 << 20
BATCH_BYTES, BATCH_FILES = 8 << 20, 64
NUM_REMOTE_READERS = 16
MEND = f"put a copy of it back, or {RERUN}"
MEND_RAW = (
    "it is a raw file of your own and there is no copy of it here: put it back as it was, or "
    "'headwater run' makes a model of what is there"
)


@dataclass(frozen=True)
class Place:
    """Files that are to lie in a folder.

    Attributes:
        subject: what they belong to.
        mend: what to do about one that is not as recorded.
        fs: the fsspec file system of the folder; this machine's own files if absent.
        shared: the folder may hold other files, too.
    """

    subject: str
    folder: str
    files: Sequence[FileRecord]
    mend: str
    fs: Any = None
    shared: bool = False


def place_of(store: Store, artifact: Artifact) -> Place:
    """Where an artefact's own files lie; never a copy of them."""
    if artifact.stage == EXTERNAL:
        folder = str(artifact.directory)
        return Place(artifact.label, folder, artifact.files, MEND_RAW, shared=True)
    if store.is_local:
        return Place(artifact.label, str(artifact.directory), artifact.files, MEND)
    folder = store.place(f"{artifact.stage}/{artifact.key[:24]}/{artifact.directory.name}")
    return Place(artifact.label, folder, artifact.files, MEND, store.fs)


def check_files(places: Sequence[Place], told: Told | None = None) -> list[Finding]:
    """What is missing, changed, or there without being recorded, in the order of the places.

    Args:
        told: told of the bytes that were read, from several threads, one at a time.
    """
    is_remote = any(place.fs for place in places)
    with ThreadPoolExecutor(NUM_REMOTE_READERS if is_remote else os.cpu_count()) as readers:
        listings = readers.map(_list_sizes, places) if is_remote else map(_list_sizes, places)
        found: list[tuple[int, Finding]] = []
        readable: list[tuple[int, FileRecord]] = []
        for number, (place, sizes) in enumerate(zip(places, listings, strict=True)):
            found += [(number, finding) for finding in _compare_sizes(place, sizes)]
            same = [file for file in place.files if sizes.get(file.path) == file.bytes]
            readable += [(number, file) for file in same]
        count = _Count(sum(file.bytes for _, file in readable), told)

        def read(batch: Sequence[tuple[int, FileRecord]]) -> list[tuple[int, Finding]]:
            compared = ((n, _compare_hash(places[n], file, count)) for n, file in batch)
            return [(number, finding) for number, finding in compared if finding]

        for wrong in readers.map(read, _in_batches(readable)):
            found += wrong
    return [finding for _, finding in sorted(found, key=lambda entry: (entry[0], entry[1].what))]


def _in_batches(
    files: Sequence[tuple[int, FileRecord]],
) -> Iterator[list[tuple[int, FileRecord]]]:
    """Work for one thread at a time: large files first, or one comes last and alone."""
    batch: list[tuple[int, FileRecord]] = []
    num_bytes = 0
    for entry in sorted(files, key=lambda entry: -entry[1].bytes):
        batch.append(entry)
        num_bytes += entry[1].bytes
        if num_bytes >= BATCH_BYTES or len(batch) == BATCH_FILES:
            yield batch
            batch, num_bytes = [], 0
    yield batch


class _Count:
    """The bytes that all threads have read."""

    def __init__(self, total: int, told: Told | None) -> None:
        self.total, self.told, self.done, self.lock = total, told, 0, Lock()

    def add(self, num_bytes: int) -> None:
        with self.lock:
            self.done += num_bytes
            if self.told:
                self.told(self.done, self.total)


def _compare_hash(place: Place, file: FileRecord, count: _Count) -> Finding | None:
    path = f"{place.folder}/{file.path}"
    try:
        sha256 = _hash(place, path, min(file.bytes, BLOCK), count)
    except OSError as error:
        what = f"{file.path} cannot be read ({error.strerror or error})"
        return Finding("file-unreadable", place.subject, what, path, place.mend)
    if sha256 == file.sha256:
        return None
    what = f"{file.path} does not match its SHA-256"
    return Finding("file-changed", place.subject, what, path, place.mend)


def _hash(place: Place, path: str, block_size: int, count: _Count) -> str:
    digest = hashlib.sha256()
    block = memoryview(bytearray(block_size))
    with place.fs.open(path) if place.fs else Path(path).open("rb", 0) as handle:
        while num_read := handle.readinto(block):
            digest.update(block[:num_read])
            count.add(num_read)
    return digest.hexdigest()


def _compare_sizes(place: Place, sizes: Mapping[str, int]) -> Iterator[Finding]:
    for file in place.files:
        path = f"{place.folder}/{file.path}"
        size = sizes.get(file.path)
        if size is None:
            what = f"{file.path} is missing"
            yield Finding("file-missing", place.subject, what, path, place.mend)
        elif size != file.bytes:
            what = f"{file.path} has {size:,} bytes, not {file.bytes:,}"
            yield Finding("file-changed", place.subject, what, path, place.mend)
    for name in sizes.keys() - {file.path for file in place.files}:
        what = f"{name} is there and not on record"
        mend = "see where it came from, and delete it"
        yield Finding("file-unrecorded", place.subject, what, f"{place.folder}/{name}", mend)


def _list_sizes(place: Place) -> dict[str, int]:
    """The files in a place, by path below it; where others may lie, too, those recorded."""
    if place.shared:
        paths = {file.path: Path(place.folder, file.path) for file in place.files}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    if place.fs is None:
        return dict(_walk(place.folder, ""))
    place.fs.invalidate_cache(place.folder)
    try:
        listing = place.fs.find(place.folder, detail=True)
    except FileNotFoundError:
        return {}
    start = f"{place.folder.strip('/')}/"
    return {path.strip("/").removeprefix(start): info["size"] for path, info in listing.items()}


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield f"{prefix}{entry.name}", entry.stat().st_size
