"""What was measured of two models, side by side, and whether the difference is more than noise.

An evaluation keeps a value and its 95% interval for each measure, and no score of single items. So
the difference gets an interval made of the two (MOVER: Zou and Donner, Statistics in Medicine 27,
2008, equation 4; for two of Wilson's it is Newcombe's hybrid score interval of 1998), which takes
the two for independent. Asked the same items, two models err alike, so it is wider than a
paired one would be: what is called better or worse is so, and a small difference may go unseen.
It speaks of other test items, not of another training with another seed.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from model_code.statistics import Better, Measure
from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.results import stage_rank
from tasks.lineage.difference.sides import Side
from tasks.lineage.evaluations import MEASURES
from tasks.stages import STAGES

Verdict = Literal["better", "worse", "within the noise", "equal"]


@dataclass(frozen=True)
class MeasureChange:
    """A measure on either side, and what lies between.

    Attributes:
        stage: that it is about; ``evaluation`` is the stage that measured it.
        difference: B less A, with its interval; nothing where a side lacks the measure.
        verdict: on B; nothing where a side lacks the measure.
        conditions: what differs in how it was measured: roles of inputs, ``settings``,
            ``version``; none where both were measured alike.
    """

    stage: str
    evaluation: str
    name: str
    better: Better
    a: Measure | None
    b: Measure | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict | None
    conditions: Sequence[str]


def compare_measures(catalogue: Catalogue, a: Side, b: Side) -> list[MeasureChange]:
    """All measures of the models of both sides, in the order of the pipeline."""
    stages = {artifact.stage for side in (a, b) for artifact in side.evaluations}
    changes: list[MeasureChange] = []
    for stage in sorted(stages, key=stage_rank):
        left, right = _choose(
            [x for x in a.evaluations if x.stage == stage],
            [x for x in b.evaluations if x.stage == stage],
        )
        conditions = _other_conditions(left, right) if left and right else ()
        before, after = _read(catalogue, left), _read(catalogue, right)
        for name in dict.fromkeys([*before, *after]):
            changes.append(_compare(stage, before.get(name), after.get(name), conditions))
    return changes


def difference_interval(a: Measure, b: Measure) -> tuple[float, float]:
    """The 95% interval of ``b - a`` for independent values, from the intervals of both (MOVER)."""
    difference = b.value - a.value
    return (
        difference - math.hypot(b.value - b.low, a.high - a.value),
        difference + math.hypot(b.high - b.value, a.value - a.low),
    )


def judge(a: Measure, b: Measure) -> Verdict:
    """Whether B is better than A as far as their intervals can tell."""
    low, high = difference_interval(a, b)
    if (a.value, a.low, a.high) == (b.value, b.low, b.high):
        return "equal"
    if low <= 0 <= high:
        return "within the noise"
    return "better" if (low > 0) == (b.better == "higher") else "worse"


def _compare(
    evaluation: str, a: Measure | None, b: Measure | None, conditions: Sequence[str]
) -> MeasureChange:
    known = b or a
    assert known is not None
    stage = STAGES[evaluation].measures or ""
    if a is None or b is None:
        return MeasureChange(
            stage, evaluation, known.name, known.better, a, b, None, None, None, None, ()
        )
    low, high = difference_interval(a, b)
    return MeasureChange(
        stage,
        evaluation,
        known.name,
        known.better,
        a,
        b,
        round(b.value - a.value, 6),
        round(low, 6),
        round(high, 6),
        judge(a, b),
        conditions,
    )


def _choose(
    a: Sequence[Artifact], b: Sequence[Artifact]
) -> tuple[Artifact | None, Artifact | None]:
    """Of several evaluations of a model the last, and if there are some, two measured alike."""
    pairs = [(left, right) for left in a for right in b]
    if not pairs:
        return max(a, key=_time, default=None), max(b, key=_time, default=None)
    return max(pairs, key=lambda pair: (not _other_conditions(*pair), *map(_time, pair)))


def _time(artifact: Artifact) -> str:
    return str(artifact.facts.get("created", ""))


def _other_conditions(a: Artifact, b: Artifact) -> Sequence[str]:
    """What differs in how two models were measured."""
    found = [] if a.version == b.version else ["version"]
    if a.config != b.config:
        found.append("settings")
    before, after = dict(_conditions(a)), dict(_conditions(b))
    return found + [r for r in sorted({*before, *after}) if before.get(r) != after.get(r)]


def _conditions(evaluation: Artifact) -> Iterator[tuple[str, list[str]]]:
    """The digests of all inputs but the models, by role."""
    subjects = {stage.measures for stage in STAGES.values()}
    for role in {p.role for p in evaluation.parents if p.stage not in subjects}:
        yield role, [p.digest for p in evaluation.parents if p.role == role]


def _read(catalogue: Catalogue, evaluation: Artifact | None) -> dict[str, Measure]:
    """The measures by name; none where they were erased."""
    if evaluation is None or catalogue.erasure(evaluation):
        return {}
    path = catalogue.store.fetch(evaluation).path(MEASURES)
    rows = [Measure(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    return {measure.name: measure for measure in rows}
