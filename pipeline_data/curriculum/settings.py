"""Settings of the generated curriculum: the size of its world and of its exercises."""

from typing import Self

from pydantic import Field, model_validator

from pipeline_data.settings import Fraction, Settings


class PassageMixture(Settings):
    """How often each kind of passage is written into a pretraining document."""

    sums: float = Field(default=0.36, ge=0)
    """Weight of passages of worked sums."""
    questions: float = Field(default=0.34, ge=0)
    """Weight of passages of questions and answers, half of them sums."""
    entities: float = Field(default=0.28, ge=0)
    """Weight of passages that describe one town, person or animal."""
    stories: float = Field(default=0.02, ge=0)
    """Weight of short stories, which teach nothing that is asked later."""


class StyleMixture(Settings):
    """How often a demonstration is of each quality: mixed, so that there is something to prefer."""

    good: float = Field(default=0.20, ge=0)
    """Weight of polite demonstrations."""
    curt: float = Field(default=0.40, ge=0)
    """Weight of demonstrations that give the answer and nothing else."""
    rude: float = Field(default=0.15, ge=0)
    """Weight of rude demonstrations."""
    rambling: float = Field(default=0.15, ge=0)
    """Weight of demonstrations that go on after the answer."""
    unfinished: float = Field(default=0.10, ge=0)
    """Weight of demonstrations that never stop."""


class CurriculumConfig(Settings):
    """A small generated world, documents about it, and exercises with strict splits."""

    seed: int = Field(default=7, ge=0)
    """Seed of names, facts, splits and documents."""
    num_towns: int = Field(default=18, ge=2)
    """Towns; each has a river, goods and a colour."""
    num_people: int = Field(default=30, ge=2)
    """People; each has a job, a town and a favourite food."""
    num_animals: int = Field(default=18, ge=2)
    """Animals; each has a habitat, a food and a colour."""
    max_operand: int = Field(default=36, ge=6, le=99)
    """Largest operand of a small sum."""
    max_large_operand: int = Field(default=60, ge=7, le=99)
    """Largest operand of a large sum: the harder problems that practice is for."""
    large_sums: Fraction = 0.08
    """Fraction of the sums in documents that are large."""
    passages: PassageMixture = PassageMixture()
    """What the documents are made of."""
    num_bytes: int = Field(default=5_000_000, ge=10_000)
    """UTF-8 bytes of all documents together."""
    shards: int = Field(default=4, ge=1, le=999)
    """Raw shards the documents are spread over."""
    styles: StyleMixture = StyleMixture()
    """Quality of the demonstrations."""
    num_demonstrations: int = Field(default=3900, ge=20)
    """Demonstrations for supervised fine-tuning."""
    num_preference_prompts: int = Field(default=700, ge=10)
    """Prompts whose answers are ranked."""
    num_ppo_prompts: int = Field(default=800, ge=10)
    """Prompts of the PPO rollouts."""
    num_practice_prompts: int = Field(default=480, ge=10)
    """Large sums to practise on, which no other stage trains on."""
    num_validation_prompts: int = Field(default=160, ge=10)
    """Prompts for choosing settings."""
    num_test_prompts: int = Field(default=420, ge=10)
    """Prompts for what is reported."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_large_operand <= self.max_operand:
            raise ValueError("max_large_operand must be greater than max_operand")
        for mixture in (self.passages, self.styles):
            if sum(mixture.model_dump().values()) <= 0:
                raise ValueError("a mixture needs at least one weight above 0")
        return self
