"""A tokenizer made elsewhere: taken as it is, or refused with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.settings import AdoptedTokenizerConfig, TokenizerConfig
from pipeline_data.corpus.tokenization import adopted_tokenizer
from pipeline_data.corpus.tokenization.tokenizer import CHAT_TEMPLATE, train_tokenizer
from pipeline_data.errors import ArtifactError
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import as_artifact, make_text

Change = Callable[[Tokenizer], Any]
TEXT = "What is 12?"


def make_folder(folder: Path, change: Change = lambda _: None, **settings: Any) -> Artifact:
    """A folder as transformers saves it, of a tokenizer with a change."""
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=300), [make_text(1), make_text(2)])
    change(tokenizer)
    roles = {"bos_token": "<|endoftext|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles | settings)
    wrapped.chat_template = settings.get("chat_template", CHAT_TEMPLATE)
    wrapped.save_pretrained(folder)
    return as_artifact(folder)


def adopt(artifact: Artifact, out: Path) -> Counts:
    config = AdoptedTokenizerConfig()
    return adopted_tokenizer.run(config, Inputs({"files": artifact}), out, Runtime())


def test_a_folder_of_transformers_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    (tmp_path / "in/notes.txt").write_text("not a part of it")
    assert adopt(folder, tmp_path / "out") == {"vocab_size": 300, "encoder": "tiktoken"}
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.bos_token_id == 0
    chat = loaded.apply_chat_template([{"role": "user", "content": TEXT}], tokenize=False)
    assert chat == f"<|user|>{TEXT}<|end|>"


def test_the_template_may_be_in_the_config_and_a_role_a_mapping(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    (tmp_path / "in/chat_template.jinja").unlink()
    path = tmp_path / "in/tokenizer_config.json"
    config = json.loads(path.read_text()) | {"chat_template": CHAT_TEMPLATE}
    config["bos_token"] = {"content": "<|endoftext|>", "special": True}
    path.write_text(json.dumps(config))
    adopt(as_artifact(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out/tokenizer_config.json").read_text() == json.dumps(config)


def test_an_unproven_tokenizer_is_taken_and_left_to_its_own_library(tmp_path: Path) -> None:
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(), plain])
    folder = make_folder(tmp_path / "in", lambda t: setattr(t, "pre_tokenizer", digits))
    assert adopt(folder, tmp_path / "out")["encoder"] == "tokenizers"


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_missing_or_no_json(tmp_path: Path, name: str) -> None:
    make_folder(tmp_path / "in")
    path = tmp_path / "in" / name
    for content in ("{", "[]"):
        path.write_text(content)
        with pytest.raises(ArtifactError, match=name):
            adopt(as_artifact(tmp_path / "in"), tmp_path / "out")
    path.unlink()
    with pytest.raises(ArtifactError, match=f"no {name}"):
        adopt(as_artifact(tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pad_token": None}, "names no pad_token"),
        ({"chat_template": None}, "no chat template with {% generation %}"),
        ({"chat_template": "{{ messages }}"}, "no chat template with {% generation %}"),
    ],
)
def test_what_transformers_would_miss(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"in: the tokenizer cannot be used: .*{reason}"):
        adopt(make_folder(tmp_path / "in", **settings), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: setattr(t, "normalizer", normalizers.NFC()), "does not come back"),
        (lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel()), "does not come back"),
        (lambda t: setattr(t, "decoder", decoders.Metaspace()), "does not come back"),
        (
            lambda t: setattr(t, "model", models.WordLevel({"a": 5}, "a")),
            "not a byte-level BPE",
        ),
        (
            lambda t: setattr(t, "model", models.BPE({"a": 5, "b": 6}, [])),
            "token for every byte",
        ),
    ],
)
def test_a_model_that_loses_text(tmp_path: Path, change: Change, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        adopt(make_folder(tmp_path / "in", change), tmp_path / "out")


def test_a_role_that_pages_could_spell_and_ids_with_gaps(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    path = tmp_path / "in/tokenizer.json"
    spec = json.loads(path.read_text())
    open_to_pages = [
        token | {"special": token["content"] != "<|end|>"} for token in spec["added_tokens"]
    ]
    path.write_text(json.dumps(spec | {"added_tokens": open_to_pages}))
    with pytest.raises(ArtifactError, match=r"eos_token '<\|end\|>' is no special token"):
        adopt(as_artifact(tmp_path / "in"), tmp_path / "out")
    last = max(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    spec["model"]["vocab"][last] = 500
    path.write_text(json.dumps(spec))
    with pytest.raises(ArtifactError, match="300 ids are not 0 to 299"):
        adopt(as_artifact(tmp_path / "in"), tmp_path / "out")
