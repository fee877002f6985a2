"""Intervals for what is measured. All are 95% and deterministic for a seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054
Array = npt.NDArray[np.float64]
Numbers = Sequence[float] | Array
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A number with its interval; ``baseline`` is the number to beat, and ``better`` which way."""

    name: str
    value: float
    low: float
    high: float
    baseline: float | None = None
    better: Better = "higher"


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion.

    Raises:
        ValueError: there is no trial.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    p, z2 = successes / trials, Z95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def bootstrap_ratio(
    numerators: Numbers, denominators: Numbers, resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``sum(numerators) / sum(denominators)``.

    The units (documents, prompts) are drawn with both their numbers; with denominators of 1 it
    is the interval of a mean, and with differences as numerators that of a paired comparison.

    Raises:
        ValueError: there is no unit.
    """
    top, bottom = np.asarray(numerators, float), np.asarray(denominators, float)
    if len(top) < 1:
        raise ValueError("an interval needs at least one unit")
    rng = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, len(top), len(top))
        ratios[i] = top[drawn].sum() / bottom[drawn].sum()
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def proportion(name: str, outcomes: Sequence[bool], baseline: float | None = None) -> Measure:
    """The share of true outcomes with Wilson's interval."""
    low, high = wilson(sum(outcomes), len(outcomes))
    return Measure(name, sum(outcomes) / len(outcomes), low, high, baseline)


def paired_difference(name: str, new: Numbers, old: Numbers, resamples: int, seed: int) -> Measure:
    """Mean of ``new - old`` over the same units with its bootstrap interval; baseline is 0."""
    difference = np.asarray(new, float) - np.asarray(old, float)
    low, high = bootstrap_ratio(difference, np.ones(len(difference)), resamples, seed)
    return Measure(name, float(difference.mean()), low, high, 0.0)
