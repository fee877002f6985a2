"""Words and their n-grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.corpus.decontamination.word_ngrams import hash_ngrams, hash_words, split_words

TEXTS = st.text(
    st.one_of(
        st.sampled_from("aBc ß9_-.,\n\t\u2019é́हिन्दी漢字かなไทย"), st.characters(codec="utf-8")
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't PANIC -- 3.5 apples, (maybe)!", "don t panic 3 5 apples maybe"),
        ("\u201cDon\u2019t_panic\u201d", "don t panic"),
        ("CAFE\u0301 café \uff46\uff55\uff4c\uff4c", "café café full"),
        ("हिन्दी में लिखा", "हिन्दी में लिखा"),
        ("\U0001d400\U0001d401 \u03d2", "ab \u03c5"),
        ("私は2匹の猫", "私 は 2 匹 の 猫"),
        ("Привет, МИР", "привет мир"),
        ("\x00 --- \u2028", ""),
    ],
)
def test_words_are_lower_case_and_without_punctuation(text: str, words: str) -> None:
    assert split_words(text) == words.split()


@given(TEXTS, TEXTS)
def test_each_word_has_one_hash_wherever_it_stands(first: str, second: str) -> None:
    words = split_words(f"{first} {second}")
    assert words == split_words(first) + split_words(second)
    hashes = hash_words(f"{first} {second}").tolist()
    assert len(hashes) == len(words)
    assert len(set(zip(words, hashes, strict=True))) == len(set(words)) == len(set(hashes))


@given(TEXTS, st.sets(st.integers(1, 5)))
def test_ngrams_are_equal_where_their_words_are(text: str, lengths: set[int]) -> None:
    words = split_words(text)
    found = hash_ngrams(hash_words(text), lengths)
    assert set(found) == {length for length in lengths if length <= len(words)}
    for length, hashes in found.items():
        grams = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
        alone = [hash_ngrams(hash_words(" ".join(gram)), [length])[length][0] for gram in grams]
        assert hashes.tolist() == alone
        assert len(set(grams)) == len(set(alone))
