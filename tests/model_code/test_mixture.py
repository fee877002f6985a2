"""Shares of sources under limits."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_code.mixture import Limits, share_rows
from model_code.settings import PretrainConfig

SOURCES = st.lists(
    st.tuples(st.floats(1e-3, 100), st.none() | st.integers(0, 300)), min_size=1, max_size=6
)


@given(sources=SOURCES, num_rows=st.integers(0, 1000))
def test_rows_are_shared_by_weight_up_to_the_limits(
    sources: list[tuple[float, int | None]], num_rows: int
) -> None:
    weights, limits = [list(column) for column in zip(*sources, strict=True)]
    assume(None in limits or sum(limits) >= num_rows)
    given = share_rows(weights, limits, num_rows)
    assert sum(given) == num_rows
    assert all(limit is None or n <= limit for n, limit in zip(given, limits, strict=True))
    free = [i for i, limit in enumerate(limits) if limit is None or given[i] < limit]
    # What is under its limit has its weight's part, and none has more for its weight.
    for i in free:
        for j in range(len(given)):
            level = Fraction(given[i] + 1) / Fraction(weights[i])
            assert Fraction(given[j] - 1) / Fraction(weights[j]) <= level


@given(sources=SOURCES, extra=st.integers(1, 100))
def test_more_than_all_sources_may_give_is_refused(
    sources: list[tuple[float, int | None]], extra: int
) -> None:
    weights, limits = [w for w, _ in sources], [limit or 0 for _, limit in sources]
    with pytest.raises(ValueError, match=f"only {sum(limits)} of {sum(limits) + extra}"):
        share_rows(weights, limits, sum(limits) + extra)


def test_what_a_full_source_leaves_goes_to_the_others_by_weight() -> None:
    assert share_rows([0.6, 0.3, 0.1], [30, None, None], 102) == [30, 54, 18]
    assert share_rows([0.6, 0.3, 0.1], [30, 40, None], 100) == [30, 40, 30]
    assert share_rows([1.0, 1.0, 1.0], [None] * 3, 11) == [4, 4, 3]


def test_limits_of_a_source() -> None:
    limits = Limits(1.5, {"book": 2.3, "wiki": 0.25}, {"wiki": 1000, "book": 99_999})
    assert limits.max_rows("web", 101, 8) == 151
    assert limits.max_rows("book", 10, 8) == 23
    assert limits.max_rows("wiki", 1000, 8) == 125
    assert limits.max_rows("wiki", 100, 8) == 25
    assert Limits().max_rows("web", 101, 8) is None


def test_limits_are_of_sources_of_the_mixture() -> None:
    mixture = {"web": 2.0, "books": 1.0}
    made = PretrainConfig(mixture=mixture, max_epochs=2, source_max_epochs={"books": 0.5})
    assert made.source_max_epochs == {"books": 0.5}
    for name in ("source_max_epochs", "source_max_tokens"):
        with pytest.raises(ValidationError, match=f"{name} names wiki, not a source of the mixt"):
            PretrainConfig.model_validate({"mixture": mixture, name: {"wiki": 3, "web": 3}})
        with pytest.raises(ValidationError, match="greater than 0"):
            PretrainConfig.model_validate({"mixture": mixture, name: {"web": 0}})
