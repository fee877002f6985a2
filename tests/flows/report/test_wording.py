"""Foreign text in Markdown: it shows as it is, and nothing in it is markup or a link."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markupsafe import Markup

from flows.report.wording import clean, code, escape, link, or_unknown, show_month

HOSTILE = (
    "<script>alert(1)</script>",
    "![x](https://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "`code` and ``more``",
    "**bold** _under_ ~~gone~~",
    "# heading",
    "line\nbreak\r\n\r\n# heading",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &amp;",
    "\\`not code\\`",
    "$x$ \\(y\\)",
    "abc\u202etxt.exe\u200b\x00",
)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def cells(markdown: str) -> list[tuple[str, list[str]]]:
    """The cells of a table's only row: their text, and the kinds of all that is in them."""
    table = f"| a | b |\n|---|---|\n| {markdown} | end |\n"
    tokens = MARKDOWN.parse(table)
    inline = [t for t in tokens if t.type == "inline"]
    assert [t.type for t in tokens if t.type.endswith("_open")].count("tr_open") == 2
    return [
        ("".join(c.content for c in t.children or []), [c.type for c in t.children or []])
        for t in inline[2:]
    ]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("show", [escape, code])
def test_hostile_text_shows_as_it_is(show: object, text: str) -> None:
    assert callable(show)
    (shown, kinds), (end, _) = cells(show(text))
    assert end == "end"
    assert shown == clean(text)
    assert set(kinds) <= {"text", "text_special", "code_inline"}


@given(st.text(max_size=40))
def test_any_text_shows_as_it_is(text: str) -> None:
    for show in (escape, code):
        (shown, kinds), (end, _) = cells(f"x{show(text)}")
        assert end == "end"
        assert set(kinds) <= {"text", "text_special", "code_inline"}
        assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", f"x{clean(text)}")


@given(st.text())
def test_what_does_not_show_is_shown(text: str) -> None:
    for character in clean(text):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cs", "Cn"}


def test_only_a_plain_address_is_a_link() -> None:
    assert link("https://en.wikipedia.org/wiki/Cookbook?a=1") == (
        "<https://en.wikipedia.org/wiki/Cookbook?a=1>"
    )
    assert link("https://x.example/<b>") == "`https://x.example/<b>`"
    assert link("javascript:alert(1)") == "`javascript:alert(1)`"


def test_what_is_missing_is_told_with_what_to_do() -> None:
    assert or_unknown(None, "set it") == "*not on record* (set it)"
    assert or_unknown("", "set it") == "*not on record* (set it)"
    assert or_unknown(0) == "0"
    assert or_unknown("*x*") == "\\*x\\*"
    assert or_unknown(Markup("*x*")) == "*x*"
    assert show_month("2025-07-24T10:00:00Z") == "07/2025"
    assert show_month("yesterday") == "not on record"
