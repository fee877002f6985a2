"""Token shards > base model."""

from dataclasses import dataclass
from typing import Any

from flows.corpus import Corpus
from flows.recipe import Recipe
from tasks.runner import Runner
from tasks.stages import STAGES


@dataclass(frozen=True)
class Base:
    """The base model and what was measured of it."""

    model: Any


def build_base(run: Runner, recipe: Recipe, corpus: Corpus) -> Base:
    """Pretrain on the mixture of sources and measure on documents held out of it."""
    base = run.submit(
        STAGES["pretrain"],
        recipe.pretrain,
        {"tokens": corpus.tokens, "tokenizer": corpus.tokenizer},
    )
    run.submit(
        STAGES["evaluate-base"],
        recipe.evaluate,
        {"base": base, "tokens": corpus.tokens, "exercises": corpus.exercises},
    )
    return Base(base)
