"""The stages of training below a model: what each was made with, saw and is worth."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.report.ancestry import Ancestry
from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.evaluations import MEASURES, find_evaluations
from tasks.lineage.exposure import Attribution, attribution
from tasks.stages import STAGES

EVALUATIONS = {stage.measures: stage.name for stage in STAGES.values() if stage.measures}
"""The stage that measures the result of another, by that other's name."""


@dataclass(frozen=True)
class Measure:
    """A held-out measure: its value, what it has to beat, and the 95% interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    baseline: float | None
    better: str

    @property
    def verdict(self) -> str:
        """Whether the interval lies on the better side of the baseline."""
        if self.baseline is None or self.low is None or self.high is None:
            return "no baseline"
        above, below = self.low > self.baseline, self.high < self.baseline
        if not (above or below):
            return "not told apart"
        return "better" if above == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class Training:
    """A stage of training and its evaluation, if one is on record.

    Attributes:
        orders: how many of the tokens it saw belong to a document on record; none for a training
            that left no order.
    """

    artifact: Artifact
    evaluation: Artifact | None
    measures: Sequence[Measure]
    orders: Sequence[Attribution]

    @property
    def stage(self) -> str:
        return self.artifact.stage


@dataclass(frozen=True)
class Exercise:
    """Something generated that a stage of training used.

    Attributes:
        maker: the model that wrote it, by its digest; nothing where a program's rules did.
    """

    what: str
    number: int
    rule: str
    maker: Artifact | None
    used_in: str


def read_trainings(catalogue: Catalogue, ancestry: Ancestry) -> list[Training]:
    """The stages of training of an ancestry, in the order of the pipeline."""
    found = [a for stage in EVALUATIONS for a in ancestry.of_stage(stage)]
    order = list(STAGES)
    found.sort(key=lambda artifact: order.index(artifact.stage))
    return [_read_training(catalogue, artifact) for artifact in found]


def _read_training(catalogue: Catalogue, artifact: Artifact) -> Training:
    made = find_evaluations(catalogue, artifact)
    live = [evaluation for evaluation in made if catalogue.erasure(evaluation) is None]
    measures: list[Measure] = []
    if live:
        path = catalogue.store.fetch(live[-1]).path(MEASURES)
        measures = [Measure(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    is_here = catalogue.erasure(artifact) is None
    orders = attribution(catalogue.store.fetch(artifact)) if is_here else []
    return Training(artifact, live[-1] if live else None, measures, orders)


def read_exercises(ancestry: Ancestry) -> list[Exercise]:
    """What alignment was taught with, in the order of the pipeline."""
    return [
        exercise
        for read in (_of_sft, _of_reward, _of_ppo, _of_practice)
        for exercise in read(ancestry)
    ]


def _of_sft(ancestry: Ancestry) -> Iterator[Exercise]:
    for sft in ancestry.of_stage("sft"):
        yield Exercise(
            "demonstrations", int(sft.counts["demonstrations"]), "templates", None, "sft"
        )


def _of_reward(ancestry: Ancestry) -> Iterator[Exercise]:
    for responses in ancestry.of_stage("responses"):
        counts, writer = responses.counts, _maker(ancestry, responses, "sft")
        yield Exercise("prompts", int(counts["prompts"]), "templates", None, "reward")
        yield Exercise("responses", int(counts["responses"]), "sampled", writer, "reward")
    for preferences in ancestry.of_stage("preferences"):
        noise = float(preferences.config["noise"])
        rule = f"a stated rule in the place of people, {noise:.0%} of the labels flipped at random"
        yield Exercise("rankings", int(preferences.counts["pairs"]), rule, None, "reward")


def _of_ppo(ancestry: Ancestry) -> Iterator[Exercise]:
    for ppo in ancestry.of_stage("ppo"):
        counts: Mapping[str, Any] = ppo.counts
        yield Exercise("prompts", int(counts["prompts"]), "templates", None, "ppo")
        sampled = int(counts["iterations"]) * int(ppo.config["rollouts"])
        rule = "sampled while it learnt, scored by the reward model"
        yield Exercise("responses", sampled, rule, ppo, "ppo")


def _of_practice(ancestry: Ancestry) -> Iterator[Exercise]:
    for practice in ancestry.of_stage("practice"):
        counts, writer = practice.counts, _maker(ancestry, practice, "ppo")
        yield Exercise("prompts", int(counts["problems"]), "templates", None, "practice")
        checked = "sampled; kept where a checker found them right"
        yield Exercise("answers", int(counts["answers kept"]), checked, writer, "practice")
        best = "sampled; the best by the reward model, to keep what was learnt"
        yield Exercise("answers", int(counts["anchors"]), best, writer, "practice")


def _maker(ancestry: Ancestry, artifact: Artifact, role: str) -> Artifact | None:
    pair = ancestry.parent(artifact, role)
    return pair[1] if pair else None
