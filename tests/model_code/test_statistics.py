import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_code.ngram import Bigram
from model_code.statistics import bootstrap_ratio, paired_difference, proportion, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (90, 100, 0.8256, 0.9448),
    ],
)
def test_wilson_gives_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion(case: tuple[int, int]) -> None:
    low, high = wilson(*case)
    assert 0 <= low <= case[0] / case[1] <= high <= 1


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_ratio(values, np.ones(400), 2000, seed=1)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert (low, high) == bootstrap_ratio(values, np.ones(400), 2000, seed=1)


def test_bootstrap_weighs_units_by_their_denominators() -> None:
    assert bootstrap_ratio([2.0, 20.0], [1.0, 10.0], 200, seed=1) == (2.0, 2.0)


def test_a_constant_gain_has_no_width() -> None:
    measure = paired_difference("gain", [1.0, 2.0, 5.0], [0.5, 1.5, 4.5], 200, seed=0)
    assert (measure.value, measure.low, measure.high, measure.baseline) == (0.5, 0.5, 0.5, 0.0)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    rng = np.random.default_rng(2)
    old = rng.normal(0, 5, 300)
    new = old + rng.normal(0.5, 0.5, 300)
    paired = paired_difference("gain", new, old, 500, seed=0)
    shuffled = paired_difference("gain", new, rng.permutation(old), 500, seed=0)
    assert 0 < paired.low < 0.5 < paired.high
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 3


def test_proportion_counts_what_is_true() -> None:
    measure = proportion("share", [True, True, False, True], baseline=0.25)
    assert (measure.value, measure.baseline, measure.better) == (0.75, 0.25, "higher")
    assert (measure.low, measure.high) == wilson(3, 4)


@pytest.mark.parametrize("empty", [lambda: wilson(0, 0), lambda: bootstrap_ratio([], [], 100, 0)])
def test_nothing_has_no_interval(empty) -> None:
    with pytest.raises(ValueError, match="at least one"):
        empty()


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.integers(0, 6))
def test_bigram_probabilities_sum_to_one(stream: list[int], before: int) -> None:
    bigram = Bigram(np.array(stream), 7)
    total = sum(math.exp(bigram.log_probs(np.array([before, after]))[0]) for after in range(7))
    assert total == pytest.approx(1)


def test_bigram_counts_as_by_hand() -> None:
    bigram = Bigram(np.array([1, 2, 1, 2, 1, 0]), 3)
    unigram = np.array([2, 4, 3]) / 9
    expected = [(2 + 2 * unigram[2]) / (3 + 2), (2 + 2 * unigram[1]) / (2 + 2)]
    assert np.exp(bigram.log_probs(np.array([1, 2, 1]))) == pytest.approx(expected)
