"""The Jaccard similarity of shingle sets: exact, and bounded from above by bitmaps.

The bound is what many sets can be compared by at once. A bit that only one of two bitmaps has
stands for a hash that only one of the two sets has, so only the others can be common.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.deduplication.shingle_file import Hashes

BITMAP_BITS = 2048

Counts = npt.NDArray[np.int64]


class ShingleSet:
    """Sorted unique hashes, and their bitmap once it is asked for."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = hashes

    def __len__(self) -> int:
        return len(self.hashes)

    @cached_property
    def bitmap(self) -> npt.NDArray[np.uint64]:
        """A bit for each value that the lowest bits of the hashes take."""
        bits = np.zeros(BITMAP_BITS, np.bool_)
        bits[self.hashes & np.uint64(BITMAP_BITS - 1)] = True
        return np.packbits(bits).view(np.uint64)

    @cached_property
    def num_hidden(self) -> int:
        """Hashes whose bit another hash has set as well."""
        return len(self) - int(_count_bits(self.bitmap))


class Sketches(NamedTuple):
    """What bounds the similarity to several sets; one row or entry for each of them."""

    bitmaps: npt.NDArray[np.uint64]
    lengths: Counts
    num_hidden: Counts


def make_sketches(bitmaps: Sequence[bytes], lengths: Sequence[int]) -> Sketches:
    """Put the bitmaps of several sets side by side, with the numbers of their hashes."""
    rows = np.frombuffer(b"".join(bitmaps), np.uint64).reshape(len(bitmaps), -1)
    sizes = np.array(lengths, np.int64)
    return Sketches(rows, sizes, sizes - _count_bits(rows))


def bound_similarity(document: ShingleSet, others: Sketches) -> npt.NDArray[np.float64]:
    """What the similarity to each of the others can be at most; no set is empty."""
    num_common = _count_bits(document.bitmap & others.bitmaps)
    num_common += np.minimum(document.num_hidden, others.num_hidden)
    bounds: npt.NDArray[np.float64] = num_common / (len(document) + others.lengths - num_common)
    return bounds


def jaccard(left: Hashes, right: Hashes) -> float:
    """The similarity of two sets, given as sorted unique hashes, not both empty."""
    both = np.concatenate((left, right))
    both.sort()
    num_common = int(np.count_nonzero(both[1:] == both[:-1]))
    return num_common / (len(both) - num_common)


def _count_bits(bitmaps: npt.NDArray[np.uint64]) -> Counts:
    counts = np.bitwise_count(bitmaps).sum(axis=-1, dtype=np.uint16)
    return np.asarray(counts, np.int64)
