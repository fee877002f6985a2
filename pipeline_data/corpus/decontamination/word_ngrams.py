"""Word n-grams of a text, for finding the same words again however they are set.

As in GPT-3 (arXiv:2005.14165, appendix C) words are compared in lower case and without
punctuation. Numbers stay what they are: in sums and word problems they are all that differs. A
letter of a script that is written without spaces between words (Chinese, Japanese) is a word of
its own; marks belong to the letter they stand on.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

_UNSPACED = re.compile(
    "[\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Ideographs and kana."""
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MAX_MEMO_PIECES = 200_000
_MAX_MEMO_CHARS = 40


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, in Unicode's form NFKC, without punctuation."""
    return [word for piece in text.lower().split() for word in _split_piece(piece)]


def hash_words(text: str) -> Hashes:
    """A hash of each of :func:`split_words`, in order; shape (num_words,), dtype uint64."""
    memo = _word_memo()
    if len(memo) > _MAX_MEMO_PIECES:
        memo.clear()
    return np.fromiter(
        chain.from_iterable(map(memo.__getitem__, text.lower().split())), dtype=np.uint64
    )


def hash_ngrams(words: Hashes, lengths: Iterable[int]) -> dict[int, Hashes]:
    """The polynomial hashes of all n-grams, by their length in words.

    Args:
        words: shape (num_words,), from :func:`hash_words`.
        lengths: the lengths wanted.

    Returns:
        For each length that the text reaches, shape (num_words - length + 1,), dtype uint64.
    """
    wanted = {length for length in lengths if length <= len(words)}
    found = {}
    hashes = words
    for length in range(1, max(wanted, default=0) + 1):
        if length > 1:
            hashes = hashes[:-1] * _BASE + words[length - 1 :]
        if length in wanted:
            found[length] = hashes
    return found


def _split_piece(piece: str) -> list[str]:
    if piece.isascii():
        return _ASCII_WORD.findall(piece)
    normal = unicodedata.normalize("NFKC", piece).lower()
    letters = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in normal)
    return _UNSPACED.sub(r" \g<0> ", letters).split()


class _WordMemo(dict[str, tuple[int, ...]]):
    """The hashes of the words of each white-space-separated piece met so far."""

    def __missing__(self, piece: str) -> tuple[int, ...]:
        hashes = tuple(xxhash.xxh3_64_intdigest(word) for word in _split_piece(piece))
        if len(piece) <= _MAX_MEMO_CHARS:  # a whole paragraph, in some scripts, is not met again
            self[piece] = hashes
        return hashes


@lru_cache(maxsize=1)
def _word_memo() -> _WordMemo:
    return _WordMemo()
