"""Words and sentences against datatrove's tokenizer, where pieces depend on each other or not."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.symbols import IDS

from pipeline_data.corpus.filters import english_words
from pipeline_data.corpus.filters.english_words import EnglishWords, load_english_words
from pipeline_data.corpus.filters.word_tokenizer import load_english_tokenizer
from tests.pipeline_data.corpus.filters.odd_texts import LINES, edge_texts, messy_texts

CASES = sorted(load_english_tokenizer().tokenizer.tokenizer.rules)
MARKS = [*"()[]:;-'\"\u2019*<>=_.,!?/|\\8D0x3°", " ", " ", "  ", "\n", "a", "s", "IS_ALPHA"]
crowded_texts = st.lists(
    st.one_of(st.sampled_from(CASES), st.sampled_from(MARKS)), max_size=14
).map("".join)
CODE = """
if x:( print(x) ): - | || :- :( (: (x-Mr. _ self.name, foo(a, b) x=1, a[0] {k: v} "s" 's' '-'
d.items()
-> => :: ... .. -- --no-cache 3.11.2 0x1F 5km 10MB c'est O'Neill don't x's snake_case CamelCase.run
__init__ <a> /usr/bin a/b http://a.example/b?c=d#e a@b.example [1] (c) v1.2 a.b.c A.B. i.e. e.g.
"""
code_like_texts = st.lists(
    st.tuples(
        st.sampled_from(CODE.split()) | st.sampled_from(CASES),
        st.sampled_from([" ", " ", " ", "\n", "\n    ", "  "]),
    ),
    max_size=40,
).map(lambda parts: "".join(map("".join, parts)))


def words_of(text: str) -> list[str]:
    return load_english_words().find_words(text).to_list()


def assert_agreement(text: str) -> None:
    tokenizer = load_english_tokenizer()
    assert words_of(text) == tokenizer.word_tokenize(text)
    assert load_english_words().find_words(text).join() == "".join(tokenizer.word_tokenize(text))
    ends = [end for _, end in tokenizer.span_tokenize(text)]
    assert load_english_words().find_sentence_ends(text) == [*ends[:-1], len(text)]
    assert load_english_words().count_sentences(text) == max(len(ends), 1)


@settings(max_examples=150, deadline=None)
@given(messy_texts)
def test_messy_texts(text: str) -> None:
    assert_agreement(text)


@settings(max_examples=600, deadline=None)
@given(crowded_texts)
def test_special_cases_side_by_side(text: str) -> None:
    assert_agreement(text)


@settings(max_examples=400, deadline=None)
@given(code_like_texts)
def test_code(text: str) -> None:
    assert_agreement(text)


def test_a_line_break_keeps_pieces_apart() -> None:
    """Only what stands on the line of a hidden special case is read anew."""
    text = "x:( (\nx:(\n(\n(x-Mr. _ .\nx:( (c)"
    assert_agreement(text)
    lines = [words_of(line) for line in text.split("\n")]
    assert words_of(text) == [word for words in lines for word in words]


def test_symbols_of_spacy_are_words() -> None:
    text = " ".join(sorted(symbol for symbol in IDS if symbol and symbol != "IS_ALPHA"))
    assert EnglishWords().find_words(text).to_list() == load_english_tokenizer().word_tokenize(text)


def test_edge_texts() -> None:
    for text in (*edge_texts(), *LINES):
        assert_agreement(text)


@pytest.mark.parametrize("text", ["x:( (", "x:(( (", "hi:) )", "(x-Mr. _ ."])
def test_a_special_case_may_be_hidden_across_a_space(text: str) -> None:
    """The reason why pieces are not always enough."""
    apart = [word for piece in text.split() for word in words_of(piece)]
    assert words_of(text) != apart
    assert words_of(text) == load_english_tokenizer().word_tokenize(text)


def test_no_rule_of_spacy_touches_letters() -> None:
    tokenizer = load_english_tokenizer().tokenizer.tokenizer
    letters = [char for char in map(chr, range(sys.maxunicode)) if char.isalpha()]
    assert len(letters) > 100_000
    for start in range(0, len(letters), 500):
        run = "".join(letters[start : start + 500])
        assert not tokenizer.prefix_search(run)
        assert not tokenizer.suffix_search(run)
        assert not list(tokenizer.infix_finditer(run))
        assert not tokenizer.url_match(run)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(categories=["L"]), min_size=1, max_size=8), st.sampled_from(",;:!?."))
def test_letters_and_an_end_mark(letters: str, mark: str) -> None:
    for piece in (letters, letters + mark):
        assert words_of(piece) == load_english_tokenizer().word_tokenize(piece)


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    words = EnglishWords()
    first = words.find_words("one two three")
    monkeypatch.setattr(english_words, "MAX_PIECES", 5)
    for start in range(100):
        words.find_words(f"piece{start} part{start}")
        assert words.num_pieces <= 7
    for start in range(100):
        late = words.find_words(f"IS_ALPHA only{start}")
        assert len(late.vocabulary.words) <= 8
    monkeypatch.setattr(english_words, "MAX_PIECES", 1000)
    monkeypatch.setattr(english_words, "MAX_CHARS", 5000)
    for start in range(100):
        words.find_words("x" * 500 + str(start))
        assert words.num_pieces <= 14
    assert first.to_list() == ["one", "two", "three"]
