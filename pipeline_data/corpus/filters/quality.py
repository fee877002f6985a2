"""Quality rules: each takes a page and answers with the text to go on with, or a drop.

The text rules decide as datatrove's filters do, with the same final text, from one splitting of
the page into words that they share. To add a rule: write its config in ``settings.py`` (with its
name in ``RuleName``), a function that makes the rule from the config, and a row in
:data:`RULES`. Words and sentences are split as in English.
"""

from collections.abc import Callable, Mapping

from pipeline_data.corpus.filters.c4 import c4_quality_rule
from pipeline_data.corpus.filters.fineweb import fineweb_quality_rule
from pipeline_data.corpus.filters.gopher import gopher_quality_rule, gopher_repetition_rule
from pipeline_data.corpus.filters.page import Drop, Page, Rule
from pipeline_data.corpus.filters.url_rule import url_rule
from pipeline_data.corpus.settings import FilterConfig, RuleName

__all__ = ["RULES", "Drop", "apply_rules", "make_rules"]

RULES: Mapping[RuleName, Callable[[FilterConfig], Rule]] = {
    "url": lambda config: url_rule(config.url),
    "gopher_repetition": lambda config: gopher_repetition_rule(config.gopher_repetition),
    "gopher_quality": lambda config: gopher_quality_rule(config.gopher_quality),
    "c4_quality": lambda config: c4_quality_rule(config.c4_quality),
    "fineweb_quality": lambda config: fineweb_quality_rule(config.fineweb_quality),
}
"""Every rule by the name a recipe gives it."""

Rules = list[tuple[RuleName, Rule]]


def make_rules(config: FilterConfig) -> Rules:
    """The rules of a config, in its order, ready to be applied."""
    return [(name, RULES[name](config)) for name in config.rules]


def apply_rules(rules: Rules, url: str, text: str) -> tuple[RuleName, Drop] | str:
    """The first rule that drops the page and its reason, or the text that is left."""
    page = Page(url, text)
    for name, rule in rules:
        try:
            verdict = rule(page)
        except Exception as error:  # such as no words to divide by; it costs that page
            return name, Drop("failed", type(error).__name__)
        if isinstance(verdict, Drop):
            return name, verdict
        if not verdict.strip():
            return name, Drop("empty")
        if verdict != page.text:
            page = Page(url, verdict)
    return page.text
