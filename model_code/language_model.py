"""The language model: a Llama of any size as transformers knows it, in a plain model folder.

A folder holds ``config.json``, ``model.safetensors``, ``generation_config.json`` and the
tokenizer's files, so that every tool that reads such folders reads ours. Saving the same weights
gives the same bytes.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from model_code.settings import ModelShape, Precision

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)

ATTENTION: dict[Precision, str] = {"float32": "sdpa", "bfloat16": "eager"}
"""The faster attention on a CPU: SDPA's backward pass is slow in bfloat16."""


def build(shape: ModelShape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights and tied embeddings, for a tokenizer's vocabulary."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_heads,
            intermediate_size=shape.intermediate_size,
            max_position_embeddings=shape.max_positions,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load(directory: Path, precision: Precision = "float32") -> LlamaForCausalLM:
    """The model of a folder, in evaluation mode; weights are always float32."""
    with quiet():
        model = LlamaForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation=ATTENTION[precision]
        )
    return model.eval()


def load_classifier(directory: Path) -> LlamaForSequenceClassification:
    """The sequence classifier of a folder (a reward model's trunk and head)."""
    with quiet():
        model = LlamaForSequenceClassification.from_pretrained(directory, dtype=torch.float32)
    return model.eval()


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder."""
    return PreTrainedTokenizerFast.from_pretrained(directory)


def save(model: PreTrainedModel, tokenizer: Path, out: Path) -> None:
    """Write a model folder; the tokenizer's files are copied from the folder ``tokenizer``."""
    with quiet():
        model.save_pretrained(out)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, out / name)


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
