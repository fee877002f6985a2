import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.symbols import IDS

from pipeline_data.corpus.filters.word_tokenizer import (
    MAX_SUFFIX_LETTERS,
    copy_tokenizer,
    ends_as_word,
    has_no_infix,
    load_english_tokenizer,
)

spacy = load_english_tokenizer().tokenizer.tokenizer
copied = copy_tokenizer(spacy)

letters = st.text(st.characters(categories=["L"]), min_size=1, max_size=7)
marks = st.sampled_from([*"0123456789.,:;'\"\u2019-_()/@%$+*=<>~&?!#…°½", "//", "www.", "..", ""])
odd_words = st.lists(letters | marks | st.text(max_size=2), max_size=6).map("".join)


def test_words_do_not_depend_on_what_was_read_before() -> None:
    tokenizer = load_english_tokenizer()
    texts = [f"the {symbol} of it" for symbol in IDS]
    first = [tokenizer.word_tokenize(text) for text in texts]
    assert first == [tokenizer.word_tokenize(text) for text in texts]


def find(match: re.Match[str] | None) -> tuple[int, int] | None:
    return match.span() if match else None


@settings(max_examples=500, deadline=None)
@given(odd_words)
def test_a_copy_searches_alike(word: str) -> None:
    assert find(copied.suffix_search(word)) == find(spacy.suffix_search(word))
    assert find(copied.url_match(word)) == find(spacy.url_match(word))
    infixes = [list(map(find, each.infix_finditer(word))) for each in (copied, spacy)]
    assert infixes[0] == infixes[1]


def test_no_infix_is_made_of_inner_characters() -> None:
    """An infix is found by its characters and at most one on either side."""
    inner = [char for char in map(chr, range(128)) if has_no_infix(char)]
    assert len(inner) > 60
    for first in inner:
        text = "".join(f"{first}{second}{third}" for second, third in product(inner, inner))
        assert has_no_infix(text)
        assert not list(spacy.infix_finditer(text))


def literals_of(search: Any) -> str:
    """A pattern without its sets of characters, groups and escapes."""
    pattern = re.sub(r"\\[uU][0-9A-Fa-f]+", " ", search.__self__.pattern)
    return re.sub(r"\\.|\[[^\]]*\]|\(\?<?[:=!]", " ", pattern)


def test_no_suffix_ends_in_more_letters() -> None:
    runs = re.findall(r"[^\W\d_]+", literals_of(spacy.suffix_search))
    assert max(map(len, runs)) == MAX_SUFFIX_LETTERS


@pytest.mark.parametrize("word", ["5mbar", "5km", "x's", "x\u2019S", "abcdef.", "abcde", "a5bcdef"])
def test_what_may_have_a_suffix(word: str) -> None:
    assert not ends_as_word(word) or spacy.suffix_search(word) is None


def test_no_address_without_a_dot() -> None:
    words = ["localhost", "http://localhost:80/a", "a@localhost", "http://a.example", "1", "a:b@c"]
    assert [bool(spacy.url_match(word)) for word in words] == [False] * 3 + [True] + [False] * 2
