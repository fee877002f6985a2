"""Measures side by side, and when a difference is more than noise."""

from pathlib import Path

import pytest

from model_code.statistics import Measure, wilson
from pipeline_data.artifact import Artifact
from tasks.lineage.difference.measures import difference_interval, judge
from tasks.store import Store
from tests.tasks.lineage.toy_chain import (
    compare,
    make,
    make_chain,
    make_evaluation,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def test_the_interval_of_a_difference_is_newcombes_for_two_proportions() -> None:
    """56 of 70 against 48 of 80: table II, method 10 of Newcombe (1998) has 0.0524 to 0.3339."""
    first, second = Measure("m", 48 / 80, *wilson(48, 80)), Measure("m", 56 / 70, *wilson(56, 70))
    assert difference_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "better", "verdict"),
    [
        ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), "higher", "better"),
        ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), "lower", "worse"),
        ((0.9, 0.8, 1.0), (0.5, 0.4, 0.6), "lower", "better"),
        ((0.5, 0.3, 0.7), (0.6, 0.4, 0.8), "higher", "within the noise"),
        ((0.5, 0.4, 0.6), (0.65, 0.55, 0.75), "higher", "better"),  # though they overlap
        ((0.5, 0.4, 0.6), (0.5, 0.4, 0.6), "higher", "equal"),
    ],
)
def test_a_verdict(
    a: tuple[float, float, float], b: tuple[float, float, float], better: str, verdict: str
) -> None:
    first, second = (Measure("m", *values, None, better) for values in (a, b))  # type: ignore[arg-type]
    assert judge(first, second) == verdict


def test_measures_of_models_are_those_taken_alike(store: Store) -> None:
    """B was measured twice; what compares is the evaluation with A's settings."""
    models = [make_chain(store, "pages", 1, seed) for seed in (0, 1)]

    def evaluate(model: Artifact, value: float, samples: int, *names: str) -> None:
        rows = [Measure(name, value, value - 0.1, value + 0.1) for name in names]
        make_evaluation(store, "evaluate-base", {"base": model}, rows, samples=samples)

    evaluate(models[0], 0.2, 5, "hits", "old")
    evaluate(models[1], 0.6, 5, "hits", "new")
    evaluate(models[1], 0.9, 50, "hits")
    difference = compare(store, *models)
    told = {m.name: (m.stage, m.verdict, m.difference, m.conditions) for m in difference.measures}
    assert told == {
        "hits": ("pretrain", "better", 0.4, []),
        "old": ("pretrain", None, None, ()),
        "new": ("pretrain", None, None, ()),
    }
    assert difference.verdicts == {"better": 1, "only in A": 1, "only in B": 1}


def test_measured_otherwise_is_said(store: Store) -> None:
    models = [make_chain(store, "pages", 1, seed) for seed in (0, 1)]
    for model, text in zip(models, ("these", "those"), strict=True):
        exercises = make(store, "curriculum", text=text, config={"text": text})
        inputs = {"base": model, "exercises": exercises}
        row = Measure("hits", 0.5, 0.4, 0.6)
        make_evaluation(store, "evaluate-base", inputs, [row], samples=len(text))
    (measure,) = compare(store, *models).measures
    assert measure.conditions == ["exercises"]
