"""The quality rules against datatrove's filters, and the rules of our own."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from datatrove.data import Document
from datatrove.pipeline import filters

from pipeline_data.corpus.quality import RULES, Drop, make_rules
from pipeline_data.corpus.settings import (
    C4QualityConfig,
    FilterConfig,
    FineWebQualityConfig,
    GopherQualityConfig,
    RuleName,
    UrlConfig,
)
from tests.pipeline_data.corpus.material import make_text

BLOCKS = {
    "gopher_repetition": filters.GopherRepetitionFilter,
    "gopher_quality": filters.GopherQualityFilter,
    "c4_quality": filters.C4QualityFilter,
    "fineweb_quality": filters.FineWebQualityFilter,
}
TEXT_RULES: tuple[RuleName, ...] = (
    "gopher_repetition",
    "gopher_quality",
    "c4_quality",
    "fineweb_quality",
)


def adversarial_texts() -> Iterator[str]:
    prose = make_text(1)
    line = "A line with the words that have to be said of it."
    lines = prose.split("\n")
    yield from (
        make_text(seed, num) for seed, num in zip(range(20), (3, 8, 15, 40) * 5, strict=True)
    )
    yield from (make_text(seed, 12, per_line) for seed, per_line in ((30, 1), (31, 2), (32, 12)))
    yield "x"
    yield "... !!! ???"
    yield "\n\n\n. \n"
    yield "\n\n".join([prose] * 3)
    yield "\n".join([line] * 20)
    yield "\n\n".join([lines[0], *lines, lines[0]])
    yield " ".join(["spam eggs"] * 200)
    yield " ".join(["one two three"] * 100 + prose.split())
    yield " ".join(f"word{number % 7} and that" for number in range(300))
    yield " ".join(prose.split()[:60] * 3)
    yield "\n".join(f"- {part}" for part in lines * 3)
    yield "\n".join(f"{part} ..." for part in lines)
    yield "\n".join(f"{part}…" for part in lines)
    yield " ".join("#tag" for _ in range(80)) + prose
    yield " ".join("so ... it goes with the" for _ in range(60))
    yield " ".join(str(number) for number in range(200)) + " the of " + prose[:50]
    yield " ".join(f"{'a' * (number % 3)} b" for number in range(300))
    yield " ".join("incomprehensibilities" + "s" * number for number in range(80))
    yield " ".join(f"verb{number} noun{number}" for number in range(100))
    yield prose + "\nlorem ipsum dolor sit amet."
    yield prose + "\nLOREM IPSUM dolor sit amet."
    yield prose + "\nint main() { return 0; }."
    yield prose + "\nint main() { return 0; }"
    yield prose + "\nPlease enable JavaScript to go on with this."
    yield prose + "\nThis site uses cookies and has a Privacy Policy.\nTwo words.\nNo end mark here"
    yield prose + "\n" + "w" * 1001 + " is a long word.\n" + "w" * 1000 + " is not so long."
    yield prose.replace(".", " [12].").replace("!", "[edit][citation needed]")
    yield lines[0]
    yield prose.replace("\n", "\r\n")
    yield prose.replace("\n", "\u2028").replace(" ", "\u00a0", 9)
    yield "\n".join(part[:28] for part in prose.replace("\n", " ").split(". "))
    yield "\n".join(["Short line."] * 2 + lines)
    yield prose.upper()
    yield "Füße über Äcker, naïve café; " * 3 + prose
    yield "日本語の文章です。これは二つ目の文です。" * 10
    yield "🙂 " * 60 + prose
    yield prose.replace(" ", "  ").replace("\n", "\n \n")
    yield "\t".join(prose.split(" "))
    yield '"' + '" "'.join(lines) + '"'
    yield "IS_ALPHA " + prose
    yield (
        "e.g. the U.S. and Dr. Who don't can't, i.e. http://a.example/b?c=d#e, a@b.example " + prose
    )


def oracle(blocks: list[Any], text: str) -> tuple[str, str | None]:
    """(text, None) when all blocks keep, else ('', reason): datatrove's own chain."""
    document = Document(text=text, id="")
    for block in blocks:
        match block.filter(document):
            case True:
                continue
            case (_, reason):
                return "", reason
    return document.text, None


def apply_rules(config: FilterConfig, text: str) -> tuple[str, str | None]:
    for _, rule in make_rules(config):
        verdict = rule("", text)
        if isinstance(verdict, Drop):
            return "", verdict.reason
        text = verdict
    return text, None


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(adversarial_texts())


def test_each_rule_decides_as_datatrove_does(texts: list[str]) -> None:
    assert len(texts) >= 60
    reasons = set()
    for name in TEXT_RULES:
        config = FilterConfig(rules=(name,))
        block = BLOCKS[name]()
        for text in texts:
            expected = oracle([block], text)
            assert apply_rules(config, text) == expected, (name, text[:80])
            reasons.add(expected[1])
    assert len(reasons) >= 20  # the documents reach most of the branches


def test_chain_of_rules_gives_datatroves_final_text(texts: list[str]) -> None:
    blocks = [block() for block in BLOCKS.values()]
    results = [apply_rules(FilterConfig(rules=TEXT_RULES), text) for text in texts]
    assert results == [oracle(blocks, text) for text in texts]
    pairs = zip(texts, results, strict=True)
    assert any(reason is None and kept != text for text, (kept, reason) in pairs)
    assert sum(reason is None for _, reason in results) >= 10


def test_settings_reach_datatrove(texts: list[str]) -> None:
    config = FilterConfig(
        rules=("gopher_quality", "c4_quality", "fineweb_quality"),
        gopher_quality=GopherQualityConfig(min_doc_words=5, min_stop_words=1, stop_words=("a",)),
        c4_quality=C4QualityConfig(filter_no_terminal_punct=False, min_num_sentences=1),
        fineweb_quality=FineWebQualityConfig(stop_chars=("e",), short_line_thr=1.0),
    )
    blocks = [
        filters.GopherQualityFilter(min_doc_words=5, min_stop_words=1, stop_words=["a"]),
        filters.C4QualityFilter(filter_no_terminal_punct=False, min_num_sentences=1),
        filters.FineWebQualityFilter(stop_chars=("e",), short_line_thr=1.0),
    ]
    results = [apply_rules(config, text) for text in texts]
    assert results == [oracle(blocks, text) for text in texts]
    assert results != [apply_rules(FilterConfig(rules=config.rules), text) for text in texts]


def test_text_that_breaks_a_filter_costs_only_itself() -> None:
    config = FilterConfig(
        rules=("fineweb_quality",),
        fineweb_quality=FineWebQualityConfig(line_punct_thr=0.0, short_line_thr=1.0),
    )
    [(_, rule)] = make_rules(config)
    assert rule("", "IS_ALPHA") == Drop("failed", "ZeroDivisionError")
    assert rule("", "A line.") == "A line."


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


URL_CONFIG = UrlConfig(
    block_urls=("https://news.example/secret",),
    block_domains=("bad.example", "EVIL.example"),
    block_words=("casino", "Wet"),
    allow_domains=("good.bad.example",),
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://news.example/secret", Drop("blocked_url")),
        ("https://news.example/secret/2", None),
        ("https://bad.example/", Drop("blocked_domain", "bad.example")),
        ("https://www.bad.example:8080/a", Drop("blocked_domain", "bad.example")),
        ("https://www.Evil.example/a", Drop("blocked_domain", "EVIL.example")),
        ("https://notbad.example/", None),
        ("https://good.bad.example/casino", None),
        ("https://news.example/best-Casino_online", Drop("blocked_word", "casino")),
        ("https://news.example/wetlands", None),
        ("https://news.example/a?q=wet", Drop("blocked_word", "wet")),
        ("package:file#casinos", None),
        ("http://[broken", None),
    ],
)
def test_url_rule(url: str, expected: Drop | None) -> None:
    [(_, rule)] = make_rules(FilterConfig(rules=("url",), url=URL_CONFIG))
    assert rule(url, "text") == (expected or "text")
