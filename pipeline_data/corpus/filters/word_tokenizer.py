"""datatrove's English word tokenizer, in a state that no document can change."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

MAX_SUFFIX_LETTERS = 5
INNER_CHARACTERS = r"A-Za-z0-9_()\[\]{}\"'"
"""What no infix is made of, whatever stands beside it."""

_INNER = re.compile(f"[{INNER_CHARACTERS}]*")


@cache
def load_english_tokenizer() -> Any:
    """The tokenizer that datatrove's filters share within a process.

    spaCy reads a word that is spelled like one of its own symbols (``IS_ALPHA``) right the first
    time and as nothing ever after. Reading every symbol once beforehand makes the words of a
    document the same whatever was read before it.
    """
    from datatrove.utils.word_tokenizers import load_word_tokenizer
    from spacy.symbols import IDS

    tokenizer = load_word_tokenizer("eng")
    for symbol in IDS:
        tokenizer.word_tokenize(symbol)
    return tokenizer


def copy_tokenizer(tokenizer: Any, keep_special_cases: bool = True) -> Any:
    """A spaCy tokenizer that splits alike and computes nothing else about a word.

    Nearly all the time that spaCy takes for a word it has not met goes into a word's attributes,
    and of the rest most into patterns of a thousand alternatives: none is tried where none fits.
    """
    from spacy.vocab import Vocab

    def search_suffix(text: str) -> re.Match[str] | None:
        return None if ends_as_word(text) else tokenizer.suffix_search(text)

    def find_infixes(text: str) -> Iterator[re.Match[str]]:
        return iter(()) if has_no_infix(text) else tokenizer.infix_finditer(text)

    def match_url(text: str) -> re.Match[str] | None:
        return tokenizer.url_match(text) if "." in text else None

    return type(tokenizer)(
        Vocab(),
        rules=tokenizer.rules if keep_special_cases else {},
        prefix_search=tokenizer.prefix_search,
        suffix_search=search_suffix,
        infix_finditer=find_infixes,
        token_match=tokenizer.token_match,
        url_match=match_url,
    )


def ends_as_word(text: str) -> bool:
    """Whether a text ends in more letters than any suffix has (the longest is an Arabic unit's)."""
    tail = text[-MAX_SUFFIX_LETTERS - 1 :]
    return len(tail) > MAX_SUFFIX_LETTERS and tail.isalpha()


def has_no_infix(text: str) -> bool:
    """Whether a text holds no character at which spaCy splits the inside of a word."""
    return _INNER.fullmatch(text) is not None
