"""The tokenizer: what it learns, and that transformers can load and use it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from transformers import AutoTokenizer

from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import TokenizerConfig
from pipeline_data.corpus.tokenization import tokenizer
from pipeline_data.corpus.tokenization.tokenizer import SPECIAL_TOKENS, select_texts
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import write_jsonl
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import as_artifact, make_text

CONFIG = TokenizerConfig(vocab_size=320)


def sample_artifact(folder: Path, shard: str, texts: Sequence[str]) -> Artifact:
    source = shard.rpartition("-")[0]
    rows = ({"doc_id": str(i), "source": source, "text": text} for i, text in enumerate(texts))
    write_jsonl(folder / shard / "sample.jsonl", rows)
    return as_artifact(folder / shard, shard)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizer")
    samples = [sample_artifact(root, "made-0", [make_text(seed) for seed in range(8)])]
    counts = tokenizer.run(CONFIG, Inputs({"samples": samples}), root / "out", Runtime())
    assert counts["vocab_size"] == 320
    assert counts["num_documents"] == 8
    return root / "out"


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens_come_first(loaded: Any) -> None:
    assert loaded.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    ids = (loaded.bos_token_id, loaded.pad_token_id, loaded.eos_token_id)
    assert ids == (0, 1, 4)
    assert len(loaded) == 320
    assert set(loaded.all_special_tokens) == set(SPECIAL_TOKENS)


@given(text=st.text())
def test_every_text_comes_back(loaded: Any, text: str) -> None:
    ids = loaded(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert loaded.decode(ids) == text


def test_learns_words_and_keeps_digits_apart(loaded: Any) -> None:
    assert len(loaded.tokenize(" the baker remembers")) < 12
    assert loaded.tokenize("12 345") == ["1", "2", "Ġ", "3", "4", "5"]


def test_digits_may_be_joined(tmp_path: Path) -> None:
    samples = [sample_artifact(tmp_path, "made-0", ["1999 1999 1999"])]
    config = CONFIG.model_copy(update={"digits_individually": False})
    tokenizer.run(config, Inputs({"samples": samples}), tmp_path / "out", Runtime())
    assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("1999") == ["1999"]


MESSAGES = [
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "3."},
    {"role": "user", "content": "Thanks"},
]


def test_chat_template(loaded: Any) -> None:
    text = loaded.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|user|>What is 1 + 2?<|end|><|assistant|> 3.<|end|><|user|>Thanks<|end|><|assistant|>"
    )


def test_only_the_answer_and_its_end_are_learnt(loaded: Any) -> None:
    encoded = loaded.apply_chat_template(
        MESSAGES, return_dict=True, return_assistant_tokens_mask=True
    )
    answer = [
        token
        for token, learnt in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if learnt
    ]
    assert loaded.decode(answer) == " 3.<|end|>"


def test_unknown_role_is_refused(loaded: Any) -> None:
    with pytest.raises(TemplateError, match="not system"):
        loaded.apply_chat_template([{"role": "system", "content": "x"}], tokenize=False)


def test_weights_share_out_the_bytes(tmp_path: Path) -> None:
    samples = [
        sample_artifact(tmp_path, "web-0", ["w" * 10] * 5),
        sample_artifact(tmp_path, "web-1", ["v" * 10] * 5),
        sample_artifact(tmp_path, "book-0", ["b" * 10] * 9),
        sample_artifact(tmp_path, "other-0", ["o"]),
    ]
    config = TokenizerConfig(num_bytes=80, weights={"web": 3.0, "book": 1.0})
    texts = [text for _, text in select_texts(config, samples)]
    assert texts == ["w" * 10] * 5 + ["v" * 10] + ["b" * 10] * 2
    unweighted = TokenizerConfig(num_bytes=61)
    assert len(list(select_texts(unweighted, samples))) == 6


def test_no_text_is_an_error(tmp_path: Path) -> None:
    samples = [sample_artifact(tmp_path, "made-0", ["text"])]
    config = TokenizerConfig(weights={"absent": 1.0})
    with pytest.raises(ArtifactError, match="no text"):
        tokenizer.run(config, Inputs({"samples": samples}), tmp_path / "out", Runtime())


def test_files_are_plain(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["chat_template"] == tokenizer.CHAT_TEMPLATE
