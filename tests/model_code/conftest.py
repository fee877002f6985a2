import os
from typing import Any

# Read by MKL when it first multiplies: the same sums whatever the number of threads.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.model_code import tiny_chain


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every artefact of the tiny chain, made with one thread.

    Tests that use it are in the group ``chain``, so that it is made once.
    """
    return tiny_chain.build(tmp_path_factory.mktemp("chain"), threads=1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tokenizer, token shards and exercises, without any model."""
    return tiny_chain.prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def tokenizer(prepared: dict[str, Any]) -> PreTrainedTokenizerFast:
    from model_code.language_model import load_tokenizer

    return load_tokenizer(prepared["tokenizer"].directory)


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random model whose norms have gains other than 1."""
    from model_code.language_model import build
    from model_code.settings import ModelShape

    shape = ModelShape(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64)
    made = build(shape, tokenizer, seed=3).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.mul_(4)
    return made
