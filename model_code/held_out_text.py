"""How well a base model knows text it has not seen: bits per byte, and sentences completed."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code.ngram import Bigram
from model_code.scoring import pack
from model_code.token_streams import HeldOutDocument

BATCH_SIZE = 64


@torch.no_grad()
def model_bits(
    model: LlamaForCausalLM, documents: Sequence[HeldOutDocument], bos: int, context: int
) -> list[float]:
    """Bits the model needs for each document.

    A document is read in windows of ``context`` tokens that overlap by one, so that every token
    is predicted once, from at most ``context - 1`` tokens before it.
    """
    windows: list[Tensor] = []
    owners: list[int] = []
    for index, document in enumerate(documents):
        tokens = torch.tensor([bos, *document.tokens.tolist()])
        for start in range(0, len(tokens) - 1, context - 1):
            windows.append(tokens[start : start + context])
            owners.append(index)
    bits = np.zeros(len(documents))
    order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
    for first in range(0, len(order), BATCH_SIZE):
        chosen = order[first : first + BATCH_SIZE]
        batch = torch.nn.utils.rnn.pad_sequence(
            [windows[i] for i in chosen], batch_first=True, padding_value=-1
        )
        present = batch[:, 1:] >= 0
        logits = model(input_ids=batch.clamp(min=0), use_cache=False).logits[:, :-1]
        targets = batch[:, 1:].clamp(min=0)
        log_probs = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
        nats = -(log_probs * present).double().sum(1)
        np.add.at(bits, [owners[i] for i in chosen], (nats / np.log(2)).numpy())
    return [float(b) for b in bits]


def bigram_bits(bigram: Bigram, documents: Sequence[HeldOutDocument], bos: int) -> list[float]:
    """Bits a bigram needs for each document."""
    return [
        float(-bigram.log_probs(np.concatenate([[bos], document.tokens])).sum() / np.log(2))
        for document in documents
    ]


@torch.no_grad()
def completes(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    completions: Sequence[Mapping[str, str]],
) -> list[bool]:
    """Whether the model greedily completes each prefix with its value and a full stop."""
    right: list[bool] = []
    for first in range(0, len(completions), 2 * BATCH_SIZE):
        chunk = completions[first : first + 2 * BATCH_SIZE]
        prefixes = [[tokenizer.bos_token_id, *_ids(tokenizer, c["prefix"])] for c in chunk]
        values = [_ids(tokenizer, f" {c['value']}.") for c in chunk]
        batch = pack(prefixes, values, tokenizer.pad_token_id)
        guesses = model(input_ids=batch.tokens, use_cache=False).logits[:, :-1].argmax(-1)
        right += ((guesses == batch.targets) | ~batch.mask).all(1).tolist()
    return right


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
