"""The words and sentence ends of a text as datatrove's English tokenizer finds them, only faster.

spaCy splits a text at white space and each piece by itself, so the words of a piece are looked
up, not found again. Two things reach across white space:

- a special case that hides another (:mod:`pipeline_data.corpus.filters.special_cases`). It lies
  among pieces with single spaces between them, as any other white space is a token that no case
  holds; where it may be, spaCy reads all of those together;
- ``IS_ALPHA`` as a word, which stops spaCy; datatrove then takes it out of the text. A text with
  it goes to datatrove's tokenizer whole.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain, islice, zip_longest
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.filters.special_cases import FragileCase, SpecialCases
from pipeline_data.corpus.filters.word_tokenizer import copy_tokenizer, load_english_tokenizer

Ids = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
T = TypeVar("T")

MAX_PIECES = 500_000
MAX_CHARS = 20_000_000
"""What is remembered at most (about 150 MB), before all of it is forgotten and met anew."""

_STOPPING_WORD = "IS_ALPHA"
_SPACES = re.compile(r"\s+")
_RUN = re.compile(r"\S+|\s+")
_STRETCH = re.compile(r"\S+(?: \S+)*")
"""Pieces with single spaces between them."""
_ODD_SPACE = re.compile(r"\s\s|[^\S ]|\A\s|\s\Z")
_NEXT_SENTENCE = re.compile("EP*(W)")
"""An end mark, any punctuation after it, and the token that begins the next sentence."""


class Vocabulary:
    """Words by number, and what the rules ask about them."""

    def __init__(self) -> None:
        from datatrove.utils.text import PUNCTUATION_SET

        self.words: list[str] = []
        self._ids: dict[str, int] = {}
        self._lengths = array("i")
        self._is_symbol = bytearray()
        self._has_letter = bytearray()
        self._punctuation = frozenset(PUNCTUATION_SET)

    def add(self, word: str) -> int:
        """The number of a word, which becomes known."""
        word_id = self._ids.get(word)
        if word_id is None:
            word_id = self._ids[word] = len(self.words)
            self.words.append(word)
            is_alpha = word.isalpha()
            self._lengths.append(len(word))
            self._is_symbol.append(not is_alpha and self._punctuation.issuperset(word))
            self._has_letter.append(is_alpha or any(map(str.isalpha, word)))
        return word_id

    def find(self, words: Iterable[str]) -> list[int]:
        """The numbers of those words that are known."""
        return [self._ids[word] for word in words if word in self._ids]

    def lengths(self, ids: Ids) -> Ids:
        """How many characters each word has."""
        return np.frombuffer(self._lengths, np.int32)[ids]

    def are_symbols(self, ids: Ids) -> Flags:
        """Whether all characters of each word are punctuation to datatrove."""
        return np.frombuffer(self._is_symbol, np.bool_)[ids]

    def have_letters(self, ids: Ids) -> Flags:
        """Whether each word has a letter."""
        return np.frombuffer(self._has_letter, np.bool_)[ids]


@dataclass(frozen=True)
class Words:
    """The words of one text, in order, as numbers of a vocabulary."""

    ids: Ids
    vocabulary: Vocabulary
    pieces: Sequence[str]
    """Strings that the words are the parts of."""

    def to_list(self) -> list[str]:
        """The words as strings."""
        return list(map(self.vocabulary.words.__getitem__, self.ids.tolist()))

    def join(self) -> str:
        """All words with nothing between them."""
        return "".join(self.pieces)


class EnglishWords:
    """Finds words and sentences. What it remembers of earlier texts never changes an answer.

    The words of a piece are kept as the bytes of their numbers, so that those of a text are
    one join away, and as a letter each for what they are to the end of a sentence.
    """

    def __init__(self) -> None:
        from spacy.lang.lex_attrs import is_punct

        self._datatrove = load_english_tokenizer()
        spacy = self._datatrove.tokenizer
        self._spacy = copy_tokenizer(spacy.tokenizer)
        bare = copy_tokenizer(spacy.tokenizer, keep_special_cases=False)
        self._special_cases = SpecialCases(self._spacy, bare)
        self._end_marks = frozenset(spacy.get_pipe("sentencizer").punct_chars)
        self._is_punctuation = is_punct
        self._vocabulary = Vocabulary()
        self._ids: dict[str, bytes] = {}
        self._kinds: dict[str, str] = {}
        self._fragile: dict[str, tuple[FragileCase, ...]] = {}
        self._num_chars = 0

    def _forget(self) -> None:
        self._vocabulary = Vocabulary()
        self._ids.clear()
        self._kinds.clear()
        self._fragile.clear()
        self._num_chars = 0

    @property
    def num_pieces(self) -> int:
        """How many pieces are remembered."""
        return len(self._ids)

    def find_words(self, text: str) -> Words:
        """The words of a text; they stay valid whatever is read afterwards.

        Raises:
            UnicodeEncodeError: the text holds a lone surrogate.
        """
        pieces = text.split()
        parts = self._look_up(self._ids, text, pieces)
        if parts is None:
            pieces = self._datatrove.word_tokenize(text)
            ids = np.fromiter(map(self._vocabulary.add, pieces), np.int32)
        else:
            ids = np.frombuffer(b"".join(parts), np.int32)
        return Words(ids, self._vocabulary, pieces)

    def count_sentences(self, text: str) -> int:
        """The number of sentences; an empty text is one."""
        kinds = self._look_up(self._kinds, text, text.split())
        if kinds is None:
            return max(len(self._datatrove.span_tokenize(text)), 1)
        if _ODD_SPACE.search(text):
            kinds = _with_spaces(text, kinds)
        return 1 + len(_NEXT_SENTENCE.findall("".join(kinds)))

    def find_sentence_ends(self, text: str) -> list[int]:
        """Where each sentence ends, in characters; what lies between belongs to the next one."""
        tokens = self._find_tokens(text)
        if tokens is None:
            ends = [end for _, end in self._datatrove.span_tokenize(text)]
            return [*ends[:-1], len(text)]
        kinds = "".join(kind for _, kind in tokens)
        starts = (match.start(1) for match in _NEXT_SENTENCE.finditer(kinds))
        return [*(tokens[start - 1][0] for start in starts), len(text)]

    def _find_tokens(self, text: str) -> list[tuple[int, str]] | None:
        """The end and the kind of each token, white space that spaCy makes a token among them."""
        pieces = text.split()
        kinds = self._look_up(self._kinds, text, pieces)
        ids = self._look_up(self._ids, text, pieces)
        if kinds is None or ids is None:
            return None
        tokens = []
        place = 0
        for run in _RUN.finditer(text):
            if run[0].isspace():
                if run.start() == 0 or run[0] != " ":
                    tokens.append((run.end(), "W"))
                continue
            lengths = self._vocabulary.lengths(np.frombuffer(ids[place], np.int32)).tolist()
            ends = accumulate(lengths, initial=run.start())
            tokens += zip(islice(ends, 1, None), kinds[place], strict=True)
            place += 1
        return tokens

    def _look_up(self, column: dict[str, T], text: str, pieces: Sequence[str]) -> list[T] | None:
        """What is known of each piece as it reads in this text; nothing if the text stops spaCy."""
        num_entries = max(len(self._ids), len(self._vocabulary.words))
        if num_entries > MAX_PIECES or self._num_chars > MAX_CHARS:
            self._forget()
        if _STOPPING_WORD in text:
            return None
        try:
            found = list(map(column.__getitem__, pieces))
        except KeyError:
            self._read(sorted(set(pieces).difference(column)))
            found = list(map(column.__getitem__, pieces))
        if not self._is_fragile(pieces):
            return found
        return [column[name] for name in self._name_readings(text)]

    def _name_readings(self, text: str) -> Iterator[str]:
        """For each piece that by which its words are known: itself, or where its neighbours change
        them, those words, each after a space, which no piece has."""
        for stretch in _STRETCH.findall(text):
            pieces = stretch.split(" ")
            if self._is_fragile(pieces):
                for words in self._split_together(stretch):
                    name = " ".join(("", *words))
                    if name not in self._ids:
                        self._remember(name, words)
                    yield name
            else:
                yield from pieces

    def _split_together(self, text: str) -> list[list[str]]:
        """The words of each piece as spaCy finds them beside the others.

        Between two pieces stands a space, or a line break, which keeps them apart.
        """
        words: list[list[str]] = [[]]
        with self._spacy.vocab.memory_zone():
            for token in self._spacy(text):
                if token.text != "\n":
                    words[-1].append(token.text)
                if token.whitespace_ or token.text == "\n":
                    words.append([])
        return words

    def _is_fragile(self, pieces: Sequence[str]) -> bool:
        if self._fragile.keys().isdisjoint(pieces):
            return False
        for place, piece in enumerate(pieces):
            if piece in self._fragile:
                last_before = self._words_of(pieces[place - 1])[-1] if place else ""
                is_last = place + 1 == len(pieces)
                first_after = "" if is_last else self._words_of(pieces[place + 1])[0]
                cases = self._fragile[piece]
                if not all(case.is_safe(last_before, first_after) for case in cases):
                    return True
        return False

    def _words_of(self, piece: str) -> list[str]:
        ids = np.frombuffer(self._ids[piece], np.int32).tolist()
        return [self._vocabulary.words[word_id] for word_id in ids]

    def _read(self, pieces: Iterable[str]) -> None:
        hard = []
        for piece in pieces:
            words = self._split_simply(piece)
            if words:
                self._learn(piece, words)
            else:
                hard.append(piece)
        if hard:
            for piece, found in zip(hard, self._split_together("\n".join(hard)), strict=True):
                self._learn(piece, tuple(found))

    def _split_simply(self, piece: str) -> tuple[str, ...]:
        """What spaCy's rules come to for letters, with or without an end mark; else nothing."""
        stem, mark = piece[:-1], piece[-1]
        if self._special_cases.spellings.isdisjoint((piece, stem)):
            if piece.isalpha():
                return (piece,)
            if stem.isalpha() and (mark in ",;:!?" or (mark == "." and "a" <= stem[-1] <= "z")):
                return stem, mark
        return ()

    def _learn(self, piece: str, words: tuple[str, ...]) -> None:
        self._remember(piece, words)
        if cases := self._special_cases.find_fragile(piece, words):
            self._fragile[piece] = cases

    def _remember(self, name: str, words: Sequence[str]) -> None:
        self._ids[name] = array("i", map(self._vocabulary.add, words)).tobytes()
        self._kinds[name] = "".join(map(self._kind_of, words))
        self._num_chars += len(name)

    def _kind_of(self, word: str) -> str:
        """End mark, Punctuation or Word."""
        if word.isalpha():
            return "W"
        if word in self._end_marks:
            return "E"
        return "P" if self._is_punctuation(word) else "W"


def _with_spaces(text: str, kinds: Sequence[str]) -> list[str]:
    """The kinds of the pieces of a text, and of the white space that spaCy makes tokens."""
    spaces = ["" if run == " " else "W" for run in _SPACES.findall(text)]
    if text[0].isspace():
        kinds, spaces[0] = ["", *kinds], "W"
    return list(chain.from_iterable(zip_longest(kinds, spaces, fillvalue="")))


@cache
def load_english_words() -> EnglishWords:
    """The one of this process."""
    return EnglishWords()
