"""Similarities and their bounds, against sets."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_data.corpus.deduplication.shingle_similarity import (
    BITMAP_BITS,
    ShingleSet,
    bound_similarity,
    jaccard,
    make_sketches,
)

hashes = st.frozensets(
    st.integers(0, 30)
    | st.integers(0, 9).map(lambda n: n * BITMAP_BITS)
    | st.integers(0, 2**64 - 1),
    min_size=1,
    max_size=40,
)


def to_array(values: frozenset[int]) -> np.ndarray:
    return np.array(sorted(values), np.uint64)


def similarity(left: frozenset[int], right: frozenset[int]) -> float:
    return len(left & right) / len(left | right)


@given(hashes, hashes)
def test_jaccard_is_that_of_the_sets(left: frozenset[int], right: frozenset[int]) -> None:
    assert jaccard(to_array(left), to_array(right)) == similarity(left, right)


@given(hashes, st.lists(hashes, min_size=1, max_size=5))
@example(frozenset({0, BITMAP_BITS}), [frozenset({BITMAP_BITS, 2 * BITMAP_BITS})])
def test_the_bound_holds(document: frozenset[int], others: list[frozenset[int]]) -> None:
    sets = [ShingleSet(to_array(other)) for other in others]
    sketches = make_sketches([s.bitmap.tobytes() for s in sets], [len(s) for s in sets])
    bounds = bound_similarity(ShingleSet(to_array(document)), sketches).tolist()
    assert all(
        bound >= similarity(document, other) for bound, other in zip(bounds, others, strict=True)
    )


def test_the_bound_is_close() -> None:
    common, left, right = np.split(
        np.random.default_rng(0).integers(0, 2**64, 400, np.uint64), [240, 320]
    )
    document, other = (ShingleSet(np.union1d(common, own)) for own in (left, right))
    [bound] = bound_similarity(document, make_sketches([other.bitmap.tobytes()], [len(other)]))
    assert 0.6 == jaccard(document.hashes, other.hashes) < bound < 0.7
