"""SFT > responses > preferences > reward > PPO > practice, each measured on held-out prompts."""

from dataclasses import dataclass
from typing import Any

from flows.corpus import Corpus
from flows.pretraining import Base
from flows.recipe import Recipe
from tasks.runner import Runner
from tasks.stages import STAGES


@dataclass(frozen=True)
class Aligned:
    """The models that alignment makes."""

    sft: Any
    reward: Any
    ppo: Any
    assistant: Any

    @property
    def registered(self) -> dict[str, Any]:
        """The models that get a name."""
        return {"sft": self.sft, "reward": self.reward, "assistant": self.assistant}


def build_assistant(run: Runner, recipe: Recipe, corpus: Corpus, base: Base) -> Aligned:
    """From a base model to an assistant."""
    exercises = corpus.exercises
    sft = run.submit(STAGES["sft"], recipe.sft, {"base": base.model, "exercises": exercises})
    responses = run.submit(
        STAGES["responses"], recipe.responses, {"sft": sft, "exercises": exercises}
    )
    preferences = run.submit(STAGES["preferences"], recipe.preferences, {"responses": responses})
    reward = run.submit(
        STAGES["reward"],
        recipe.reward,
        {"sft": sft, "responses": responses, "preferences": preferences},
    )
    ppo = run.submit(
        STAGES["ppo"],
        recipe.ppo,
        {"sft": sft, "reward": reward, "exercises": exercises, "tokens": corpus.tokens},
    )
    practice = run.submit(
        STAGES["practice"], recipe.practice, {"ppo": ppo, "reward": reward, "exercises": exercises}
    )
    for name, models in {
        "evaluate-sft": {"base": base.model, "sft": sft},
        "evaluate-reward": {"sft": sft, "reward": reward},
        "evaluate-ppo": {"sft": sft, "ppo": ppo},
        "evaluate-practice": {"ppo": ppo, "practice": practice},
    }.items():
        run.submit(STAGES[name], recipe.evaluate, {**models, "exercises": exercises})
    return Aligned(sft, reward, ppo, practice)
