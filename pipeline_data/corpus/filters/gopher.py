"""Gopher's rules (Rae et al. 2021, arXiv:2112.11446, appendix A1.1), decided as datatrove does.

Nothing here rests on a hash: n-grams are compared as exact integers or as strings, and what is
estimated first only says that no limit can be crossed.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.filters.page import Drop, Page, Rule
from pipeline_data.corpus.settings import GopherQualityConfig, GopherRepetitionConfig

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_KEY_BITS = 63
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
"""Odd multipliers that spread bits (those of SplitMix64)."""

_SHIFT = np.uint64(29)
_LOW_BITS = np.uint64(0xFFFF)

Hashes = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def gopher_repetition_rule(config: GopherRepetitionConfig) -> Rule:
    """Drop a page of which too much repeats: lines, paragraphs, or word n-grams."""

    def apply(page: Page) -> str | Drop:
        if not page.text:
            return Drop("empty")
        return (
            _judge_repeated_parts(config, page.text)
            or _judge_top_ngrams(config, page)
            or _judge_repeated_ngrams(config, page)
            or page.text
        )

    return apply


def count_repeated(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts repeat an earlier one, and their characters."""
    if len(set(parts)) == len(parts):
        return 0, 0
    seen: set[str] = set()
    num_repeated = num_chars = 0
    for part in parts:
        if part in seen:
            num_repeated += 1
            num_chars += len(part)
        else:
            seen.add(part)
    return num_repeated, num_chars


def _judge_repeated_parts(config: GopherRepetitionConfig, text: str) -> Drop | None:
    for name, parts, max_share, max_char_share in (
        (
            "para",
            _PARAGRAPH_BREAK.split(text.strip()),
            config.dup_para_frac,
            config.dup_para_char_frac,
        ),
        ("line", _LINE_BREAK.split(text), config.dup_line_frac, config.dup_line_char_frac),
    ):
        num_repeated, num_chars = count_repeated(parts)
        share = num_repeated / len(parts)
        if max_share and share > max_share:
            return Drop(f"dup_{name}_frac", value=share, threshold=max_share)
        char_share = num_chars / len(text)
        if max_char_share and char_share > max_char_share:
            return Drop(f"dup_{name}_char_frac", value=char_share, threshold=max_char_share)
    return None


def _judge_top_ngrams(config: GopherRepetitionConfig, page: Page) -> Drop | None:
    """Judge the characters in the most frequent n-gram, with the spaces between its words."""
    offsets = page.word_offsets
    max_count, shorter = len(offsets), 0
    for n, max_share in config.top_n_grams:
        lengths = offsets[n:] - offsets[:-n] + (n - 1)
        if not len(lengths):
            continue
        longest = int(lengths.max())
        if n >= shorter and longest * max_count / len(page.text) <= max_share:
            continue  # no n-gram is more frequent than a shorter one within it
        keys = _ngram_keys(page, n)
        ordered, counts = _count_sorted(keys)
        max_count, shorter = int(counts.max()), n
        if longest * max_count / len(page.text) <= max_share:
            continue
        first = int(np.isin(keys, ordered[counts == max_count]).argmax())
        share = int(lengths[first]) * max_count / len(page.text)
        if share > max_share:
            return Drop(f"top_{n}_gram", value=share, threshold=max_share)
    return None


def _ngram_keys(page: Page, n: int) -> Keys:
    """A number for each n-gram in order; the same for the same words, and only for them."""
    ids = page.words.ids.astype(np.int64)
    num_bits = len(page.words.vocabulary.words).bit_length()
    keys, num_key_bits = ids, num_bits
    for place in range(1, n):
        if num_key_bits + num_bits > _KEY_BITS:
            distinct, keys = np.unique(keys, return_inverse=True)
            num_key_bits = len(distinct).bit_length()
        keys = (keys[:-1] << num_bits) | ids[place:]
        num_key_bits += num_bits
    return keys


def _count_sorted(keys: Keys) -> tuple[Keys, Keys]:
    """The distinct keys, ascending, and how often each occurs."""
    ordered = np.sort(keys)
    is_first = np.empty(len(ordered), np.bool_)
    is_first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    starts = is_first.nonzero()[0]
    counts = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1] = len(ordered) - starts[-1]
    return ordered[starts], counts


def _judge_repeated_ngrams(config: GopherRepetitionConfig, page: Page) -> Drop | None:
    """Judge the characters in n-grams that repeat an earlier one, read as strings without spaces.

    Counted from left to right; a repeated n-gram is passed over whole, others word by word.
    """
    offsets = page.word_offsets
    ngrams = [(n, max_share) for n, max_share in config.dup_n_grams if n < len(offsets)]
    if not ngrams:
        return None
    joined = page.words.join()
    keys, longest = _substring_keys(joined, offsets, [n for n, _ in ngrams])
    ordered = np.sort(keys, axis=1)
    is_repeat = ordered[:, 1:] == ordered[:, :-1]
    most_chars = is_repeat.sum(axis=1) * longest
    for row, (n, max_share) in enumerate(ngrams):
        if int(most_chars[row]) / len(page.text) <= max_share:
            continue
        begun = keys[row, : len(offsets) - n]
        candidates = _may_be_among(ordered[row, 1:][is_repeat[row]], begun).nonzero()[0]
        num_chars = _count_repeated_chars(joined, offsets, candidates, n)
        share = num_chars / len(page.text)
        if share > max_share:
            return Drop(f"duplicated_{n}_n_grams", value=share, threshold=max_share)
    return None


def _substring_keys(joined: str, offsets: Keys, lengths: Sequence[int]) -> tuple[Hashes, Keys]:
    """For each n, a number for each n-gram and the longest n-gram in characters.

    Equal substrings have equal numbers, whatever words they are of; different ones may in theory.
    Shape (num_lengths, num_words); places where no n-gram begins have numbers of their own.
    The number is the sum of a number for each pair of neighbours, and one for the first character.
    """
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64) * _MIX[0]
    mixed = (codes[:-1] ^ (codes[1:] >> _SHIFT)) * _MIX[1]
    mixed ^= mixed >> _SHIFT
    sums = np.zeros(len(codes), np.uint64)
    (mixed * _MIX[2]).cumsum(out=sums[1:])
    num_words = len(offsets) - 1
    starts = offsets[:-1]
    places = np.arange(num_words) + np.array(lengths)[:, None]
    ends = offsets[np.minimum(places, num_words)]
    keys = sums[ends - 1] + (codes[starts] - sums[starts])
    is_beyond = places > num_words
    keys[is_beyond] = np.arange(np.count_nonzero(is_beyond), dtype=np.uint64)
    return keys, (ends - starts).max(axis=1)


def _may_be_among(wanted: Hashes, keys: Hashes) -> Flags:
    """Whether each key ends in the bits that one of the wanted ends in."""
    table = np.zeros(int(_LOW_BITS) + 1, np.bool_)
    table[wanted & _LOW_BITS] = True
    found: Flags = table[keys & _LOW_BITS]
    return found


def _count_repeated_chars(joined: str, offsets: Keys, candidates: Keys, n: int) -> int:
    """The characters in repeated n-grams; all that are repeated begin at a candidate, perhaps
    others too."""
    seen: set[str] = set()
    num_chars = next_place = 0
    for place in candidates.tolist():
        if place >= next_place:
            ngram = joined[offsets[place] : offsets[place + n]]
            if ngram in seen:
                num_chars += len(ngram)
                next_place = place + n
            else:
                seen.add(ngram)
    return num_chars


def gopher_quality_rule(config: GopherQualityConfig) -> Rule:
    """Drop a page whose words or lines are not those of prose."""
    stop_words = sorted(set(config.stop_words or STOP_WORDS))

    def apply(page: Page) -> str | Drop:
        return (
            _judge_words(config, page)
            or _judge_symbols(config, page)
            or _judge_lines(config, page.text)
            or _judge_letters(config, page)
            or _judge_stop_words(config, page, stop_words)
            or page.text
        )

    return apply


def _judge_words(config: GopherQualityConfig, page: Page) -> Drop | None:
    """Judge how many words there are, and how long; words of punctuation do not count."""
    words = page.words
    ids = words.ids[~words.vocabulary.are_symbols(words.ids)]
    num_words = len(ids)
    if num_words < config.min_doc_words:
        return Drop("gopher_short_doc", value=num_words, threshold=config.min_doc_words)
    if config.max_doc_words and num_words > config.max_doc_words:
        return Drop("gopher_long_doc", value=num_words, threshold=config.max_doc_words)
    length = int(words.vocabulary.lengths(ids).sum()) / num_words
    if config.min_avg_word_length and length < config.min_avg_word_length:
        limit = config.min_avg_word_length
        return Drop("gopher_below_avg_threshold", value=length, threshold=limit)
    if config.max_avg_word_length and length > config.max_avg_word_length:
        limit = config.max_avg_word_length
        return Drop("gopher_above_avg_threshold", value=length, threshold=limit)
    return None


def _judge_symbols(config: GopherQualityConfig, page: Page) -> Drop | None:
    text, limit = page.text, config.max_symbol_word_ratio
    for name, num_symbols in (
        ("hashes", text.count("#")),
        ("ellipsis", text.count("...") + text.count("…")),
    ):
        ratio = num_symbols / len(page.words.ids)
        if limit and ratio > limit:
            return Drop(f"gopher_too_many_{name}", value=ratio, threshold=limit)
    return None


def _judge_lines(config: GopherQualityConfig, text: str) -> Drop | None:
    lines = text.splitlines()
    limit = config.max_bullet_lines_ratio
    ratio = sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines)
    if limit and ratio > limit:
        return Drop("gopher_too_many_bullets", value=ratio, threshold=limit)
    limit = config.max_ellipsis_lines_ratio
    ratio = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
    if limit and ratio > limit:
        return Drop("gopher_too_many_end_ellipsis", value=ratio, threshold=limit)
    return None


def _judge_letters(config: GopherQualityConfig, page: Page) -> Drop | None:
    words, limit = page.words, config.max_non_alpha_words_ratio
    ratio = int(np.count_nonzero(words.vocabulary.have_letters(words.ids))) / len(words.ids)
    if limit and ratio < limit:
        return Drop("gopher_below_alpha_threshold", value=ratio, threshold=limit)
    return None


def _judge_stop_words(
    config: GopherQualityConfig, page: Page, stop_words: Iterable[str]
) -> Drop | None:
    known = page.words.vocabulary.find(stop_words)
    num_found = len(set(known).intersection(page.words.ids.tolist()))
    if num_found < config.min_stop_words:
        return Drop("gopher_enough_stop_words", value=num_found, threshold=config.min_stop_words)
    return None
