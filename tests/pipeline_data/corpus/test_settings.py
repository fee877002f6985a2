"""The configs: what YAML may say, what is refused, and that they load without the libraries."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline_data.corpus.settings import (
    ExtractConfig,
    FilterConfig,
    SampleConfig,
    SignatureConfig,
    TokenizerConfig,
)
from pipeline_data.settings import Settings, fingerprint

HEAVY = (
    "datatrove",
    "duckdb",
    "pyarrow",
    "py3langid",
    "spacy",
    "tokenizers",
    "torch",
    "trafilatura",
)


def test_lists_of_a_file_become_tuples() -> None:
    config = FilterConfig.model_validate(
        {
            "languages": ["en"],
            "rules": ["url", "c4_quality"],
            "pii": ["email"],
            "gopher_repetition": {"top_n_grams": [[2, 0.5]]},
        }
    )
    assert config.rules == ("url", "c4_quality")
    assert config.gopher_repetition.top_n_grams == ((2, 0.5),)
    assert FilterConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_setting_is_in_the_fingerprint() -> None:
    configs = [FilterConfig(), FilterConfig(pii=("ip",)), FilterConfig(rules=("url",))]
    assert len({fingerprint(config.model_dump(mode="json")) for config in configs}) == 3


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (FilterConfig, {"rules": ["perplexity"]}),
        (FilterConfig, {"gopher_quality": {"min_doc_words": 0}}),
        (FilterConfig, {"gopher_repetition": {"top_n_grams": [[2, 1.5]]}}),
        (FilterConfig, {"pii": ["name"]}),
        (SampleConfig, {"fraction": 0.0}),
        (SignatureConfig, {"bands": 0}),
        (TokenizerConfig, {"vocab_size": 260}),
        (TokenizerConfig, {"vocab_size": 65536}),
        (TokenizerConfig, {"weights": {"web": 0.0}}),
        (ExtractConfig, {"source": "", "reader": {"format": "text"}}),
    ],
)
def test_impossible_settings_are_refused(config: type[Settings], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config.model_validate(values)


def test_every_setting_is_described() -> None:
    for config in (ExtractConfig, FilterConfig, SignatureConfig, TokenizerConfig):
        assert all(field.description for field in config.model_fields.values())


def test_settings_load_no_heavy_library() -> None:
    code = (
        "import sys, pipeline_data.corpus.settings;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert process.stdout.strip() == "[]"
