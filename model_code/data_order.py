"""The training order: which tokens, and which documents, each optimizer step sees.

It is a pure function of (token shards, mixture, seed, batch size, context, steps), so the documents
of a step need not be logged: they can be computed for ever. For that every random choice is a
SHA-256 of its name (seed, source, document or row) rather than a generator's stream, whose numbers
may change with a library's version; and documents are ordered by the hash of their ids, so the
order of the shards does not matter.

For each source the documents are joined in hash order, each after one beginning-of-sequence
token, and cut into rows of ``context`` tokens. Each row of a batch draws its source by weight, and
takes that source's next row; rows are in a new order in each epoch.

Where a source would so give more rows than it may (``Limits``), the number of rows of each source
is fixed before the first step: see :mod:`model_code.mixture`. The draws are then taken in the order
of their hashes, the lowest for the first source, and so on, so that each source is spread evenly
over the run. Where no limit binds, the order is the one it would be without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_code.hash_order import hash_numbers, shuffle_passes
from model_code.mixture import Limits, SourceShare, share_rows
from model_code.settings import PretrainConfig
from model_code.token_streams import SourceStream, read_streams
from pipeline_data.artifact import Artifact
from pipeline_data.errors import RecipeError

NO_LIMITS = Limits()


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
    max_rows: Sequence[int | None] = ()
    """Most rows of each source over all steps; empty: no limits."""

    def row(self, index: int) -> npt.NDArray[np.int64]:
        """The tokens of a row, ``[context]``; row ``index`` is in step ``index // batch_size``."""
        source, start = self._position(index)
        return self.streams[source].tokens[start : start + self.context].astype(np.int64)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The tokens of a step, ``[batch_size, context]``."""
        return np.stack([self.row(index) for index in self._indices(step)])

    def documents(self, step: int) -> list[str]:
        """The ids of the documents that have a token in a step's batch, sorted, without repeats.

        Reads no tokens.
        """
        found: set[str] = set()
        for index in self._indices(step):
            source, start = self._position(index)
            stream = self.streams[source]
            first, last = np.searchsorted(
                stream.starts, [start, start + self.context - 1], side="right"
            )
            found.update(stream.doc_ids[first - 1 : last].to_pylist())
        return sorted(found)

    def shares(self) -> list[SourceShare]:
        """What each source gives over all steps."""
        drawn = np.bincount(self.sources, minlength=len(self.streams)).tolist()
        return [
            SourceShare(
                source=stream.source,
                weight=weight,
                share=count / len(self.sources),
                epochs=count / self._num_rows(stream),
                num_tokens=count * self.context,
            )
            for stream, weight, count in zip(self.streams, self.weights, drawn, strict=True)
        ]

    @property
    def is_limited(self) -> bool:
        """Whether a source would have given more rows than it may."""
        return self.sources is not self._drawn

    def _indices(self, step: int) -> range:
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not in 0..{self.steps - 1}")
        return range(step * self.batch_size, (step + 1) * self.batch_size)

    def _position(self, index: int) -> tuple[int, int]:
        """(stream index, first token) of a row."""
        return int(self.sources[index]), int(self.source_rows[index]) * self.context

    def _num_rows(self, stream: SourceStream) -> int:
        return stream.num_tokens // self.context

    @cached_property
    def _drawn(self) -> npt.NDArray[np.int64]:
        """The source of every row by weight alone, ``[steps * batch_size]``."""
        return np.searchsorted(np.cumsum(self.weights)[:-1], self._uniform, side="right")

    @cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """The source of every row, ``[steps * batch_size]``."""
        drawn = np.bincount(self._drawn, minlength=len(self.streams)).tolist()
        limits = self.max_rows or [None] * len(self.streams)
        if all(limit is None or n <= limit for n, limit in zip(drawn, limits, strict=True)):
            return self._drawn
        counts = share_rows(self.weights, limits, len(self._uniform))
        sources = np.empty_like(self._drawn)
        sources[np.argsort(self._uniform, kind="stable")] = np.repeat(
            np.arange(len(counts)), counts
        )
        return sources

    @cached_property
    def _uniform(self) -> npt.NDArray[np.float64]:
        """A number from 0 to 1 for every row of the run, ``[steps * batch_size]``."""
        return hash_numbers(f"{self.seed}/source", self.steps * self.batch_size) / 2.0**64

    @cached_property
    def source_rows(self) -> npt.NDArray[np.int64]:
        """Which of its source's rows every row of the run is, ``[steps * batch_size]``."""
        rows = np.zeros_like(self.sources)
        for index, stream in enumerate(self.streams):
            places = np.flatnonzero(self.sources == index)
            name, num_rows = f"{self.seed}/{stream.source}", self._num_rows(stream)
            rows[places] = shuffle_passes(name, num_rows, len(places))
        return rows


def pretraining_order(
    config: PretrainConfig, shards: Sequence[Artifact], bos: int, scratch: Path | None = None
) -> DataOrder:
    """The order a base model of this config was, or will be, trained in.

    Raises:
        RecipeError: no source of the mixture has a row, or the limits leave too few.
    """
    return build_data_order(
        shards,
        config.mixture,
        bos,
        seed=config.seed,
        batch_size=config.batch_size,
        context=config.context,
        steps=config.steps,
        limits=Limits(config.max_epochs, config.source_max_epochs, config.source_max_tokens),
        scratch=scratch,
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
    limits: Limits = NO_LIMITS,
    scratch: Path | None = None,
) -> DataOrder:
    """Find the training documents of a mixture's sources and fix their order.

    A source of the mixture with less than one row of tokens is left out and named in ``missing``;
    the other weights are scaled up. With a folder ``scratch`` the tokens are in a file there and
    not in memory; neither before the first row is asked for.

    Raises:
        RecipeError: no source of the mixture has a row, or the limits leave too few.
    """
    wanted = {source: weight for source, weight in mixture.items() if weight > 0}
    streams = read_streams(shards, sorted(wanted), bos, seed, scratch)
    streams = [stream for stream in streams if stream.num_tokens >= context]
    if not streams:
        raise RecipeError(
            f"mixture: none of {', '.join(sorted(mixture))} has {context} training tokens; "
            "name sources of the recipe and give them weights above 0"
        )
    found = {stream.source for stream in streams}
    total = sum(wanted[stream.source] for stream in streams)
    max_rows = [limits.max_rows(s.source, s.num_tokens // context, context) for s in streams]
    _check_limits(streams, max_rows, steps, batch_size)
    return DataOrder(
        streams,
        [wanted[stream.source] / total for stream in streams],
        seed,
        batch_size,
        context,
        steps,
        sorted(set(wanted) - found),
        max_rows,
    )


def _check_limits(
    streams: Sequence[SourceStream], max_rows: Sequence[int | None], steps: int, batch_size: int
) -> None:
    most = {s.source: n for s, n in zip(streams, max_rows, strict=True) if n is not None}
    if len(most) == len(streams) and sum(most.values()) < steps * batch_size:
        each = ", ".join(f"{source} {n}" for source, n in most.items())
        raise RecipeError(
            f"steps: {steps} steps of {batch_size} rows need {steps * batch_size}, but within "
            f"max_epochs and source_max_tokens there are {sum(most.values())} ({each}); set steps "
            f"to at most {sum(most.values()) // batch_size}, or raise those limits"
        )
