"""Stage ``dedup``: one keep-list a shard, from the signatures of all shards at once.

Documents stand in a stable order: shards as they are given (source priority, then name), rows
as they lie. Going through it, a document survives unless it has the id or the text of an earlier
*survivor* or is nearly equal to one (``survivors.py``). So its fate depends on earlier documents
alone, and a new shard at the end changes no earlier shard's files. (Merging clusters by
union-find would let a new document join two old clusters, and take an old survivor away.)

What may meet at all is found by DuckDB over ids, texts and bands (``shared_keys.py``); shingles
are read of those documents only. Every dropped document points to a survivor, so a cluster is
what has the same ``duplicate_of``: ``SELECT * FROM '*/duplicates.parquet' WHERE duplicate_of = ?``.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.deduplication.shared_keys import BucketStream, find_buckets, open_database
from pipeline_data.corpus.deduplication.shingle_file import Hashes, open_shingles, read_shingles
from pipeline_data.corpus.deduplication.survivors import (
    Document,
    Duplicate,
    DuplicateRule,
    Survivors,
)
from pipeline_data.corpus.settings import DedupConfig
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import DUPLICATES, KEPT, open_table
from pipeline_data.stage_run import Inputs, Runtime

BATCH_ROWS = 65_536


def run(config: DedupConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write ``<shard>/kept.parquet`` and ``<shard>/duplicates.parquet`` for every input shard.

    Input ``signatures``, many, in the stable order. Rows are in the order of the shard.

    Raises:
        ArtifactError: two inputs have the same shard name, or one has none.
    """
    shards = inputs.many("signatures")
    names = _shard_names(shards)
    paths = [shard.path("signatures.parquet") for shard in shards]
    *starts, num_documents = accumulate(
        (pq.read_metadata(path).num_rows for path in paths), initial=0
    )
    out.mkdir(parents=True, exist_ok=True)
    rules = Counter(dict.fromkeys(get_args(DuplicateRule), 0))
    with (
        tempfile.TemporaryDirectory(prefix="dedup-", dir=out.parent) as folder,
        open_database(Path(folder), runtime) as database,
        open_shingles(Path(folder, "survivors.npy")) as append,
        read_shingles(Path(folder, "survivors.npy")) as read,
    ):
        runtime.progress(0, len(names), "shards")
        survivors = Survivors(config.threshold, config.max_bucket_survivors, append, read)
        stream = BucketStream(find_buckets(database, paths, starts))
        for index, (shard, name) in enumerate(zip(shards, names, strict=True)):
            with _open_answer(out / name) as answer:
                for batch in _read_batches(shard, name, starts[index]):
                    duplicates = _judge_batch(batch, stream, survivors)
                    answer(batch, duplicates)
                    rules.update(duplicate.rule for duplicate in duplicates.values())
            runtime.progress(index + 1, len(names), "shards")
    return {
        "num_documents": num_documents,
        "num_kept": num_documents - rules.total(),
        **{f"num_{rule}": count for rule, count in rules.items()},
        "num_compared": survivors.num_compared,
        "num_partly_compared": survivors.num_partly_compared,
    }


def _shard_names(shards: Sequence[Artifact]) -> list[str]:
    names = [shard.shard or "" for shard in shards]
    wrong = [name for name, count in Counter(names).items() if not name or count > 1]
    if wrong:
        raise ArtifactError(f"dedup needs one input a shard; unnamed or repeated: {wrong}")
    return names


@dataclass(frozen=True)
class _Batch:
    """Consecutive documents of one shard, from ``place`` on."""

    shard: str
    place: int
    doc_ids: pa.Array
    starts: npt.NDArray[np.int64]
    """Where the shingles of each document start; one more for the end of the last."""
    read: Callable[[int, int], Hashes]


def _read_batches(shard: Artifact, name: str, place: int) -> Iterator[_Batch]:
    start = 0
    with (
        pq.ParquetFile(shard.path("signatures.parquet")) as signatures,
        read_shingles(shard.path("shingles.npy")) as read,
    ):
        for rows in signatures.iter_batches(BATCH_ROWS, columns=["doc_id", "num_shingles"]):
            lengths = rows["num_shingles"].to_numpy()
            starts = start + np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
            yield _Batch(name, place, rows["doc_id"], starts, read)
            place += len(lengths)
            start = int(starts[-1])


def _judge_batch(batch: _Batch, stream: BucketStream, survivors: Survivors) -> dict[int, Duplicate]:
    """The documents to drop, by their row in the batch, in order."""
    duplicates = {}
    for buckets in stream.before(batch.place + len(batch.doc_ids)):
        row = buckets.place - batch.place
        start, end = batch.starts[row : row + 2].tolist() if buckets.bands else (0, 0)
        document = Document(batch.doc_ids[row].as_py(), batch.shard)
        duplicate = survivors.judge(document, buckets, batch.read(start, end - start))
        if duplicate:
            duplicates[row] = duplicate
    return duplicates


@contextmanager
def _open_answer(folder: Path) -> Iterator[Callable[[_Batch, dict[int, Duplicate]], None]]:
    """Write a shard's answer as it comes; yields the function that takes a batch's duplicates."""

    def write(batch: _Batch, duplicates: dict[int, Duplicate]) -> None:
        kept = np.ones(len(batch.doc_ids), np.bool_)
        kept[list(duplicates)] = False
        keep.write_batch(pa.record_batch([batch.doc_ids.filter(pa.array(kept))], schema=KEPT))
        for row, (rule, survivor, similarity) in duplicates.items():
            drop(
                {
                    "doc_id": batch.doc_ids[row].as_py(),
                    "rule": rule,
                    "duplicate_of": survivor.doc_id,
                    "shard_of": survivor.shard,
                    "similarity": similarity,
                }
            )

    folder.mkdir(parents=True, exist_ok=True)
    with (
        pq.ParquetWriter(folder / "kept.parquet", KEPT, compression="zstd") as keep,
        open_table(folder / "duplicates.parquet", DUPLICATES) as drop,
    ):
        yield write
