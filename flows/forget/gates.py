"""Whether a model may take the place of another: every held-out measure, old against new.

A measure fails when its interval lies wholly on the worse side of the old one's: then chance does
not explain the difference. There are some seventy measures, of which a few would fail by chance
alone if each were judged at 95%. So all intervals are widened until they hold together
(Bonferroni: each end as far from its value as a normal distribution's would be). A measure that
the old model has and the other lacks fails too.

A gain is a difference between two models that were both made anew, and says as much about the
rival as about the model: where PPO is polite already, practice has nothing to gain. So gains over
the model before are added up along the chain, and the sum is judged; a gain over a control, which
is no part of the chain, is not.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.evaluations import read_measures as read_rows
from tasks.stages import STAGES

Gate = Callable[[Mapping[str, Artifact]], bool]
"""Given what a run made by name: whether the names may mean it from now on."""
Measures = dict[tuple[str, str], dict[str, Any]]
"""By the stage that is measured and the measure's name."""


GAIN, CONTROL = ", gain over ", "control"
"""What stands in the names of gains before the rival, and the rival that nothing is made of."""
CHAIN = "base to assistant"
"""The stage that sums of gains are about."""
LEVEL = 0.95
"""Of the intervals that are measured, and of all of them together."""


@dataclass(frozen=True)
class Interval:
    """A measure's value and its interval; without one, the value stands for both ends."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, measure: Mapping[str, Any]) -> Self:
        """The interval of a row of measures.json."""
        value, low, high = (measure[name] for name in ("value", "low", "high"))
        return cls(value, value if low is None else low, value if high is None else high)

    def widen(self, factor: float) -> "Interval":
        """The same with its ends as many times as far from the value."""
        low = self.value - factor * (self.value - self.low)
        return Interval(self.value, low, self.value + factor * (self.high - self.value))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """One measure of a stage's result before and after; no ``new`` where it is gone.

    Attributes:
        factor: by which both intervals are widened, as this is one of many measures.
    """

    stage: str
    measure: str
    better: str
    old: Interval
    new: Interval | None
    factor: float = 1.0

    @property
    def passes(self) -> bool:
        """Whether the new interval reaches as far as the old one's worse end."""
        if self.new is None:
            return False
        old, new = self.old.widen(self.factor), self.new.widen(self.factor)
        return new.high >= old.low if self.better == "higher" else new.low <= old.high


def _admit(made: Mapping[str, Artifact]) -> bool:
    return True


_gate: ContextVar[Gate] = ContextVar("gate", default=_admit)


@contextmanager
def gated_by(gate: Gate) -> Iterator[None]:
    """Let the runs that end meanwhile name what they made only if ``gate`` lets them."""
    token = _gate.set(gate)
    try:
        yield
    finally:
        _gate.reset(token)


def admits(made: Mapping[str, Artifact]) -> bool:
    """Whether what a run made may be named."""
    return _gate.get()(made)


def read_measures(catalogue: Catalogue, model: Artifact) -> Measures:
    """The held-out measures of a model and of all the models that it was made of.

    Raises:
        ArtifactError: a record is gone.
    """
    measured = {stage.measures for stage in STAGES.values() if stage.measures}
    measures: Measures = {}
    for artifact in catalogue.ancestry(model):
        if artifact.stage in measured:
            for row in read_rows(catalogue, artifact):
                name, is_gain, rival = row["name"].partition(GAIN)
                if not is_gain:
                    measures.setdefault((artifact.stage, name), row)
                elif rival != CONTROL:
                    measures[CHAIN, name] = _add(row, measures.get((CHAIN, name)))
    return measures


def _add(gain: dict[str, Any], others: Mapping[str, Any] | None) -> dict[str, Any]:
    """The sum of gains: the ends of its interval are as far off as if each erred by itself."""
    if others is None:
        return gain
    one, other = Interval.of(gain), Interval.of(others)
    value = one.value + other.value
    below = math.hypot(one.value - one.low, other.value - other.low)
    above = math.hypot(one.high - one.value, other.high - other.value)
    return gain | {"value": value, "low": value - below, "high": value + above}


def compare_measures(old: Measures, new: Measures) -> list[Comparison]:
    """The old measures, each with the new one of its name."""
    factor = widening(len(old))
    return [
        Comparison(
            stage,
            name,
            row["better"],
            Interval.of(row),
            Interval.of(now) if (now := new.get((stage, name))) else None,
            factor,
        )
        for (stage, name), row in old.items()
    ]


def widening(num_measures: int) -> float:
    """How much wider intervals are that hold together, for so many measures."""
    normal = NormalDist()
    each = 1 - (1 - LEVEL) / max(num_measures, 1) / 2
    return normal.inv_cdf(each) / normal.inv_cdf(1 - (1 - LEVEL) / 2)


def explain_failure(comparison: Comparison) -> str:
    """What fails, with both intervals, for people."""
    what = f"{comparison.stage}: {comparison.measure} ({comparison.better} is better)"
    if comparison.new is None:
        return f"{what} was {comparison.old} and is not measured any more"
    return f"{what} was {comparison.old} and is {comparison.new}"
