"""Stage ``dedup``: one keep-list a shard, from the signatures of all shards at once.

Documents stand in a stable order: shards as they are given (source priority, then name), rows
as they lie. Going through it, a document survives unless it equals, or is nearly equal to, a
survivor before it. So its fate depends on earlier documents alone, and a new shard at the end
changes no earlier shard's files. (Merging clusters by union-find would let a new document
join two old clusters, and take an old survivor away.)

Candidates share the hash of at least one band (a DuckDB join that spills to disk); a
pair counts only if the exact Jaccard similarity of its shingle sets reaches the threshold.
"""

import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.settings import DedupConfig
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import DUPLICATES, KEPT, write_table
from pipeline_data.stage_run import Inputs, Runtime

FETCH_SIZE = 100_000


@dataclass(frozen=True)
class Survival:
    """What became of each document, by its place in the stable order.

    ``survivor`` is the document itself where it survives; ``equal`` says that a dropped document
    has its survivor's text, otherwise ``similarity`` is their Jaccard similarity.
    """

    survivor: npt.NDArray[np.int64]
    equal: npt.NDArray[np.bool_]
    similarity: npt.NDArray[np.float64]


def run(config: DedupConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write ``<shard>/kept.parquet`` and ``<shard>/duplicates.parquet`` for every input shard.

    Input ``signatures``, many, in the stable order.

    Raises:
        ArtifactError: two inputs have the same shard name, or one has none.
    """
    shards = inputs.many("signatures")
    names = _shard_names(shards)
    paths = [shard.path("signatures.parquet") for shard in shards]
    starts = [0, *accumulate(pq.read_metadata(path).num_rows for path in paths)]
    out.mkdir(parents=True, exist_ok=True)
    survival = _find_survivors(config, paths, starts, out.parent, runtime)
    doc_ids = [doc_id for path in paths for doc_id in _read_doc_ids(path)]
    num_kept = num_exact = 0
    for index, name in enumerate(names):
        places = np.arange(starts[index], starts[index + 1])
        kept = survival.survivor[places] == places
        kept_rows = [{"doc_id": doc_ids[place]} for place in places[kept]]
        duplicates = [
            _describe_duplicate(place, survival, doc_ids, names, starts) for place in places[~kept]
        ]
        write_table(out / name / "kept.parquet", KEPT, kept_rows)
        write_table(out / name / "duplicates.parquet", DUPLICATES, duplicates)
        num_kept += len(kept_rows)
        num_exact += sum(row["rule"] == "exact" for row in duplicates)
        runtime.progress(index + 1, len(names), "shards")
    return {
        "num_documents": starts[-1],
        "num_kept": num_kept,
        "num_exact": num_exact,
        "num_near": starts[-1] - num_kept - num_exact,
    }


def _describe_duplicate(
    place: int, survival: Survival, doc_ids: list[str], names: list[str], starts: list[int]
) -> dict[str, str | float]:
    survivor = int(survival.survivor[place])
    return {
        "doc_id": doc_ids[place],
        "rule": "exact" if survival.equal[place] else "near",
        "duplicate_of": doc_ids[survivor],
        "shard_of": names[bisect_right(starts, survivor) - 1],
        "similarity": float(survival.similarity[place]),
    }


def _shard_names(shards: Sequence[Artifact]) -> list[str]:
    names = [shard.shard or "" for shard in shards]
    wrong = [name for name, count in Counter(names).items() if not name or count > 1]
    if wrong:
        raise ArtifactError(f"dedup needs one input a shard; unnamed or repeated: {wrong}")
    return names


def _read_doc_ids(path: Path) -> list[str]:
    ids: list[str] = pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()
    return ids


def _find_survivors(
    config: DedupConfig, paths: list[Path], starts: list[int], scratch: Path, runtime: Runtime
) -> Survival:
    num_documents = starts[-1]
    survivor = np.arange(num_documents)
    equal = np.zeros(num_documents, np.bool_)
    similarity = np.ones(num_documents)
    if num_documents:
        with (
            tempfile.TemporaryDirectory(prefix="dedup-", dir=scratch) as spill,
            _connect(Path(spill), runtime) as database,
        ):
            _load_signatures(database, paths, starts)
            _drop_near(database, config.threshold, survivor, similarity)
            _drop_equal(database, survivor, equal, similarity)
    return Survival(survivor, equal, similarity)


def _connect(spill: Path, runtime: Runtime) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        spill / "dedup.duckdb",
        config={
            "threads": runtime.threads,
            "memory_limit": f"{runtime.memory_mb}MB",
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
        },
    )


def _load_signatures(
    database: duckdb.DuckDBPyConnection, paths: list[Path], starts: list[int]
) -> None:
    """Make the tables ``signature`` (one row a document) and ``original`` (one a text)."""
    database.execute("CREATE TABLE shard (path VARCHAR, start BIGINT)")
    database.executemany(
        "INSERT INTO shard VALUES (?, ?)",
        [(str(path), start) for path, start in zip(paths, starts, strict=False)],
    )
    files = database.read_parquet([str(p) for p in paths], filename=True, file_row_number=True)
    files.create_view("signature_file")
    database.execute(
        """
        CREATE TABLE signature AS
            SELECT start + file_row_number AS place, text_sha256, bands, shingles
            FROM signature_file JOIN shard ON filename = path;
        CREATE TABLE original AS
            SELECT min(place) AS place, text_sha256 FROM signature GROUP BY text_sha256;
        """
    )


def _drop_near(
    database: duckdb.DuckDBPyConnection,
    threshold: float,
    survivor: npt.NDArray[np.int64],
    similarity: npt.NDArray[np.float64],
) -> None:
    """Point each near duplicate at the earliest survivor that is like it."""
    pairs = database.execute(
        """
        WITH band AS (
            SELECT place, unnest(bands) AS hash, generate_subscripts(bands, 1) AS number
            FROM signature SEMI JOIN original USING (place)
        ), candidate AS (
            SELECT DISTINCT first.place AS earlier, second.place AS later
            FROM band AS first JOIN band AS second USING (number, hash)
            WHERE first.place < second.place
        ), compared AS (
            SELECT later, earlier, len(list_intersect(a.shingles, b.shingles)) AS num_common,
                len(a.shingles) + len(b.shingles) - num_common AS num_either
            FROM candidate
            JOIN signature AS a ON a.place = earlier JOIN signature AS b ON b.place = later
        )
        SELECT later, earlier, num_common / num_either AS jaccard FROM compared
        WHERE jaccard >= ? ORDER BY later, earlier
        """,
        [threshold],
    )
    while rows := pairs.fetchmany(FETCH_SIZE):
        for later, earlier, jaccard in rows:
            if survivor[later] == later and survivor[earlier] == earlier:
                survivor[later], similarity[later] = earlier, jaccard


def _drop_equal(
    database: duckdb.DuckDBPyConnection,
    survivor: npt.NDArray[np.int64],
    equal: npt.NDArray[np.bool_],
    similarity: npt.NDArray[np.float64],
) -> None:
    """Give each copy of an earlier text the fate of that text's first document."""
    copies = database.execute(
        """
        SELECT signature.place, original.place FROM signature JOIN original USING (text_sha256)
        WHERE signature.place != original.place
        """
    )
    while rows := copies.fetchmany(FETCH_SIZE):
        for copy, original in rows:
            survivor[copy], similarity[copy] = survivor[original], similarity[original]
            equal[copy] = survivor[original] == original
