"""Two models' answers to the same prompts, compared prompt by prompt on every axis."""

from collections.abc import Sequence
from dataclasses import replace

from model_code.graded_answers import GradedAnswers
from model_code.settings import EvaluateConfig
from model_code.statistics import Better, Measure, paired_difference
from pipeline_data.preferences import Grade, Prompt

KINDS = {"fact": "facts", "sum": "sums", "unknown": "unknown names"}


def utility_gain(
    name: str, new: GradedAnswers, old: GradedAnswers, config: EvaluateConfig, sampled: bool = False
) -> Measure:
    """Mean utility over that of a rival's answers to the same prompts."""
    gained, had = (answers.axis(lambda g: g.utility, sampled) for answers in (new, old))
    return paired_difference(name, gained, had, *resampling(config))


def axis_gains(
    new: GradedAnswers, old: GradedAnswers, rival: str, config: EvaluateConfig
) -> list[Measure]:
    """Every axis of the grades, as the difference to a rival's answers to the same prompts."""
    everything = list(range(len(new.prompts)))
    due = [i for i, prompt in enumerate(new.prompts) if prompt.answer is not None]
    measures = []

    def compare_axis(name: str, axis: str, rows: Sequence[int], better: Better = "higher") -> None:
        for sampled, decoding in ((False, "greedy"), (True, "sampled")):
            gained, had = (
                answers.axis(lambda grade: float(getattr(grade, axis)), sampled)[rows]
                for answers in (new, old)
            )
            label = f"{name}, {decoding}, gain over {rival}"
            gain = paired_difference(label, gained, had, *resampling(config))
            measures.append(replace(gain, better=better))

    compare_axis("correct", "correct", everything)
    for kind, rows in rows_by_kind(new.prompts).items():
        compare_axis(f"correct on {KINDS[kind]}", "correct", rows)
    compare_axis("refusal where an answer was due", "refusal", due, "lower")
    compare_axis("polite", "polite", everything)
    compare_axis("rude", "rude", everything, "lower")
    compare_axis("finished", "finished", everything)
    compare_axis("tokens", "length", everything, "lower")
    return measures


def rows_by_kind(prompts: Sequence[Prompt]) -> dict[str, list[int]]:
    """The indices of the prompts of each kind that occurs."""
    rows = {kind: [i for i, p in enumerate(prompts) if p.kind == kind] for kind in KINDS}
    return {kind: indices for kind, indices in rows.items() if indices}


def is_correct(grade: Grade) -> float:
    """The axis that exact match is the mean of."""
    return float(grade.correct)


def resampling(config: EvaluateConfig) -> tuple[int, int]:
    """Resamples and seed of the intervals."""
    return config.bootstrap, config.seed
