"""Views over the files of a corpus, for the report's queries and for anybody's own.

The files are read where they lie, and only those columns that a query names. Every view has the
column ``shard``; ``shards`` says which source a shard is of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline_data.artifact import Artifact
from pipeline_data.formats import (
    CONTAMINATED,
    DOCUMENTS,
    DROPPED,
    DUPLICATES,
    EVALUATION_ITEMS,
    FILTERED,
    KEPT,
    PASSED,
    PROVENANCE,
    TOKENS,
    UNJUDGED,
)

Roles = Mapping[str, Sequence[Artifact]]
"""The artefacts of a corpus: ``extracted``, ``filtered``, ``decontaminated`` and ``tokens`` (one a
shard), ``dedup`` (one with a part a shard), ``evaluation`` (one a set)."""

VIEWS = {
    "sources": "a row a source: records read, and documents left after each stage",
    "shards": "a row a raw file: its source, records read, documents left after each stage",
    "records": "a row a raw record: where it lies and when it was fetched",
    "documents": "a row a document as it was extracted, with its text",
    "filtered": "a row a document that the filters kept, with its text and language",
    "deduplicated": "a row a document that is no duplicate",
    "kept": "a row a document of the corpus: no duplicate, and with no evaluation item in it",
    "tokens": "a row a document of the corpus, with its tokens, their number and its bytes",
    "passed": "a row a kind of record that stands for no page, such as requests: how many",
    "dropped": "a row a document that went: the stage, the rule, the number and its limit",
    "duplicates": "a row a duplicate: the document it is like, where that is, how like",
    "contaminated": "a row a document and evaluation item found in it",
    "evaluation_items": "a row an evaluation item that documents were compared with",
    "unjudged_items": "a row an evaluation item that is too short or damaged to compare",
}
"""What there is to ask, and what it says."""

_FILES = {
    "records": ("extracted", "provenance/provenance.parquet", PROVENANCE),
    "documents": ("extracted", "documents.parquet", DOCUMENTS),
    "passed": ("extracted", "passed.parquet", PASSED),
    "extract_dropped": ("extracted", "dropped.parquet", DROPPED),
    "filtered": ("filtered", "documents.parquet", FILTERED),
    "filter_dropped": ("filtered", "dropped.parquet", DROPPED),
    "deduplicated": ("dedup", "kept.parquet", KEPT),
    "duplicates": ("dedup", "duplicates.parquet", DUPLICATES),
    "kept": ("decontaminated", "kept.parquet", KEPT),
    "contaminated": ("decontaminated", "contaminated.parquet", CONTAMINATED),
    "tokens": ("tokens", "tokens.parquet", TOKENS),
    "evaluation_items": ("evaluation", "items.parquet", EVALUATION_ITEMS),
    "unjudged_items": ("evaluation", "unjudged.parquet", UNJUDGED),
}
"""The role, file and columns of each view of files; those that the others are made of, too."""

_COUNTS = {
    "num_records": ("extracted", "documents.parquet", "dropped.parquet"),
    "num_documents": ("extracted", "documents.parquet"),
    "num_filtered": ("filtered", "documents.parquet"),
    "num_deduplicated": ("dedup", "kept.parquet"),
    "num_kept": ("decontaminated", "kept.parquet"),
}
"""The counts of a shard: rows of these files of a role, taken together."""

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.list_(pa.uint16()): "USMALLINT[]",
}

_DERIVED = """
CREATE MACRO domain(url) AS
    lower(split_part(split_part(split_part(url, '/', 3), '@', -1), ':', 1));
CREATE VIEW sources AS
    SELECT source, count(*) AS num_shards, sum(num_records) AS num_records,
        sum(num_documents) AS num_documents, sum(num_filtered) AS num_filtered,
        sum(num_deduplicated) AS num_deduplicated, sum(num_kept) AS num_kept
    FROM shards GROUP BY source ORDER BY min(position);
CREATE VIEW dropped AS
    SELECT * FROM extract_dropped
    UNION ALL BY NAME SELECT * FROM filter_dropped
    UNION ALL BY NAME
    SELECT duplicates.doc_id, url, 'dedup' AS stage, rule,
        'of ' || duplicate_of || ' in ' || shard_of AS detail, similarity AS value, shard
    FROM duplicates LEFT JOIN filtered USING (shard, doc_id)
    UNION ALL BY NAME
    SELECT doc_id, url, 'decontaminate' AS stage, evaluation AS rule,
        item || ': ' || ngram AS detail, num_matches::DOUBLE AS value, shard
    FROM (SELECT DISTINCT ON (shard, doc_id) * FROM contaminated
        ORDER BY shard, doc_id, evaluation, item);
"""


@dataclass(frozen=True)
class ShardFiles:
    """What one stage left of one shard: the files' folder, and the rows of each by its name."""

    directory: Path
    rows: Mapping[str, int]
    source: str = ""


def create_views(database: duckdb.DuckDBPyConnection, roles: Roles) -> list[Path]:
    """Make :data:`VIEWS` in a database; returns the files that they read.

    An absent role makes its views empty.
    """
    shards = {role: _shard_files(artifacts) for role, artifacts in roles.items()}
    _create_shards(database, shards)
    read: list[Path] = []
    for view, (role, name, schema) in _FILES.items():
        files = {
            shard: part.directory / name
            for shard, part in shards.get(role, {}).items()
            if name in part.rows
        }
        database.execute(f"CREATE VIEW {view} AS {_select(files, schema)}")
        read += files.values()
    database.execute(_DERIVED)
    return read


def lock(database: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """From here on the database opens these files and no other, and keeps its settings.

    It could still write to them: let no statement but a SELECT through.
    """
    database.execute("SET allowed_paths = $files", {"files": [str(file) for file in files]})
    database.execute("SET python_enable_replacements = false")
    database.execute("SET enable_external_access = false; SET lock_configuration = true")


def _shard_files(artifacts: Sequence[Artifact]) -> dict[str, ShardFiles]:
    """The files of each shard, in the order given."""
    shards: dict[str, ShardFiles] = {}
    for artifact in artifacts:
        rows: dict[str, dict[str, int]] = {part: {} for part in artifact.parts}
        for file in artifact.files:
            shard, _, name = file.path.partition("/")
            if not artifact.parts:
                shard, name = artifact.shard or "", file.path
            rows.setdefault(shard, {})[name] = file.rows or 0
        for shard, names in rows.items():
            folder = artifact.directory / shard if artifact.parts else artifact.directory
            shards[shard] = ShardFiles(folder, names, str(artifact.config.get("source", shard)))
    return shards


def _create_shards(
    database: duckdb.DuckDBPyConnection, shards: Mapping[str, Mapping[str, ShardFiles]]
) -> None:
    """The table ``shards``: counts of rows as the artefacts' records have them."""
    columns: dict[str, list[Any]] = {name: [] for name in ("position", "shard", "source", *_COUNTS)}
    for position, (shard, extracted) in enumerate(shards.get("extracted", {}).items()):
        row: dict[str, Any] = {"position": position, "shard": shard, "source": extracted.source}
        for column, (role, *names) in _COUNTS.items():
            part = shards.get(role, {}).get(shard)
            row[column] = sum(part.rows.get(name, 0) for name in names) if part else None
        for column, value in row.items():
            columns[column].append(value)
    types = {"shard": "VARCHAR", "source": "VARCHAR"}
    declared = ", ".join(f"{column} {types.get(column, 'BIGINT')}" for column in columns)
    database.execute(f"CREATE TABLE shards ({declared})")
    values = ", ".join(f"unnest(${column})" for column in columns)
    database.execute(f"INSERT INTO shards SELECT {values}", columns)


def _select(files: Mapping[str, Path], schema: pa.Schema) -> str:
    if not files:
        typed = ", ".join(f'NULL::{_TYPES[field.type]} AS "{field.name}"' for field in schema)
        return f"SELECT {typed}, '' AS shard WHERE false"
    columns = ", ".join(f'"{name}"' for name in schema.names)
    shards = _list_literal(list(files))
    paths = _list_literal([str(path) for path in files.values()])
    return f"SELECT {columns}, {shards}[file_index::BIGINT + 1] AS shard FROM read_parquet({paths})"


def _list_literal(texts: Sequence[str]) -> str:
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{quoted}]"
