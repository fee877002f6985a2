"""The chain of rules: what is said of a drop, and that one page costs only itself."""

import inspect
from typing import Any, get_args

import pytest

from pipeline_data.corpus.filters.page import Drop
from pipeline_data.corpus.filters.quality import RULES, apply_rules, make_rules
from pipeline_data.corpus.settings import (
    C4QualityConfig,
    FilterConfig,
    FineWebQualityConfig,
    GopherQualityConfig,
    GopherRepetitionConfig,
    RuleName,
)
from pipeline_data.settings import Settings
from tests.pipeline_data.corpus.filters.datatrove_oracle import BLOCKS, TEXT_RULES
from tests.pipeline_data.corpus.material import make_text

OFF = GopherRepetitionConfig(
    dup_line_frac=0.0,
    dup_para_frac=0.0,
    dup_line_char_frac=0.0,
    dup_para_char_frac=0.0,
    top_n_grams=(),
    dup_n_grams=(),
)
ANY_WORDS = GopherQualityConfig(
    min_doc_words=1,
    min_avg_word_length=0,
    max_avg_word_length=0,
    max_non_alpha_words_ratio=0.0,
    min_stop_words=0,
)


def drop_of(name: RuleName, settings: Settings, text: str) -> Drop:
    config = FilterConfig(rules=(name,)).model_copy(update={name: settings})
    answer = apply_rules(make_rules(config), "", text)
    assert isinstance(answer, tuple)
    assert answer[0] == name
    return answer[1]


def changed(settings: Settings, **values: Any) -> Settings:
    return type(settings).model_validate(settings.model_dump() | values)


FIVE_WORDS = "one two three four five"
NUMBERS = [
    ("gopher_repetition", OFF, {"dup_line_frac": 0.3}, "a\nb\na\na", "dup_line_frac", 0.5),
    (
        "gopher_repetition",
        OFF,
        {"dup_line_char_frac": 0.1},
        "ab\nab\nc",
        "dup_line_char_frac",
        2 / 7,
    ),
    ("gopher_repetition", OFF, {"dup_para_frac": 0.3}, "a\n\nb\n\na", "dup_para_frac", 1 / 3),
    ("gopher_repetition", OFF, {"dup_para_char_frac": 0.1}, "a\n\na", "dup_para_char_frac", 0.25),
    ("gopher_repetition", OFF, {"top_n_grams": ((2, 0.4),)}, "a b c a b d", "top_2_gram", 6 / 11),
    (
        "gopher_repetition",
        OFF,
        {"top_n_grams": ((8, 0.9), (1, 0.2))},
        "a b a c a d a e a f",
        "top_1_gram",
        5 / 19,
    ),
    (
        "gopher_repetition",
        OFF,
        {"dup_n_grams": ((1, 0.45),)},
        "ab ab ab ab",
        "duplicated_1_n_grams",
        6 / 11,
    ),
    (
        "gopher_repetition",
        OFF,
        {"dup_n_grams": ((2, 0.1),)},
        "ab c d e a bc",
        "duplicated_2_n_grams",
        3 / 13,
    ),
    ("gopher_quality", ANY_WORDS, {"min_doc_words": 6}, FIVE_WORDS, "gopher_short_doc", 5),
    ("gopher_quality", ANY_WORDS, {"max_doc_words": 4}, FIVE_WORDS, "gopher_long_doc", 5),
    (
        "gopher_quality",
        ANY_WORDS,
        {"min_avg_word_length": 4},
        FIVE_WORDS,
        "gopher_below_avg_threshold",
        3.8,
    ),
    (
        "gopher_quality",
        ANY_WORDS,
        {"max_avg_word_length": 3},
        FIVE_WORDS,
        "gopher_above_avg_threshold",
        3.8,
    ),
    ("gopher_quality", ANY_WORDS, {}, "# a b c", "gopher_too_many_hashes", 0.25),
    ("gopher_quality", ANY_WORDS, {}, "a… b c d", "gopher_too_many_ellipsis", 0.2),
    ("gopher_quality", ANY_WORDS, {}, "- a b\n- c d", "gopher_too_many_bullets", 1.0),
    (
        "gopher_quality",
        ANY_WORDS,
        {"max_symbol_word_ratio": 0.0},
        "a b…\nc",
        "gopher_too_many_end_ellipsis",
        0.5,
    ),
    (
        "gopher_quality",
        ANY_WORDS,
        {"max_non_alpha_words_ratio": 0.8},
        "a 1 2 3",
        "gopher_below_alpha_threshold",
        0.25,
    ),
    (
        "gopher_quality",
        ANY_WORDS,
        {"min_stop_words": 2},
        "the the cat",
        "gopher_enough_stop_words",
        1,
    ),
    ("c4_quality", C4QualityConfig(), {}, "It is one. It is two.", "too_few_sentences", 2),
    ("c4_quality", C4QualityConfig(), {}, "It is { or lorem ipsum.", "lorem_ipsum", None),
    ("fineweb_quality", FineWebQualityConfig(), {}, "no end", "line_punct_ratio", 0.0),
    ("fineweb_quality", FineWebQualityConfig(), {}, "Short.", "short_line_ratio", 1.0),
    (
        "fineweb_quality",
        FineWebQualityConfig(short_line_thr=1.0),
        {},
        "Go.\nGo.\nStay.\nSit.",
        "char_dup_ratio",
        3 / 15,
    ),
    (
        "fineweb_quality",
        FineWebQualityConfig(short_line_thr=1.0),
        {},
        "Go.\nSit.\nStay.",
        "list_ratio",
        2 / 6,
    ),
]


@pytest.mark.parametrize(("name", "settings", "values", "text", "reason", "value"), NUMBERS)
def test_a_drop_says_the_number_and_the_limit(
    name: RuleName,
    settings: Settings,
    values: dict[str, Any],
    text: str,
    reason: str,
    value: float | None,
) -> None:
    drop = drop_of(name, changed(settings, **values), text)
    assert (drop.reason, drop.value) == (reason, value)
    if value is None:
        assert drop.threshold is None
    else:
        assert drop.threshold is not None
        assert drop.value != drop.threshold
        limits = str(list(changed(settings, **values).model_dump().values()))
        assert str(drop.threshold) in limits


def test_text_that_breaks_a_rule_costs_only_itself() -> None:
    config = FilterConfig(
        rules=("fineweb_quality",),
        fineweb_quality=FineWebQualityConfig(line_punct_thr=0.0, short_line_thr=1.0),
    )
    failed = ("fineweb_quality", Drop("failed", "ZeroDivisionError"))
    assert apply_rules(make_rules(config), "", "IS_ALPHA") == failed
    assert apply_rules(make_rules(config), "", "A line.") == "A line."


def test_a_lone_surrogate_costs_only_its_page() -> None:
    config = FilterConfig(rules=("gopher_quality",))
    [failed, kept] = [
        apply_rules(make_rules(config), "", text)
        for text in (f"{make_text(1)}\ud800", make_text(1))
    ]
    assert failed == ("gopher_quality", Drop("failed", "UnicodeEncodeError"))
    assert kept == make_text(1)


@pytest.mark.parametrize("name", TEXT_RULES)
def test_defaults_are_datatroves(name: RuleName) -> None:
    parameters = inspect.signature(BLOCKS[name].__init__).parameters
    config = getattr(FilterConfig(), name)
    theirs = {
        key: parameter.default
        for key, parameter in parameters.items()
        if key not in ("self", "exclusion_writer", "language")
    }
    ours = {key: None if value == () else value for key, value in config}
    assert ours == theirs


def test_every_rule_name_has_a_rule() -> None:
    assert set(RULES) == set(get_args(RuleName))
