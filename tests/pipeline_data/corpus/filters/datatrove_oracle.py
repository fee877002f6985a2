"""datatrove's own filters, with the settings of our configs: what a rule must answer."""

from functools import lru_cache
from typing import Any

from datatrove.data import Document
from datatrove.pipeline import filters

from pipeline_data.corpus.filters.page import Drop
from pipeline_data.corpus.filters.quality import apply_rules, make_rules
from pipeline_data.corpus.filters.word_tokenizer import load_english_tokenizer
from pipeline_data.corpus.settings import FilterConfig, RuleName
from pipeline_data.settings import Settings

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
Answer = tuple[str, str] | str
"""Rule and reason of a drop, or the final text."""


@lru_cache(maxsize=64)
def make_block(name: str, settings: Settings) -> Any:
    load_english_tokenizer()
    arguments = dict(settings)
    for key in ("stop_words", "stop_chars"):
        if arguments.get(key) == ():
            del arguments[key]
    return BLOCKS[name](**arguments)


def judge_by_datatrove(config: FilterConfig, text: str) -> Answer:
    document = Document(text=text, id="")
    for name in config.rules:
        try:
            answer = make_block(name, getattr(config, name)).filter(document)
        except Exception as error:
            return name, f"failed {type(error).__name__}"
        if answer is not True:
            return name, answer[1]
        if not document.text.strip():
            return name, "empty"
    return str(document.text)


def judge(config: FilterConfig, text: str) -> Answer:
    answer = apply_rules(make_rules(config), "", text)
    if isinstance(answer, str):
        return answer
    name, drop = answer
    assert isinstance(drop, Drop)
    return name, f"{drop.reason} {drop.detail}".strip()
