"""Token shards as training reads them: one stream of tokens a source, and the held-out documents.

The documents of a source are joined in the order of the hash of their ids, each behind one
beginning-of-sequence token. Where each document goes is known from ids and lengths alone, so
tokens are only read when a training asks for them: a shard's row group at a time, each document
written to its place. With a scratch folder the joined stream is a file, mapped into memory, so
that a corpus may be larger than memory.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_code.hash_order import hash_names
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError

TOKEN_FILE = "tokens.parquet"
KIND = ("source", "split")
BATCH_ROWS = 4096
FILL_TOKENS = 4_000_000
PLACE_TOKENS = 1_000_000

Tokens = npt.NDArray[np.uint16]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOutDocument:
    """A document no training row holds. ``tokens`` has no special tokens."""

    doc_id: str
    url: str
    source: str
    num_bytes: int
    tokens: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SourceStream:
    """The joined documents of one source; document ``i`` starts (with its BOS) at ``starts[i]``."""

    source: str
    starts: Places
    doc_ids: pa.StringArray
    num_tokens: int
    paths: Sequence[Path]
    """The files that hold the documents."""
    places: Places
    """The start of each document in the order of the files' rows."""
    bos: int
    scratch: Path | None = None
    """Folder for the joined tokens; the file has no name and is gone with the process."""

    @cached_property
    def tokens(self) -> Tokens:
        """All tokens, ``[num_tokens]``; read from the shards at the first use."""
        tokens = _filled(self.num_tokens, self.bos, self.scratch)
        done = 0
        for path in self.paths:
            for batch in _read_batches(path, _is_training([self.source]), [*KIND, "tokens"]):
                _place(batch["tokens"], self.places[done : done + batch.num_rows], tokens)
                done += batch.num_rows
        return tokens


def read_streams(
    shards: Sequence[Artifact],
    sources: Sequence[str],
    bos: int,
    seed: int,
    scratch: Path | None = None,
) -> list[SourceStream]:
    """The training documents of each source that has any, in the order of ``sources``.

    Raises:
        ArtifactError: there is no shard.
    """
    if not shards:
        raise ArtifactError("training needs at least one token shard")
    found: dict[str, list[tuple[Path, pa.RecordBatch]]] = {source: [] for source in sources}
    for shard in shards:
        path = shard.path(TOKEN_FILE)
        for batch in _read_batches(path, _is_training(sources), [*KIND, "doc_id", "num_tokens"]):
            for source in pc.unique(batch["source"]).to_pylist():
                found[source].append((path, batch.filter(pc.field("source") == source)))
    return [
        _order_documents(source, parts, bos, seed, scratch)
        for source, parts in found.items()
        if parts
    ]


def read_heldout(shards: Sequence[Artifact]) -> list[HeldOutDocument]:
    """The held-out documents of all shards, by source and hash of their ids."""
    documents = []
    for shard in shards:
        for batch in _read_batches(shard.path(TOKEN_FILE), pc.field("split") == "heldout"):
            documents += [
                HeldOutDocument(
                    row["doc_id"],
                    row["url"],
                    row["source"],
                    row["num_bytes"],
                    np.asarray(row["tokens"], dtype=np.int64),
                )
                for row in batch.to_pylist()
            ]
    keys = hash_names("heldout/", (document.doc_id for document in documents))
    places = sorted(range(len(keys)), key=lambda i: (documents[i].source, keys[i]))
    return [documents[i] for i in places]


def _order_documents(
    source: str,
    parts: Sequence[tuple[Path, pa.RecordBatch]],
    bos: int,
    seed: int,
    scratch: Path | None,
) -> SourceStream:
    """The places of documents in the order of their ids' hashes, each behind one BOS."""
    table = pa.Table.from_batches([batch for _, batch in parts]).combine_chunks()
    doc_ids = table["doc_id"].chunk(0)
    keys = pa.table({"key": hash_names(f"{seed}/{source}/", doc_ids.to_pylist()), "id": doc_ids})
    order = pc.sort_indices(keys, [("key", "ascending"), ("id", "ascending")]).to_numpy()
    ends = np.cumsum(table["num_tokens"].to_numpy()[order] + 1)
    starts = np.concatenate([[0], ends[:-1]])
    places = np.empty_like(starts)
    places[order] = starts
    paths = list(dict.fromkeys(path for path, _ in parts))
    return SourceStream(
        source, starts, doc_ids.take(order), int(ends[-1]), paths, places, bos, scratch
    )


def _is_training(sources: Sequence[str]) -> pc.Expression:
    return (pc.field("split") == "train") & pc.field("source").isin(sources)


def _read_batches(
    path: Path, keep: pc.Expression, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows in the order of the file, some at a time and never of two row groups."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(BATCH_ROWS, [group], columns):
                kept = batch.filter(keep)
                if kept.num_rows:
                    yield kept


def _filled(num_tokens: int, bos: int, scratch: Path | None) -> Tokens:
    """Tokens that are all BOS, in memory or in a file without a name."""
    if scratch is None:
        return np.full(num_tokens, bos, dtype=np.uint16)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        for start in range(0, num_tokens, FILL_TOKENS):  # a full disk is told here, not by a signal
            count = min(FILL_TOKENS, num_tokens - start)
            file.write(np.full(count, bos, dtype=np.uint16).tobytes())
        file.flush()
        return np.memmap(file, dtype=np.uint16, shape=(num_tokens,))


def _place(documents: pa.ListArray, places: Places, tokens: Tokens) -> None:
    """Write each document behind the BOS at its place, about ``PLACE_TOKENS`` at a time."""
    flat, offsets = documents.values.to_numpy(), documents.offsets.to_numpy()
    first = 0
    while first < len(places):
        last = int(np.searchsorted(offsets, offsets[first] + PLACE_TOKENS, side="right")) - 1
        last = max(first + 1, min(last, len(places)))
        ends = offsets[first : last + 1]
        shifts = np.repeat(places[first:last] + 1 - ends[:-1], np.diff(ends))
        tokens[shifts + np.arange(ends[0], ends[-1])] = flat[ends[0] : ends[-1]]
        first = last
