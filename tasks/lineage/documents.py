"""Which artefact holds which document: sorted Parquet files that DuckDB prunes by row group.

    documents/<segment>.parquet   document, artifact, num_tokens     sorted by document
    hosts/<segment>.parquet       host, artifact, num_documents, num_tokens     sorted by host
    pages/<segment>.parquet       host, artifact, document     sorted by host

A document is the number that its id is in hexadecimal. Since an id is a hash of source and URL,
a URL is looked up by the ids that it has in each source of the store. A host is written from its
end (``org.example.docs``), so that a domain with all its subdomains is one range. Pages are those
that a training can have read: documents of token shards, and records.

Each time an index is opened, what the store has gained is added as one more segment; many
segments are merged to one, which leaves out what the store has lost. Like the
catalogue that it stands upon, it can be deleted at any time.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from pipeline_data.artifact import PROVENANCE, Artifact
from pipeline_data.formats import document_id
from tasks.claims import claim
from tasks.lineage.catalogue import Catalogue, Told
from tasks.lineage.query import MEMORY, ask, ask_table

Found = TypeVar("Found")
File = tuple[str, str, int]
"""How a file is read, its path, and the number of the artefact that it belongs to."""
MAX_SEGMENTS = 8
ROW_GROUP_ROWS = 65_536
POLL_SECONDS = 0.5
POLL_SECONDS = 0.5
EXERCISES = "curriculum"
"""The source of the records that alignment learns from."""
FILES = {
    "extract": {"documents.parquet": "documents", "dropped.parquet": "dropped"},
    "tokenize": {"tokens.parquet": "tokens"},
}
"""The stages whose artefacts hold documents, in which files, and how these are read."""
ORDERS = f"{PROVENANCE}/orders"
"""Where training stages write what each step saw; the records of some are named there alone."""
HOST = "lower(split_part(split_part(split_part(url, '/', 3), '@', -1), ':', 1))"
REVERSED = f"array_to_string(list_reverse(string_split({HOST}, '.')), '.')"
NUMBER = "('0x' || doc_id)::UBIGINT"
READ = {
    "documents": f"SELECT {NUMBER} AS document, {{host}} AS host, NULL::BIGINT AS num_tokens, "
    "artifact FROM {files} WHERE length(doc_id) = 16",
    "tokens": f"SELECT {NUMBER} AS document, {{host}} AS host, num_tokens, artifact FROM {{files}}",
    "records": "SELECT document, any_value({host}) AS host, max(num_tokens) AS num_tokens, "
    "artifact FROM {files} GROUP BY document, artifact",
    "dropped": f"SELECT {NUMBER} AS document, any_value({{host}}) AS host, "
    "NULL::BIGINT AS num_tokens, artifact FROM {files} WHERE length(doc_id) = 16 "
    "GROUP BY document, artifact",
}
"""How each kind of file is read: each document of an artefact once."""
WRITE = {
    "documents": "SELECT document, artifact, num_tokens FROM held ORDER BY document, artifact",
    "hosts": "SELECT host, artifact, count(*) AS num_documents, "
    "coalesce(sum(num_tokens), 0)::BIGINT AS num_tokens FROM held "
    "GROUP BY host, artifact ORDER BY host, artifact",
    "pages": "SELECT host, artifact, document FROM held WHERE num_tokens IS NOT NULL "
    "ORDER BY host, artifact, document",
}
MERGE = "SELECT * FROM {files} WHERE artifact IN (SELECT artifact FROM known) ORDER BY ALL"
WITHIN = "(host = $first OR (host >= $first || '.' AND host < $first || '/'))"
"""Of a domain, written from its end."""


@dataclass(frozen=True)
class Place:
    """A document in an artefact; no tokens where it was not tokenized."""

    artifact: Artifact
    doc_id: str
    num_tokens: int | None


@dataclass(frozen=True)
class HostPlace:
    """The documents of one host in an artefact."""

    artifact: Artifact
    host: str
    num_documents: int
    num_tokens: int


class DocumentIndex:
    """Answers where documents are; see :meth:`open`."""

    def __init__(self, catalogue: Catalogue, progress: Told | None = None) -> None:
        self.catalogue = catalogue
        self.progress = progress

    @classmethod
    def open(cls, catalogue: Catalogue, progress: Told | None = None) -> Self:
        """The index of all that the catalogue knows; what it lacks is read first.

        Args:
            progress: told how much of that is read, in percent.
        """
        index = cls(catalogue, progress)
        if index._missing():
            with claim(catalogue.store.claims, "lineage-documents"):
                index._add()
        return index

    def sources(self) -> list[str]:
        """The names of all sources that a document in the store may have."""
        query = (
            "SELECT DISTINCT json_extract(record, '$.config.source') AS source FROM artifact "
            "WHERE stage = 'extract' AND source IS NOT NULL"
        )
        named = {str(row[0]) for row in self.catalogue.database.execute(query)}
        return sorted({*named, EXERCISES})

    def find_url(self, url: str) -> list[Place]:
        """Where the documents of a URL are, as it is spelt in the corpus."""
        return self._find([document_id(source, url) for source in self.sources()])

    def find_document(self, doc_id: str) -> list[Place]:
        """Where a document is."""
        return self._find([doc_id])

    def find_documents(self, doc_ids: Sequence[str]) -> list[Place]:
        """Where any of some documents are."""
        return self._find(doc_ids) if doc_ids else []

    def find_domain(self, domain: str) -> list[HostPlace]:
        """The documents of a host and of all its subdomains, summed up by host and artefact."""
        query = (
            "SELECT host, artifact, num_documents, num_tokens FROM read_parquet($files) "
            f"WHERE {WITHIN} ORDER BY host, artifact"
        )
        rows = self._query(ask, query, "hosts", {"first": _from_end(domain)}) or []
        known = self._known(row[1] for row in rows)
        return [
            HostPlace(known[number], _from_end(host), documents, n)
            for host, number, documents, n in rows
            if number in known
        ]

    def find_domain_documents(self, domain: str) -> pa.Array:
        """The documents of a host and its subdomains that a training may have read (uint64)."""
        query = f"SELECT DISTINCT document FROM read_parquet($files) WHERE {WITHIN}"
        found = self._query(ask_table, query, "pages", {"first": _from_end(domain)})
        return found["document"].combine_chunks() if found else pa.array([], pa.uint64())

    def _find(self, doc_ids: Sequence[str]) -> list[Place]:
        numbers = [int(doc_id, 16) for doc_id in doc_ids]
        marks = ", ".join(f"{number}::UBIGINT" for number in numbers)
        query = (
            "SELECT document, artifact, num_tokens FROM read_parquet($files) "
            f"WHERE document IN ({marks}) ORDER BY artifact, document"
        )
        rows = self._query(ask, query, "documents", {}) or []
        known = self._known(row[1] for row in rows)
        return [
            Place(known[number], f"{document:016x}", num_tokens)
            for document, number, num_tokens in rows
            if number in known
        ]

    def _known(self, numbers: Iterable[int]) -> dict[int, Artifact]:
        """Those of these artefacts whose files are there."""
        rows = self.catalogue.rows(numbers)
        return {number: row.artifact for number, row in rows.items() if not row.tombstone}

    def _query(
        self, run: Callable[..., Found], query: str, kind: str, values: Mapping[str, Any]
    ) -> Found | None:
        """The answer from all segments; nothing when there are none."""
        while files := self._files(kind):
            try:
                return run(query, {"files": [str(path) for path in files], **values})
            except duckdb.IOException:
                if files == self._files(kind):
                    raise  # else another process has merged some meanwhile
        return None

    def _files(self, kind: str) -> list[Path]:
        return [self._path(kind, segment) for segment in self._segments()]

    def _path(self, kind: str, segment: str) -> Path:
        return self.catalogue.folder / kind / f"{segment}.parquet"

    def _segments(self) -> list[str]:
        query = "SELECT DISTINCT segment FROM indexed WHERE segment <> '' ORDER BY segment"
        return [row[0] for row in self.catalogue.database.execute(query)]

    def _missing(self) -> list[int]:
        """The artefacts that no segment speaks of."""
        query = (
            "SELECT id FROM artifact WHERE tombstone IS NULL "
            "AND id NOT IN (SELECT artifact FROM indexed) ORDER BY id"
        )
        return [row[0] for row in self.catalogue.database.execute(query)]

    def _add(self) -> None:
        """Read what is missing into one more segment."""
        missing = self._missing()
        files = list(self._list_files(missing))
        segment = uuid.uuid4().hex[:12] if files else ""
        if files:
            with self._open_builder() as builder:
                _hold(builder, files)
                self._write(builder, segment, WRITE)
        with self.catalogue.database as catalogue:
            rows = [(number, segment) for number in missing]
            catalogue.executemany("INSERT INTO indexed VALUES (?, ?)", rows)
        if len(self._segments()) > MAX_SEGMENTS:
            self._merge()
        self._sweep()

    def _list_files(self, missing: Sequence[int]) -> Iterator[File]:
        """The files of artefacts that hold documents."""
        query = "SELECT id FROM artifact WHERE stage IN (?, ?) OR instr(record, ?)"
        holders = self.catalogue.database.execute(query, [*FILES, f'"{ORDERS}/'])
        wanted = {row[0] for row in holders}.intersection(missing)
        for number, row in sorted(self.catalogue.rows(wanted).items()):
            for kind, path in _document_files(self.catalogue, row.artifact):
                yield kind, str(path), number

    @contextmanager
    def _open_builder(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A database that may use the disk for what does not fit into memory."""
        with TemporaryDirectory(dir=self.catalogue.folder, prefix="building-") as folder:
            config = {"memory_limit": MEMORY, "temp_directory": folder}
            with duckdb.connect(config=config) as builder:
                yield builder

    def _write(
        self, builder: duckdb.DuckDBPyConnection, segment: str, queries: Mapping[str, str]
    ) -> None:
        for number, (kind, query) in enumerate(queries.items()):
            path = self._path(kind, segment)
            path.parent.mkdir(parents=True, exist_ok=True)
            copy = (
                f"COPY ({query}) TO '{path}' "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
            )
            with ThreadPoolExecutor(1) as writer:
                written = writer.submit(builder.execute, copy)
                while not wait([written], POLL_SECONDS).done:
                    self._tell(number + max(0.0, builder.query_progress()) / 100, len(queries))
                written.result()
            self._tell(number + 1, len(queries))

    def _tell(self, done: float, total: int) -> None:
        if self.progress:
            self.progress(round(100 * done / total), 100)

    def _merge(self) -> None:
        """Make one segment of the small ones: each that is no larger than those before it."""
        sizes = {s: self._path("documents", s).stat().st_size for s in self._segments()}
        ascending = sorted(sizes, key=lambda s: sizes[s])
        merged = ascending[:2]
        for segment in ascending[2:]:
            if sizes[segment] <= sum(sizes[s] for s in merged):
                merged.append(segment)
        marks = ", ".join("?" * len(merged))
        query = (
            "SELECT artifact FROM indexed JOIN artifact ON artifact.id = indexed.artifact "
            f"WHERE segment IN ({marks}) AND tombstone IS NULL"
        )
        known = [row[0] for row in self.catalogue.database.execute(query, merged)]
        whole = uuid.uuid4().hex[:12]
        with self._open_builder() as builder:
            builder.register("known", pa.table({"artifact": pa.array(known, pa.int64())}))
            files = {kind: [str(self._path(kind, s)) for s in merged] for kind in WRITE}
            queries = {k: MERGE.format(files=f"read_parquet({f})") for k, f in files.items()}
            self._write(builder, whole, queries)
        with self.catalogue.database as catalogue:
            catalogue.execute(
                f"UPDATE indexed SET segment = ? WHERE segment IN ({marks})", [whole, *merged]
            )

    def _sweep(self) -> None:
        """Delete the files of no segment: merged ones, and those of a catalogue that was lost."""
        named = {path for kind in WRITE for path in self._files(kind)}
        for kind in WRITE:
            for path in self.catalogue.folder.glob(f"{kind}/*"):
                if path not in named:
                    path.unlink()


def _hold(builder: duckdb.DuckDBPyConnection, files: Sequence[File]) -> None:
    """Make the view ``held`` of the documents of all these files, each once an artefact."""
    names = {"filename": [path for _, path, _ in files], "artifact": [n for *_, n in files]}
    builder.register("names", pa.table(names))
    parts = {}
    for kind, query in READ.items():
        paths = [path for k, path, _ in files if k == kind]
        rows = f"read_parquet({paths!r}, filename = true) JOIN names USING (filename)"
        if paths:
            parts[kind] = query.format(files=rows, host=REVERSED)
    if {"documents", "dropped"} <= parts.keys():  # a page may be read twice, and be dropped once
        kept = f"({parts['documents']}) AS kept USING (document, artifact)"
        parts["dropped"] = f"SELECT dropped.* FROM ({parts['dropped']}) AS dropped ANTI JOIN {kept}"
    builder.execute(f"CREATE TEMP VIEW held AS {' UNION ALL '.join(parts.values())}")


def _document_files(catalogue: Catalogue, artifact: Artifact) -> Iterator[tuple[str, Path]]:
    """The files of an artefact that hold documents, and how each is read."""
    names = {file.path for file in artifact.files}
    wanted = [name for name in FILES.get(artifact.stage, ()) if name in names]
    orders = [name for name in names if name.startswith(ORDERS) and name.endswith("/order.json")]
    if not wanted and not orders:
        return
    local = catalogue.store.fetch(artifact)
    for name in wanted:
        yield FILES[artifact.stage][name], local.path(name)
    for name in sorted(orders):
        order = json.loads(local.path(name).read_text(encoding="utf-8"))
        if order["unit"] == "records":
            yield "records", local.path(name).with_name("documents.parquet")


def _from_end(host: str) -> str:
    """A host from its end, and back: what is most general first."""
    return ".".join(reversed(host.lower().strip(".").split(".")))
