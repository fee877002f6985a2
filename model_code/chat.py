"""A conversation with a model folder, one piece of text at a time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from model_code import language_model
from model_code.conversation import decode_response, encode_messages
from pipeline_data.errors import ArtifactError


@torch.no_grad()
def stream(
    directory: Path,
    messages: Sequence[Mapping[str, str]],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str]:
    """The answer to messages (``role``, ``content``), as it comes; greedy at temperature 0.

    Only the latest messages that leave room for the answer are read.

    Raises:
        ArtifactError: there is no model in the folder, or the last message alone is too long.
    """
    if not (directory / "config.json").exists():
        raise ArtifactError(f"no model at {directory}: name the model folder of a finished run")
    model, tokenizer = language_model.load(directory), language_model.load_tokenizer(directory)
    tokens = _fit(tokenizer, messages, model.config.max_position_embeddings - max_new_tokens)
    generator = torch.Generator().manual_seed(seed)
    answer: list[int] = []
    shown, text = "", ""
    inputs, cache = torch.tensor([tokens]), None
    while len(answer) < max_new_tokens:
        output = model(input_ids=inputs, past_key_values=cache, use_cache=True)
        cache, logits = output.past_key_values, output.logits[0, -1]
        token = _choose(logits, temperature, generator)
        if token == tokenizer.eos_token_id:
            break
        answer.append(token)
        inputs = torch.tensor([[token]])
        text = decode_response(tokenizer, answer)
        # A character of several bytes may be cut between two tokens; wait for the rest of it.
        if len(text) > len(shown) and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(shown) :]
            shown = text
    if len(text) > len(shown):
        yield text[len(shown) :]


def _choose(logits: Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    weights = torch.softmax(logits / temperature, dim=-1)
    return int(torch.multinomial(weights, 1, generator=generator))


def _fit(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]], room: int
) -> list[int]:
    """The ids of the latest messages that fit."""
    for first in range(len(messages)):
        tokens = encode_messages(tokenizer, messages[first:])
        if len(tokens) <= room:
            return tokens
    raise ArtifactError(f"the message is longer than the {room} tokens the model can read")
