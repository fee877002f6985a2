"""The normalised text against datatrove's."""

import sys

from datatrove.utils.text import simplify_text as simplify_by_datatrove
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.deduplication.simplified_text import simplify_text

odd_texts = st.text(
    alphabet="aé\u0301\u0308\u0345 \t\u2000\u3000\x1c\u200b1.,İßﬁ½\u0663\u066b", max_size=20
)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=30) | odd_texts)
def test_any_text(text: str) -> None:
    assert simplify_text(text) == simplify_by_datatrove(text)


def test_every_character() -> None:
    characters = list(map(chr, range(sys.maxunicode + 1)))
    for start in range(0, len(characters), 1000):
        text = "\n".join(f"a{char} {char}b" for char in characters[start : start + 1000])
        assert simplify_text(text) == simplify_by_datatrove(text)


def test_an_accent_alone_at_either_end() -> None:
    assert simplify_text("\u0301 é \u0301") == simplify_by_datatrove("\u0301 é \u0301") == "e"
