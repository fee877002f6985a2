"""C4's rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2), decided as datatrove does."""

import re

from pipeline_data.corpus.filters.english_words import load_english_words
from pipeline_data.corpus.filters.page import Drop, Page, Rule
from pipeline_data.corpus.settings import C4QualityConfig

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_END_MARKS = (".", "?", "!", '"', "'")
_ELLIPSIS = "..."
_FILLER = "lorem ipsum"
_SCRIPT = "javascript"
_BRACKET = "{"
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


def c4_quality_rule(config: C4QualityConfig) -> Rule:
    """Take out lines (or sentences) that are no prose; drop a page with too few sentences left."""

    def apply(page: Page) -> str | Drop:
        kept = []
        num_sentences = 0
        is_suspect = _is_suspect(config, page.text)
        for line in _split(config, page.text):
            prose = _clean(config, line)
            if prose is None:
                continue
            verdict = not is_suspect or _judge_content(config, prose)
            if isinstance(verdict, Drop):
                return verdict
            if not verdict:
                continue
            if num_sentences < config.min_num_sentences:  # more than enough need no counting
                num_sentences += _count_sentences(config, prose)
            kept.append(prose)
        if num_sentences < config.min_num_sentences:
            return Drop(
                "too_few_sentences", value=num_sentences, threshold=config.min_num_sentences
            )
        return ("\n" if config.split_paragraph else " ").join(kept).strip()

    return apply


def _split(config: C4QualityConfig, text: str) -> list[str]:
    """The lines of a text, or its sentences."""
    if config.split_paragraph:
        return text.splitlines()
    ends = load_english_words().find_sentence_ends(text)
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _count_sentences(config: C4QualityConfig, line: str) -> int:
    return load_english_words().count_sentences(line) if config.split_paragraph else 1


def _clean(config: C4QualityConfig, line: str) -> str | None:
    """The line without citations, or nothing if it is too short, too long a word, or has no end."""
    line = line.strip()
    words = line.split()
    limit = config.max_word_length
    if limit != -1 and len(line) > limit and any(len(word) > limit for word in words):
        return None
    if config.remove_citations and "[" in line:
        line = _CITATION.sub("", line)
    if config.filter_no_terminal_punct and (
        not line.endswith(_END_MARKS) or line.endswith(_ELLIPSIS)
    ):
        return None
    return line if len(words) >= config.min_words_per_line else None


def _is_suspect(config: C4QualityConfig, text: str) -> bool:
    """Whether the content of some line may matter; a citation may stand inside of what matters."""
    if config.remove_citations and "[" in text:
        return True
    lowered = text.lower()
    needles = (_FILLER, _SCRIPT, _BRACKET, *_POLICIES)
    return any(needle in lowered for needle in needles)


def _judge_content(config: C4QualityConfig, line: str) -> bool | Drop:
    """Whether a line stays; some take the page with them."""
    lowered = line.lower()
    if config.filter_lorem_ipsum and _FILLER in lowered:
        return Drop("lorem_ipsum")
    if config.filter_javascript and _SCRIPT in lowered:
        return False
    if config.filter_curly_bracket and _BRACKET in line:
        return Drop("curly_bracket")
    return not (config.filter_policy and any(policy in lowered for policy in _POLICIES))
