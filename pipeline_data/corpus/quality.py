"""Quality rules: each takes a page and answers with the text to go on with, or a drop.

The text heuristics are datatrove's own filters, so that a decision here is the decision
there. To add a rule: write its config in ``settings.py`` (with its name in ``RuleName``), a
function that makes the rule from the config, and a row in :data:`RULES`. Words and sentences
are split as in English.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pipeline_data.corpus.settings import FilterConfig, RuleName, UrlConfig
from pipeline_data.corpus.word_tokenizer import load_english_tokenizer
from pipeline_data.settings import Settings


@dataclass(frozen=True)
class Drop:
    """A page that goes, why, and the value that decided."""

    reason: str
    detail: str = ""


Rule = Callable[[str, str], str | Drop]
"""From (url, text) to the text that goes on, changed or not, or the reason to drop the page."""


def make_rules(config: FilterConfig) -> list[tuple[RuleName, Rule]]:
    """The rules of a config, in its order, ready to be applied."""
    return [(name, RULES[name](config)) for name in config.rules]


def url_rule(config: UrlConfig) -> Rule:
    """Drop a page by its address: exact, by host and its subdomains, or by a word in it."""
    blocked_urls = frozenset(config.block_urls)
    blocked_words = frozenset(word.lower() for word in config.block_words)

    def apply(url: str, text: str) -> str | Drop:
        if url in blocked_urls:
            return Drop("blocked_url")
        host = _host(url)
        if _find_domain(host, config.allow_domains):
            return text
        if domain := _find_domain(host, config.block_domains):
            return Drop("blocked_domain", domain)
        words = blocked_words.intersection(re.findall(r"[^\W_]+", url.lower()))
        return Drop("blocked_word", min(words)) if words else text

    return apply


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _find_domain(host: str, domains: tuple[str, ...]) -> str:
    """The first of ``domains`` that is the host or a parent of it, or nothing."""
    dotted = f".{host}"
    return next((domain for domain in domains if dotted.endswith(f".{domain.lower()}")), "")


def _datatrove_rule(block: type, settings: Settings) -> Rule:
    """A datatrove filter as a rule; an empty setting of strings leaves datatrove's default."""
    from datatrove.data import Document

    load_english_tokenizer()
    arguments = {key: value for key, value in settings if value != ()}
    datatrove_filter = block(**arguments)

    def apply(url: str, text: str) -> str | Drop:
        document = Document(text=text, id=url)
        try:
            answer = datatrove_filter.filter(document)
        except Exception as error:  # such as no words to divide by; it costs that page
            return Drop("failed", type(error).__name__)
        return str(document.text) if answer is True else Drop(str(answer[1]))

    return apply


def _filters() -> Any:
    """datatrove's filters; they log to standard error through loguru unless told not to."""
    from loguru import logger

    logger.disable("datatrove")
    from datatrove.pipeline import filters

    return filters


RULES: Mapping[RuleName, Callable[[FilterConfig], Rule]] = {
    "url": lambda config: url_rule(config.url),
    "gopher_repetition": lambda config: _datatrove_rule(
        _filters().GopherRepetitionFilter, config.gopher_repetition
    ),
    "gopher_quality": lambda config: _datatrove_rule(
        _filters().GopherQualityFilter, config.gopher_quality
    ),
    "c4_quality": lambda config: _datatrove_rule(_filters().C4QualityFilter, config.c4_quality),
    "fineweb_quality": lambda config: _datatrove_rule(
        _filters().FineWebQualityFilter, config.fineweb_quality
    ),
}
"""Every rule by the name a recipe gives it."""
