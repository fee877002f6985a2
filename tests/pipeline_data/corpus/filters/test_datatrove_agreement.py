"""The quality rules against datatrove's filters: same decision, same reason, same final text."""

import json
import os
import random
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.filters import english_words
from pipeline_data.corpus.settings import (
    C4QualityConfig,
    FilterConfig,
    FineWebQualityConfig,
    GopherQualityConfig,
    GopherRepetitionConfig,
)
from tests.pipeline_data.corpus.filters.datatrove_oracle import (
    TEXT_RULES,
    judge,
    judge_by_datatrove,
)
from tests.pipeline_data.corpus.filters.odd_texts import edge_texts, messy_texts, random_text

FIELD_DATA = os.environ.get("HEADWATER_FIELD_DATA", "")
DEFAULTS = FilterConfig(rules=TEXT_RULES)
LENIENT = FilterConfig(
    rules=TEXT_RULES,
    gopher_repetition=GopherRepetitionConfig(
        dup_line_frac=0.0, dup_para_frac=0.0, dup_line_char_frac=0.0, dup_para_char_frac=0.0
    ),
    gopher_quality=GopherQualityConfig(
        min_doc_words=1, max_non_alpha_words_ratio=0.0, min_stop_words=0, min_avg_word_length=0
    ),
    c4_quality=C4QualityConfig(
        min_num_sentences=2, filter_no_terminal_punct=False, filter_curly_bracket=False
    ),
    fineweb_quality=FineWebQualityConfig(char_duplicates_ratio=0.2, short_line_thr=1.0),
)

fractions = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0.0, 0.4))
ngram_limits = st.lists(st.tuples(st.integers(1, 14), fractions), max_size=5).map(tuple)
small = st.integers(0, 12)
off_or_small = st.integers(-1, 12)

repetition_configs = st.builds(
    GopherRepetitionConfig,
    dup_line_frac=fractions,
    dup_para_frac=fractions,
    dup_line_char_frac=fractions,
    dup_para_char_frac=fractions,
    top_n_grams=ngram_limits,
    dup_n_grams=ngram_limits,
)
quality_configs = st.builds(
    GopherQualityConfig,
    min_doc_words=st.integers(1, 12),
    max_doc_words=st.one_of(small, st.just(1000)),
    min_avg_word_length=st.integers(0, 5),
    max_avg_word_length=small,
    max_symbol_word_ratio=fractions,
    max_bullet_lines_ratio=fractions,
    max_ellipsis_lines_ratio=fractions,
    max_non_alpha_words_ratio=fractions,
    min_stop_words=st.integers(0, 4),
    stop_words=st.lists(st.sampled_from(["the", "of", "x", ".", ")", "IS_ALPHA"])).map(tuple),
)
c4_configs = st.builds(
    C4QualityConfig,
    split_paragraph=st.booleans(),
    remove_citations=st.booleans(),
    filter_no_terminal_punct=st.booleans(),
    min_num_sentences=off_or_small,
    min_words_per_line=off_or_small,
    max_word_length=st.one_of(off_or_small, st.just(1000)),
    filter_lorem_ipsum=st.booleans(),
    filter_javascript=st.booleans(),
    filter_curly_bracket=st.booleans(),
    filter_policy=st.booleans(),
)
fineweb_configs = st.builds(
    FineWebQualityConfig,
    line_punct_thr=fractions,
    line_punct_exclude_zero=st.booleans(),
    stop_chars=st.lists(st.sampled_from([".", "!", "...", ")", "e", ""]), max_size=3).map(tuple),
    short_line_thr=fractions,
    short_line_length=small,
    char_duplicates_ratio=fractions,
    new_line_ratio=fractions,
)
configs = st.builds(
    FilterConfig,
    rules=st.one_of(
        st.permutations(TEXT_RULES).map(tuple), st.sampled_from([(name,) for name in TEXT_RULES])
    ),
    gopher_repetition=repetition_configs,
    gopher_quality=quality_configs,
    c4_quality=c4_configs,
    fineweb_quality=fineweb_configs,
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(5)
    return [*edge_texts(), *(random_text(rng) for _ in range(120))]


def assert_agreement(config: FilterConfig, texts: list[str]) -> Counter[str]:
    """The rules and reasons met."""
    reasons: Counter[str] = Counter()
    for text in texts:
        expected = judge_by_datatrove(config, text)
        assert judge(config, text) == expected, ascii(text[:200])
        reasons["kept" if isinstance(expected, str) else ": ".join(expected)] += 1
    return reasons


@pytest.mark.parametrize("name", TEXT_RULES)
def test_each_rule_alone(name: str, texts: list[str]) -> None:
    met = assert_agreement(FilterConfig(rules=(name,)), texts)  # type: ignore[arg-type]
    assert met["kept"] > 10
    assert len(met) > 3


def test_chain_of_rules(texts: list[str]) -> None:
    assert assert_agreement(DEFAULTS, texts)["kept"] > 5
    assert assert_agreement(LENIENT, texts)["kept"] > 30
    assert any(judge(LENIENT, text) not in (text, judge(DEFAULTS, text)) for text in texts)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs, messy_texts)
def test_any_settings_on_messy_texts(config: FilterConfig, text: str) -> None:
    assert judge(config, text) == judge_by_datatrove(config, text)


@settings(max_examples=100, deadline=None)
@given(configs, st.randoms(use_true_random=False))
def test_any_settings_on_random_texts(config: FilterConfig, rng: random.Random) -> None:
    text = random_text(rng)
    assert judge(config, text) == judge_by_datatrove(config, text)


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from("ab ."), min_size=30, max_size=300), repetition_configs)
def test_ngrams_of_few_letters(text: str, config: GopherRepetitionConfig) -> None:
    """Strings that are equal though their words are not, and n-grams equally frequent."""
    assert_agreement(FilterConfig(rules=("gopher_repetition",), gopher_repetition=config), [text])


def test_many_repeated_ngrams_before_an_end_of_its_own() -> None:
    """So many that some look like those that would begin in the last words."""
    half = [f"word{number}" for number in range(8000)]
    text = " ".join([*half, *half, *(f"end{number}" for number in range(60))])
    config = GopherRepetitionConfig(dup_n_grams=tuple((n, 1.0) for n in range(5, 11)))
    rules = FilterConfig(rules=("gopher_repetition",), gopher_repetition=config)
    assert assert_agreement(rules, [text])["kept"] == 1


def test_answers_do_not_depend_on_what_was_read_before(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [text for text in texts if len(text) < 10_000]
    first = [judge(DEFAULTS, text) for text in short]
    monkeypatch.setattr(english_words, "MAX_PIECES", 20)
    assert [judge(DEFAULTS, text) for text in reversed(short)] == first[::-1]


def field_texts() -> Iterator[str]:
    folder = Path(FIELD_DATA, "extraction")
    for page in json.loads((folder / "aeb" / "ground-truth.json").read_text()).values():
        yield page["articleBody"]
    with tarfile.open(folder / "trafilatura" / "html.tar.gz") as pages:
        for member in sorted(filter(lambda m: m.isfile(), pages), key=lambda m: m.name)[::10]:
            html = pages.extractfile(member).read().decode("utf-8", "replace")  # type: ignore[union-attr]
            yield re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", html)[:15_000]


@pytest.mark.skipif(not FIELD_DATA, reason="HEADWATER_FIELD_DATA names no folder of field data")
def test_real_pages() -> None:
    texts = list(field_texts())
    assert len(texts) > 120
    for config in (DEFAULTS, LENIENT):
        assert assert_agreement(config, texts)["kept"] > 20
