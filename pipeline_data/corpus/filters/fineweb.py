"""FineWeb's additional rules (Penedo et al. 2024, arXiv:2406.17557, section 3.6), decided as
datatrove does."""

from collections.abc import Iterable

from pipeline_data.corpus.filters.gopher import count_repeated
from pipeline_data.corpus.filters.page import Drop, Page, Rule
from pipeline_data.corpus.settings import FineWebQualityConfig


def fineweb_quality_rule(config: FineWebQualityConfig) -> Rule:
    """Drop a page whose lines do not end, are short, repeat, or are too many for its words."""
    end_marks = config.stop_chars or _default_end_marks()

    def apply(page: Page) -> str | Drop:
        text = page.text
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            return Drop("empty")
        share = _count_ended(lines, end_marks) / len(lines)
        if share < config.line_punct_thr and not (share == 0 and config.line_punct_exclude_zero):
            return Drop("line_punct_ratio", value=share, threshold=config.line_punct_thr)
        share = sum(len(line) <= config.short_line_length for line in lines) / len(lines)
        if share > config.short_line_thr:
            return Drop("short_line_ratio", value=share, threshold=config.short_line_thr)
        num_breaks = text.count("\n")
        share = count_repeated(lines)[1] / (len(text) - num_breaks)
        if share > config.char_duplicates_ratio:
            return Drop("char_dup_ratio", value=share, threshold=config.char_duplicates_ratio)
        ratio = num_breaks / len(page.words.ids)
        if ratio > config.new_line_ratio:
            return Drop("list_ratio", value=ratio, threshold=config.new_line_ratio)
        return text

    return apply


def _default_end_marks() -> tuple[str, ...]:
    from datatrove.utils.text import TERMINAL_PUNCTUATION

    return tuple(sorted(TERMINAL_PUNCTUATION))


def _count_ended(lines: Iterable[str], end_marks: tuple[str, ...]) -> int:
    if all(len(mark) == 1 for mark in end_marks):
        marks = frozenset(end_marks)
        return sum(line[-1] in marks for line in lines)
    return sum(line.endswith(end_marks) for line in lines)
