"""Log-probabilities of answers, and how questions and answers are laid out in a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Batch:
    """Questions with their answers, padded on the right.

    ``tokens`` and ``answers`` (True at answer tokens) are ``[batch, length]``.
    """

    tokens: Tensor
    answers: Tensor

    @property
    def targets(self) -> Tensor:
        """``[batch, length - 1]``: the token each position predicts."""
        return self.tokens[:, 1:]

    @property
    def mask(self) -> Tensor:
        """``[batch, length - 1]``: True where the predicted token is of an answer."""
        return self.answers[:, 1:]

    @property
    def last(self) -> Tensor:
        """``[batch]``: index into ``targets`` of the last token of each answer."""
        return self.mask.shape[1] - 1 - self.mask.flip(1).int().argmax(1)

    def select(self, rows: Tensor) -> "Batch":
        """Some of the rows, without the padding they do not need."""
        answers = self.answers[rows]
        length = int(answers.any(0).nonzero().max()) + 1
        return Batch(self.tokens[rows, :length], answers[:, :length])


def pack(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], pad: int) -> Batch:
    """Lay out questions and answers (token ids) as a batch."""
    length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    tokens = torch.full((len(prompts), length), pad)
    is_answer = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor([*prompt, *answer])
        is_answer[row, len(prompt) : end] = True
    return Batch(tokens, is_answer)


def token_log_probs(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """``[batch, length - 1]``: log-probability of each answer token, 0 elsewhere.

    Only positions that predict an answer token pass through the output matrix.
    """
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][batch.mask])
    chosen = logits.gather(-1, batch.targets[batch.mask][:, None])[:, 0]
    log_probs = torch.zeros(batch.mask.shape)
    return log_probs.masked_scatter(batch.mask, chosen - logits.logsumexp(-1))


def span_ends(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The tokens that end the answer span: full stop and comma."""
    return [tokenizer.encode(mark, add_special_tokens=False)[0] for mark in (".", ",")]


@torch.no_grad()
def answer_log_probs(model: LlamaForCausalLM, batch: Batch, ends: Sequence[int]) -> Tensor:
    """``[batch]``: log-probability of the answer span, that is up to the first of ``ends``."""
    is_end = torch.isin(batch.targets, torch.tensor(ends)) & batch.mask
    before_end = is_end.cumsum(1) == 0
    return (token_log_probs(model, batch) * before_end).sum(1)
