"""Every record of a store in one SQLite file: what there is, and who was made of whom.

It is derived from the store and may be deleted at any time. Before it answers it catches up: the
folders of the store are listed, and only records that came, changed or went are read.

An edge goes by *content*. A stage result that was reused names in its record the parents it was
made of, and a later run may have made equal ones in another way (a page less, but not in this
shard). What an artefact is made of is the content, so a parent is any artefact of that stage and
shard with that digest; of several one that is no later than the artefact whose lineage is asked
for, that stands for most of it, and of these the latest.
"""

import gc
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pipeline_data.artifact import Artifact, Parent, from_record, to_record
from pipeline_data.errors import ArtifactError
from tasks.claims import claim
from tasks.lineage.catalogue_file import open_file
from tasks.store import EXTERNAL, Store, Tombstone

Told = Callable[[int, int], None]
"""Called with how much is done, and of how much."""

NUM_READERS = 16
DIGEST_CHARACTERS = 6
"""Least characters of a digest that name an artefact."""


@dataclass(frozen=True)
class Row:
    """An artefact as the catalogue has it; ``created`` is empty where the record has no time."""

    id: int
    artifact: Artifact
    created: str
    tombstone: Tombstone | None


@dataclass(frozen=True)
class Lineage:
    """An artefact and all it was made of; the first of ``artifacts`` is the one asked for."""

    artifacts: list[Artifact]
    resolved: Mapping["_Content", Artifact]

    def inputs(self, artifact: Artifact) -> list[tuple[str, Artifact]]:
        """(role, artefact or part) of all that one of them was made of, in the record's order."""
        return _inputs(artifact, self.resolved)


class Catalogue:
    """Answers questions about the artefacts of a store; see :meth:`open`."""

    def __init__(self, store: Store, database: sqlite3.Connection) -> None:
        self.store = store
        self.database = database
        self._rows: dict[int, Row] = {}
        self._row_by_name: dict[tuple[str, str], Row] = {}

    @classmethod
    def open(cls, store: Store, progress: Told | None = None) -> Self:
        """The catalogue of a store, as the store is at this moment.

        Args:
            progress: told how many of the records that must be read were read.
        """
        folder = store.cache / "lineage"
        folder.mkdir(parents=True, exist_ok=True)
        with claim(store.claims, "lineage"):
            catalogue = cls(store, open_file(folder / "catalogue.db", store.root))
            catalogue._catch_up(progress)
        return catalogue

    @property
    def folder(self) -> Path:
        """Where the catalogue and what is built upon it lie."""
        return self.store.cache / "lineage"

    def get(self, stage: str, key: str) -> Artifact | None:
        """The artefact of a key, be it erased, or nothing."""
        row = self._row_of(stage, key)
        return row.artifact if row else None

    def named(self, name: str) -> Artifact:
        """The artefact that a name, ``name@version``, or the start of a digest means.

        Raises:
            ArtifactError: it means nothing, or several artefacts.
        """
        if name.partition("@")[0] in self.store.names():
            version = self.store.registry.find(name)
            rows = self._select("digest = ? AND stage = ?", [version.digest, version.stage])
            if not rows:
                raise ArtifactError(f"the record of '{name}' is gone: headwater run rebuilds it")
            return max(
                rows, key=lambda r: (not r.tombstone, r.artifact.key == version.key)
            ).artifact
        is_hex = len(name) >= DIGEST_CHARACTERS and all(c in "0123456789abcdef" for c in name)
        found = self._select("digest GLOB ? LIMIT 20", [f"{name}*"]) if is_hex else []
        contents = {(row.artifact.stage, row.artifact.digest): row for row in found}
        if not contents:
            self.store.registry.find(name)  # says which names there are
        if len(contents) > 1:
            several = ", ".join(row.artifact.label for row in contents.values())
            raise ArtifactError(f"'{name}' starts several digests ({several}): give more of it")
        return next(iter(contents.values())).artifact

    def inputs(self, artifact: Artifact, as_of: str | None = None) -> list[tuple[str, Artifact]]:
        """(role, artefact or part) of all that an artefact was made of, in the record's order.

        Args:
            as_of: creation time of the artefact whose lineage is walked; this one's if absent.

        Raises:
            ArtifactError: the record of one is gone.
        """
        rows = self._resolve(artifact.parents, _created(artifact) if as_of is None else as_of)
        return _inputs(artifact, {content: row.artifact for content, row in rows.items()})

    def ancestry(self, artifact: Artifact) -> list[Artifact]:
        """The artefact and all it was made of, each once and whole, nearest first.

        Raises:
            ArtifactError: the record of one is gone.
        """
        return self.lineage(artifact).artifacts

    def lineage(self, artifact: Artifact) -> "Lineage":
        """The artefact and all it was made of, with the edges between them.

        Raises:
            ArtifactError: the record of one is gone.
        """
        time = _created(artifact)
        found = {(artifact.stage, artifact.key): artifact}
        resolved: dict[_Content, Artifact] = {}
        level = [artifact]
        while level:
            parents = [parent for child in level for parent in child.parents]
            rows = self._resolve([p for p in parents if _content_of(p) not in resolved], time)
            resolved |= {content: row.artifact for content, row in rows.items()}
            level = []
            for parent in parents:
                made = resolved[_content_of(parent)]
                if (made.stage, made.key) not in found:
                    found[made.stage, made.key] = made
                    level.append(made)
        return Lineage(list(found.values()), resolved)

    def children(self, artifact: Artifact) -> list[Artifact]:
        """What was made of an artefact, or of one of its parts; of a part, of that part alone."""
        return [row.artifact for row in self._children([artifact])]

    def descendants(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """All that was made of these artefacts, and of what was made of them; nearest first."""
        level = list(artifacts)
        seen = {(a.stage, a.key) for a in level}
        found: list[Artifact] = []
        while level:
            below = {(r.artifact.stage, r.artifact.key): r.artifact for r in self._children(level)}
            level = [made for name, made in below.items() if name not in seen]
            seen |= below.keys()
            found += level
        return found

    def of_stage(self, stage: str) -> list[Artifact]:
        """All artefacts of a stage, erased ones too, in the order the catalogue met them."""
        return [row.artifact for row in self._select("stage = ? ORDER BY id", [stage])]

    def erasure(self, artifact: Artifact) -> Tombstone | None:
        """Why the files of an artefact were erased, if they were."""
        row = self._row_of(artifact.stage, artifact.key)
        return row.tombstone if row else None

    def erasures(self) -> list[tuple[Artifact, Tombstone]]:
        """All artefacts whose files were erased."""
        rows = self._select("tombstone IS NOT NULL ORDER BY id", [])
        return [(row.artifact, row.tombstone) for row in rows if row.tombstone]

    def created(self, artifact: Artifact) -> str:
        """When an artefact was made (ISO 8601), or nothing where its record has no time."""
        return _created(artifact)

    def rows(self, ids: Iterable[int]) -> dict[int, Row]:
        """Artefacts by number, in their order; those gone from the store are left out."""
        wanted = list(ids)
        unknown = [number for number in wanted if number not in self._rows]
        with _no_collection():
            for start in range(0, len(unknown), 500):
                some = unknown[start : start + 500]
                marks = ", ".join("?" * len(some))
                self._select(f"id IN ({marks})", some)
        return {number: self._rows[number] for number in wanted if number in self._rows}

    def _row_of(self, stage: str, key: str) -> Row | None:
        name = (stage, key[:24])
        if name not in self._row_by_name:
            self._select("stage = ? AND folder = ?", name)
        return self._row_by_name.get(name)

    def _select(self, condition: str, values: Sequence[Any]) -> list[Row]:
        query = f"SELECT {_COLUMNS} FROM artifact WHERE {condition}"
        return [self._to_row(found) for found in self.database.execute(query, values)]

    def _to_row(self, values: Sequence[Any]) -> Row:
        number, created, directory, record, tombstone = values
        if number not in self._rows:
            artifact = from_record(json.loads(record), Path(directory))
            erased = Tombstone(**json.loads(tombstone)) if tombstone else None
            row = Row(number, artifact, created, erased)
            self._rows[number] = self._row_by_name[artifact.stage, artifact.key[:24]] = row
        return self._rows[number]

    def _resolve(self, parents: Sequence[Parent], time: str) -> dict["_Content", Row]:
        """The artefact that stands for each content."""
        by_content = {_content_of(parent): parent for parent in parents}
        numbers: dict[_Content, list[int]] = {}
        query = "digest, stage, shard, artifact FROM wanted CROSS JOIN content USING"
        for *content, number in self._join(query, by_content):
            numbers.setdefault(tuple(content), []).append(number)
        coverage = Counter(number for found in numbers.values() for number in found)
        self.rows(coverage)
        resolved = {}
        for content, parent in by_content.items():
            rows = [self._rows[number] for number in numbers.get(content, ())]
            if not rows:
                raise ArtifactError(
                    f"the record of {parent.stage} {parent.digest[:12]} is gone: "
                    "headwater run rebuilds it"
                )
            best = rows[0]
            for row in rows[1:]:
                if _rank(row, parent, time, coverage) > _rank(best, parent, time, coverage):
                    best = row
            resolved[content] = best
        return resolved

    def _children(self, artifacts: Sequence[Artifact]) -> list[Row]:
        contents: set[_Content] = set()
        for artifact in artifacts:
            shard = artifact.shard or ""
            contents.add((artifact.digest, artifact.stage, shard))
            contents |= {(d, artifact.stage, part) for part, d in artifact.parts.items()}
        found = self._join("DISTINCT child FROM wanted CROSS JOIN edge USING", contents)
        return list(self.rows(sorted(row[0] for row in found)).values())

    def _join(self, query: str, contents: Iterable["_Content"]) -> sqlite3.Cursor:
        """Select from a table joined with contents.

        Each content is looked up (CROSS JOIN keeps SQLite to that order), so that what does not
        match costs nothing.
        """
        wanted = (
            "SELECT value ->> 0 AS digest, value ->> 1 AS stage, value ->> 2 AS shard "
            "FROM json_each(?)"
        )
        return self.database.execute(
            f"WITH wanted AS MATERIALIZED ({wanted}) SELECT {query} (digest, stage, shard)",
            [json.dumps(list(contents))],
        )

    def _catch_up(self, progress: Told | None) -> None:
        known = {
            (stage, folder): (number, stamp)
            for number, stage, folder, stamp in self.database.execute(
                "SELECT id, stage, folder, stamp FROM artifact"
            )
        }
        stamps = {(stage, folder): stamp for stage, folder, stamp in self.store.records()}
        changed = [n for n, stamp in stamps.items() if n not in known or known[n][1] != stamp]
        gone = [
            known[name][0] for name in [*(known.keys() - stamps.keys()), *changed] if name in known
        ]
        with self.database:
            for number in gone:
                for table, column in _HOLDERS:
                    self.database.execute(f"DELETE FROM {table} WHERE {column} = ?", [number])
            for done, (name, found) in enumerate(self._read(changed), 1):
                if progress:
                    progress(done, len(changed))
                if found:
                    self._insert(name, stamps[name], *found)

    def _read(
        self, names: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], tuple[Artifact, Tombstone | None] | None]]:
        def read(name: tuple[str, str]) -> tuple[Artifact, Tombstone | None] | None:
            live = self.store.load(*name)
            return (live, None) if live else self.store.erased(*name)

        with ThreadPoolExecutor(1 if self.store.is_local else NUM_READERS) as readers:
            yield from zip(names, readers.map(read, names), strict=True)

    def _insert(
        self, name: tuple[str, str], stamp: str, artifact: Artifact, tombstone: Tombstone | None
    ) -> None:
        shard = artifact.shard or ""
        record = json.dumps(to_record(artifact), ensure_ascii=False)
        erased = json.dumps(asdict(tombstone)) if tombstone else None
        number = self.database.execute(
            "INSERT INTO artifact (stage, folder, key, digest, shard, created, stamp, directory, "
            "record, tombstone) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [*name, artifact.key, artifact.digest, shard, _created(artifact), stamp,
             str(artifact.directory), record, erased],
        ).lastrowid  # fmt: skip
        contents = {(artifact.digest, shard), *((d, part) for part, d in artifact.parts.items())}
        self.database.executemany(
            "INSERT INTO content VALUES (?, ?, ?, ?)",
            [(digest, artifact.stage, part, number) for digest, part in contents],
        )
        self.database.executemany(
            "INSERT INTO edge VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, position, p.role, p.digest, p.stage, p.shard or "", p.key)
                for position, p in enumerate(artifact.parents)
            ],
        )


_Content = tuple[str, str, str]
"""Digest, stage and shard: what an edge goes by."""
_COLUMNS = "artifact.id, artifact.created, artifact.directory, artifact.record, artifact.tombstone"
_HOLDERS = (("edge", "child"), ("content", "artifact"), ("indexed", "artifact"), ("artifact", "id"))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python looks for no garbage: all that is made here stays, and looking doubles the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _inputs(
    artifact: Artifact, resolved: Mapping[_Content, Artifact]
) -> list[tuple[str, Artifact]]:
    found = []
    for parent in artifact.parents:
        whole = resolved[_content_of(parent)]
        is_part = parent.shard in whole.parts
        found.append((parent.role, whole.part(parent.shard or "") if is_part else whole))
    return found


def _content_of(parent: Parent) -> _Content:
    return (parent.digest, parent.stage, parent.shard or "")


def _created(artifact: Artifact) -> str:
    return str(artifact.facts.get("created", ""))


def _rank(
    row: Row, parent: Parent, time: str, coverage: Mapping[int, int]
) -> tuple[bool, bool, int, str, bool]:
    """Of equal contents: one that is there, no later than ``time``, that stands for most of what is
    asked for, the latest, the one named.

    A file that lies where its owner put it is always the one named.
    """
    is_named = row.artifact.key == parent.key
    in_time = is_named if parent.stage == EXTERNAL else row.created <= time
    created = row.created if in_time else ""
    return (row.tombstone is None, in_time, coverage[row.id], created, is_named)
