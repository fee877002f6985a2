"""The training order: which tokens, and which documents, each optimizer step sees.

It is a pure function of (token shards, mixture, seed, batch size, context, steps), so the documents
of a step need not be logged: they can be computed for ever. For that every random choice is a
SHA-256 of its name (seed, source, document or row) rather than a generator's stream, whose numbers
may change with a library's version; and documents are ordered by the hash of their ids, so the
order of the shards does not matter.

For each source the documents are joined in hash order, each after one beginning-of-sequence
token, and cut into rows of ``context`` tokens. Each row of a batch draws its source by weight, and
takes that source's next row; rows are in a new order in each epoch.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_code.settings import PretrainConfig
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError, RecipeError

TOKEN_FILE = "tokens.parquet"


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
    tokens: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int64]
    doc_ids: Sequence[str]


@dataclass(frozen=True)
class DataOrder:
    """The rows of every step. ``weights`` are those of the sources that were there, sum 1."""

    streams: Sequence[SourceStream]
    weights: Sequence[float]
    seed: int
    batch_size: int
    context: int
    steps: int
    missing: Sequence[str] = ()
    """Sources the mixture names that no shard holds."""

    def row(self, index: int) -> npt.NDArray[np.int64]:
        """The tokens of a row, ``[context]``; row ``index`` is in step ``index // batch_size``."""
        source, start = self._position(index)
        return self.streams[source].tokens[start : start + self.context].astype(np.int64)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The tokens of a step, ``[batch_size, context]``."""
        return np.stack([self.row(index) for index in self._indices(step)])

    def documents(self, step: int) -> list[str]:
        """The ids of the documents that have a token in a step's batch, sorted, without repeats."""
        found: set[str] = set()
        for index in self._indices(step):
            source, start = self._position(index)
            stream = self.streams[source]
            first, last = np.searchsorted(
                stream.starts, [start, start + self.context - 1], side="right"
            )
            found.update(stream.doc_ids[first - 1 : last])
        return sorted(found)

    def epochs(self) -> dict[str, float]:
        """How often each source's rows are seen over all steps."""
        drawn = np.bincount(self._plan[:, 0], minlength=len(self.streams))
        return {
            stream.source: float(n / self._num_rows(stream))
            for stream, n in zip(self.streams, drawn, strict=True)
        }

    def _indices(self, step: int) -> range:
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not in 0..{self.steps - 1}")
        return range(step * self.batch_size, (step + 1) * self.batch_size)

    def _position(self, index: int) -> tuple[int, int]:
        """(stream index, first token) of a row."""
        source, row = self._plan[index]
        return int(source), int(row) * self.context

    def _num_rows(self, stream: SourceStream) -> int:
        return len(stream.tokens) // self.context

    @cached_property
    def _plan(self) -> npt.NDArray[np.int64]:
        """(stream index, row) of every row of the run, ``[steps * batch_size, 2]``."""
        total = self.steps * self.batch_size
        uniform = _hashes(f"{self.seed}/source", range(total)) / 2.0**64
        bounds = np.cumsum(self.weights)[:-1]
        drawn = np.searchsorted(bounds, uniform, side="right")
        plan = np.stack([drawn, np.zeros_like(drawn)], axis=1)
        for index, stream in enumerate(self.streams):
            places = np.flatnonzero(drawn == index)
            num_rows = self._num_rows(stream)
            num_epochs = -(-len(places) // num_rows)
            order = [
                np.argsort(_hashes(f"{self.seed}/{stream.source}/{epoch}", range(num_rows)))
                for epoch in range(num_epochs)
            ]
            if order:
                plan[places, 1] = np.concatenate(order)[: len(places)]
        return plan


def pretraining_order(config: PretrainConfig, shards: Sequence[Artifact], bos: int) -> DataOrder:
    """The order a base model of this config was, or will be, trained in.

    Raises:
        RecipeError: no source of the mixture has a row.
    """
    return build_data_order(
        shards,
        config.mixture,
        bos,
        seed=config.seed,
        batch_size=config.batch_size,
        context=config.context,
        steps=config.steps,
    )


def build_data_order(
    shards: Sequence[Artifact],
    mixture: Mapping[str, float],
    bos: int,
    *,
    seed: int,
    batch_size: int,
    context: int,
    steps: int,
) -> DataOrder:
    """Read the training documents of a mixture's sources and fix their order.

    A source of the mixture with less than one row of tokens is left out and named in ``missing``;
    the other weights are scaled up.

    Raises:
        RecipeError: no source of the mixture has a row.
    """
    wanted = {source: weight for source, weight in mixture.items() if weight > 0}
    streams = read_streams(shards, sorted(wanted), bos, seed)
    streams = [stream for stream in streams if len(stream.tokens) >= context]
    if not streams:
        raise RecipeError(
            f"mixture: none of {', '.join(sorted(mixture))} has {context} training tokens; "
            "name sources of the recipe and give them weights above 0"
        )
    found = {stream.source for stream in streams}
    total = sum(wanted[stream.source] for stream in streams)
    return DataOrder(
        streams,
        [wanted[stream.source] / total for stream in streams],
        seed,
        batch_size,
        context,
        steps,
        sorted(set(wanted) - found),
    )


def read_heldout(shards: Sequence[Artifact]) -> list[HeldOutDocument]:
    """The held-out documents of all shards, by source and hash of their ids."""
    documents = []
    for shard in shards:
        for batch in pq.ParquetFile(shard.path(TOKEN_FILE)).iter_batches():
            documents += [
                HeldOutDocument(
                    row["doc_id"],
                    row["url"],
                    row["source"],
                    row["num_bytes"],
                    np.asarray(row["tokens"], dtype=np.int64),
                )
                for row in batch.filter(pc.field("split") == "heldout").to_pylist()
            ]
    return sorted(documents, key=lambda d: (d.source, _hash(f"heldout/{d.doc_id}")))


def read_streams(
    shards: Sequence[Artifact], sources: Sequence[str], bos: int, seed: int
) -> list[SourceStream]:
    """The training documents of each source that has any, joined.

    Raises:
        ArtifactError: there is no shard.
    """
    if not shards:
        raise ArtifactError("training needs at least one token shard")
    columns = ["doc_id", "source", "tokens"]
    keep = (pc.field("split") == "train") & pc.field("source").isin(sources)
    table = pa.concat_tables(
        pq.read_table(shard.path(TOKEN_FILE), columns=columns, filters=keep) for shard in shards
    )
    tables = {source: table.filter(pc.field("source") == source) for source in sources}
    return [_join(source, t, bos, seed) for source, t in tables.items() if t.num_rows]


def _join(source: str, table: pa.Table, bos: int, seed: int) -> SourceStream:
    """Documents in the order of their ids' hashes, each behind one BOS."""
    doc_ids = table["doc_id"].to_pylist()
    keys = [(_hash(f"{seed}/{source}/{doc_id}"), doc_id) for doc_id in doc_ids]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    lists = table["tokens"].combine_chunks()
    offsets, flat = lists.offsets.to_numpy(), lists.values.to_numpy()
    lengths = np.array([offsets[i + 1] - offsets[i] + 1 for i in order], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    tokens = np.full(int(lengths.sum()), bos, dtype=np.uint16)
    for start, i in zip(starts, order, strict=True):
        document = flat[offsets[i] : offsets[i + 1]]
        tokens[start + 1 : start + 1 + len(document)] = document
    return SourceStream(source, tokens, starts, [doc_ids[i] for i in order])


def _hash(name: str) -> int:
    """The first 64 bits of a name's SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _hashes(name: str, numbers: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.array([_hash(f"{name}/{n}") for n in numbers], dtype=np.uint64)
