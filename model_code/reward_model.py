"""The reward model: how much people would like an answer.

A trunk from the SFT model and a linear head read the answer's last token, as in Ouyang et al.
2022. A small trunk cannot tell a right sum from a wrong one by that alone; the SFT model's own
log-probability of the answer span says more about it, so it is added with a learnt weight.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from model_code import language_model
from model_code.scoring import Batch, answer_log_probs, pack
from pipeline_data.settings import canonical_json

CLASSIFIER, REFERENCE, SCALE = "model", "reference", "scale.json"
LEAST_LIKELIHOOD = -8.0
"""Log-probabilities below this tell no more."""


@dataclass
class Scale:
    """Mean and standard deviation of rewards over typical answers: rewards are z-scores."""

    mean: float = 0.0
    deviation: float = 1.0


class RewardModel(nn.Module):
    """Trunk and head (a sequence classifier with one label) and the weight of the likelihood."""

    def __init__(
        self,
        classifier: LlamaForSequenceClassification,
        likelihood_weight: float,
        centre: float = 0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.likelihood_weight = nn.Parameter(torch.tensor(likelihood_weight))
        self.centre = centre

    def rewards(self, batch: Batch, likelihood: Tensor) -> Tensor:
        """``[batch]``: raw rewards of answers whose span has this log-probability ``[batch]``."""
        values = self.values(batch)
        at_end = values[torch.arange(len(values)), batch.last + 1]
        return at_end + self.likelihood_weight * likelihood.clamp(min=LEAST_LIKELIHOOD)

    def values(self, batch: Batch) -> Tensor:
        """``[batch, length]``: what the head reads at every token; a value model starts from it."""
        hidden = self.classifier.model(input_ids=batch.tokens, use_cache=False).last_hidden_state
        values: Tensor = self.classifier.score(hidden)[..., 0]
        return values

    def forward(
        self, tokens: Tensor, answers: Tensor, likelihood: Tensor, chosen: Tensor, rejected: Tensor
    ) -> dict[str, Tensor]:
        """The pairwise loss (Bradley and Terry 1952) over index pairs into the batch."""
        rewards = self.rewards(Batch(tokens, answers), likelihood)
        loss = -functional.logsigmoid(rewards[chosen] - rewards[rejected]).mean()
        return {"loss": loss + self.centre * rewards.square().mean()}


@dataclass
class Scorer:
    """A trained reward model with its frozen reference (the SFT model), ready to score."""

    model: RewardModel
    reference: LlamaForCausalLM
    span_ends: list[int]
    scale: Scale
    batch_size: int = 256

    @torch.no_grad()
    def score(self, prompts: list[list[int]], answers: list[list[int]]) -> Tensor:
        """``[answers]``: rewards in standard deviations."""
        scores = []
        for start in range(0, len(prompts), self.batch_size):
            chunk = slice(start, start + self.batch_size)
            scores.append(self.score_batch(pack(prompts[chunk], answers[chunk], self.pad)))
        return torch.cat(scores)

    @torch.no_grad()
    def score_batch(self, batch: Batch) -> Tensor:
        """``[batch]``: rewards in standard deviations."""
        likelihood = answer_log_probs(self.reference, batch, self.span_ends)
        raw = self.model.rewards(batch, likelihood)
        return (raw - self.scale.mean) / self.scale.deviation

    @property
    def pad(self) -> int:
        return int(self.reference.config.pad_token_id)


def build(
    policy: LlamaForCausalLM, likelihood_weight: float, centre: float, seed: int
) -> RewardModel:
    """A reward model whose trunk is a copy of the policy's."""
    torch.manual_seed(seed)
    config = type(policy.config).from_dict({**policy.config.to_dict(), "id2label": {0: "reward"}})
    classifier = LlamaForSequenceClassification(config)
    classifier.set_attn_implementation(policy.config._attn_implementation)
    classifier.model.load_state_dict(policy.model.state_dict())
    return RewardModel(classifier, likelihood_weight, centre)


def save(scorer: Scorer, tokenizer: Path, out: Path) -> None:
    """Write the classifier and the reference as model folders, and the scale beside them."""
    language_model.save(scorer.model.classifier, tokenizer, out / CLASSIFIER)
    language_model.save(scorer.reference, tokenizer, out / REFERENCE)
    scale = {
        "likelihood_weight": scorer.model.likelihood_weight.item(),
        "mean": scorer.scale.mean,
        "deviation": scorer.scale.deviation,
        "span_ends": scorer.span_ends,
    }
    (out / SCALE).write_text(canonical_json(scale) + "\n", encoding="utf-8")


def load(directory: Path) -> Scorer:
    """Read what :func:`save` wrote."""
    classifier = language_model.load_classifier(directory / CLASSIFIER)
    scale = json.loads((directory / SCALE).read_text(encoding="utf-8"))
    return Scorer(
        RewardModel(classifier, scale["likelihood_weight"]).eval(),
        language_model.load(directory / REFERENCE),
        scale["span_ends"],
        Scale(scale["mean"], scale["deviation"]),
    )
