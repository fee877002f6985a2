"""Shingles of a text: hashes of its word n-grams after datatrove's normalisation.

The same numbers as ``MinhashDedupSignature.get_shingles`` of datatrove. spaCy splits a text at
white space and each piece by itself, so the words of a piece are looked up, not found again.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.word_tokenizer import load_english_tokenizer

MAX_MEMO_PIECES = 500_000


def shingle_hashes(text: str, ngram: int) -> npt.NDArray[np.uint64]:
    """The sorted unique 64-bit hashes of the n-grams of a text's words; empty if too short.

    Returns shape (num_unique,), dtype uint64.
    """
    import xxhash
    from datatrove.utils.text import simplify_text

    words = split_words(simplify_text(text))
    grams = map(" ".join, zip(*(words[start:] for start in range(ngram)), strict=False))
    hashes = np.fromiter(map(xxhash.xxh64_intdigest, grams), dtype=np.uint64)
    return np.unique(hashes)


def split_words(text: str) -> list[str]:
    """The words of a text whose only white space is single spaces."""
    memo = _word_memo()
    if len(memo) > MAX_MEMO_PIECES:
        memo.clear()
    return list(chain.from_iterable(map(memo.__getitem__, text.split())))


class _WordMemo(dict[str, tuple[str, ...]]):
    """The words of each white-space-separated piece met so far."""

    def __init__(self, tokenize: Callable[[str], Any]) -> None:
        super().__init__()
        self._tokenize = tokenize

    def __missing__(self, piece: str) -> tuple[str, ...]:
        tokens = (token.text.strip() for token in self._tokenize(piece))
        words = self[piece] = tuple(token for token in tokens if token)
        return words


@lru_cache(maxsize=1)
def _word_memo() -> _WordMemo:
    from loguru import logger

    logger.disable("datatrove")
    return _WordMemo(load_english_tokenizer().tokenizer.tokenizer)
