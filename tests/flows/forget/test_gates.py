"""A model takes another's place unless a held-out measure is worse than chance explains."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.forget.gates import (
    Comparison,
    Interval,
    admits,
    compare_measures,
    explain_failure,
    gated_by,
    read_measures,
    widening,
)
from pipeline_data.artifact import Artifact, Parent
from tasks.lineage.catalogue import Catalogue
from tasks.store import Request, Store

numbers = st.floats(-100, 100)


def row(value: float, low: float | None, high: float | None, **more: Any) -> dict[str, Any]:
    return {"name": "m", "value": value, "low": low, "high": high, "better": "higher"} | more


def passes(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> bool:
    before = {("sft", "m"): dict(old)}
    (comparison,) = compare_measures(before, {("sft", "m"): dict(new)} if new else {})
    return comparison.passes


@pytest.mark.parametrize(
    ("better", "old", "new", "passed"),
    [
        ("higher", (0.4, 0.6), (0.7, 0.9), True),
        ("higher", (0.4, 0.6), (0.3, 0.4), True),
        ("higher", (0.4, 0.6), (0.2, 0.39), False),
        ("lower", (0.4, 0.6), (0.1, 0.2), True),
        ("lower", (0.4, 0.6), (0.6, 0.9), True),
        ("lower", (0.4, 0.6), (0.61, 0.9), False),
    ],
)
def test_a_measure_fails_that_lies_wholly_on_the_worse_side(
    better: str, old: tuple[float, float], new: tuple[float, float], passed: bool
) -> None:
    before, after = (row(sum(i) / 2, *i, better=better) for i in (old, new))
    assert passes(before, after) == passed


def test_a_value_without_an_interval_is_one_and_a_measure_that_is_gone_fails() -> None:
    assert passes(row(0.5, None, None), row(0.5, None, None))
    assert not passes(row(0.5, None, None), row(0.4, None, None))
    assert not passes(row(0.5, 0.1, 0.9), None)
    gone = Comparison("sft", "m", "higher", Interval(0.5, 0.4, 0.6), None)
    assert explain_failure(gone).endswith("was 0.500 [0.400, 0.600] and is not measured any more")


def test_of_many_measures_the_intervals_hold_together() -> None:
    assert widening(1) == pytest.approx(1.0)
    assert widening(70) == pytest.approx(1.726, abs=0.001)  # z of .9996 over z of .975
    old, new = row(0.5, 0.4, 0.6), row(0.25, 0.17, 0.33)
    assert not passes(old, new)
    many = {("sft", str(n)): old for n in range(70)}
    compared = compare_measures(many, dict.fromkeys(many, new))
    assert all(comparison.passes for comparison in compared)


@given(value=numbers, below=st.floats(0, 10), above=st.floats(0, 10), shift=numbers)
def test_better_never_fails_and_worse_by_enough_always_does(
    value: float, below: float, above: float, shift: float
) -> None:
    old = row(value, value - below, value + above)
    new = row(value + shift, value + shift - below, value + shift + above)
    assert passes(old, new) or shift < 0
    if shift < -(below + above) - 1e-6:
        assert not passes(old, new)


def make(store: Store, stage: str, parents: Mapping[str, Artifact], text: str) -> Artifact:
    def write(out: Path) -> dict[str, int]:
        (out / "measures.json").write_text(text)
        return {}

    made_of = [Parent(role, a.stage, a.key, a.digest) for role, a in parents.items()]
    return store.produce(Request(stage, 1, {"text": text}, made_of), write, {"created": text[-9:]})


def test_measures_are_those_of_a_model_and_of_all_it_was_made_of(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    base = make(store, "pretrain", {}, "base")
    sft = make(store, "sft", {"base": base}, "sft")
    other = make(store, "sft", {"base": base}, "other")
    for subject, model in {"base": base, "sft": sft}.items():
        measures = [row(0.5, 0.4, 0.6, name=f"{subject} {n}") for n in range(2)]
        make(store, f"evaluate-{subject}", {subject: model}, json.dumps(measures))
    found = read_measures(Catalogue.open(store), sft)
    assert set(found) == {
        ("pretrain", "base 0"), ("pretrain", "base 1"), ("sft", "sft 0"), ("sft", "sft 1"),
    }  # fmt: skip
    assert set(read_measures(Catalogue.open(store), other)) == {
        ("pretrain", "base 0"), ("pretrain", "base 1"),
    }  # fmt: skip


def test_gains_are_judged_as_their_sum_along_the_chain(tmp_path: Path) -> None:
    """What PPO has gained already practice cannot, and the assistant is none the worse."""

    def chain(ppo: float, practice: float) -> Any:
        store = Store(str(tmp_path / f"{ppo}"), tmp_path / f"cache {ppo}")
        first = make(store, "ppo", {}, "ppo")
        second = make(store, "practice", {"ppo": first}, "practice")
        for stage, model, rival, gain in (
            ("ppo", first, "SFT", ppo), ("practice", second, "PPO", practice)
        ):  # fmt: skip
            measures = [row(gain, gain - 0.03, gain + 0.04, name=f"polite, gain over {rival}")]
            if stage == "practice":
                measures.append(row(0.3, 0.2, 0.4, name="polite, gain over control"))
            make(store, f"evaluate-{stage}", {stage: model}, json.dumps(measures))
        return read_measures(Catalogue.open(store), second)

    old = chain(ppo=0.7, practice=0.23)
    (((stage, name), total),) = old.items()
    assert (stage, name) == ("base to assistant", "polite")
    assert total["value"] == pytest.approx(0.93)
    assert (total["low"], total["high"]) == (
        pytest.approx(0.8876, abs=1e-4),
        pytest.approx(0.9866, abs=1e-4),
    )
    (even,) = compare_measures(old, chain(ppo=0.9, practice=0.02))
    assert even.passes
    (worse,) = compare_measures(old, chain(ppo=0.5, practice=0.23))
    assert not worse.passes


def test_runs_ask_the_gate_that_is_open_and_no_other() -> None:
    assert admits({})
    with gated_by(lambda made: "sft" in made):
        assert not admits({})
    assert admits({})
