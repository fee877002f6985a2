import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.raw.html import (
    decode_html,
    decode_text,
    is_html,
    may_be_html,
    media_type,
)

FRENCH = (
    "<html><body><p>Où est la clé ? Elle a été laissée à côté de "
    "l\N{RIGHT SINGLE QUOTATION MARK}évier.</p></body></html>"
)


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (FRENCH.encode(), "text/html; charset=utf-8"),
        (FRENCH.encode(), None),
        (FRENCH.encode("windows-1252"), 'text/html; charset="ISO-8859-1"'),
        (FRENCH.encode("utf-16"), "text/html; charset=utf-8"),
        (b"\xef\xbb\xbf" + FRENCH.encode(), "text/html; charset=windows-1252"),
        (FRENCH.encode(), "text/html; charset=no-such-charset"),
    ],
)
def test_text_is_found_whatever_the_charset(payload: bytes, content_type: str | None) -> None:
    assert decode_html(payload, content_type) == FRENCH


def test_meta_decides_where_the_header_is_silent() -> None:
    page = FRENCH.replace("<html>", '<html><meta charset="windows-1252">')
    assert decode_html(page.encode("windows-1252"), "text/html") == page


def test_header_wins_over_meta() -> None:
    page = FRENCH.replace("<html>", '<html><meta charset="windows-1252">')
    assert decode_html(page.encode(), "text/html; charset=utf-8") == page


def test_undeclared_bytes_are_sniffed() -> None:
    text = "<p>" + "Съешь ещё этих мягких французских булок, да выпей чаю. " * 5 + "</p>"
    assert decode_html(text.encode("windows-1251"), None) == text


@pytest.mark.parametrize(
    ("declared", "charset"),
    [
        ("iso-8859-1", "utf-8"),
        ("windows-1251", "utf-8"),
        ("utf-8", "windows-1251"),
        ("utf-8", "shift_jis"),
        ("euc-kr", "utf-8"),
    ],
)
def test_charset_that_is_plainly_wrong_is_not_believed(declared: str, charset: str) -> None:
    texts = {
        "shift_jis": "これは日本語の文章です。",
        "windows-1251": "Съешь ещё этих мягких французских булок, да выпей чаю. ",
        "utf-8": "Она была là-bas, 日本. ",
    }
    text = f"<p>{texts[charset] * 12}</p>"
    assert decode_html(text.encode(charset), f"text/html; charset={declared}") == text


def test_slip_in_one_letter_does_not_change_the_charset() -> None:
    payload = FRENCH.encode().replace("\u00e9".encode(), b"\xe9", 1)
    assert decode_html(payload, "text/html; charset=utf-8").count("\ufffd") == 1


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (FRENCH.encode(), None),
        (b"\xef\xbb\xbf" + FRENCH.encode(), "text/plain"),
        (FRENCH.encode(), "text/plain; charset=latin1"),
        (FRENCH.encode("windows-1252"), "text/plain; charset=latin1"),
    ],
)
def test_plain_text_is_utf_8_before_what_is_declared(
    payload: bytes, content_type: str | None
) -> None:
    assert decode_text(payload, content_type) == FRENCH


@given(st.binary(), st.one_of(st.none(), st.text()))
def test_decoding_never_raises(payload: bytes, content_type: str | None) -> None:
    assert isinstance(decode_html(payload, content_type), str)


@pytest.mark.parametrize(
    ("payload", "content_type", "expected"),
    [
        (b"", "text/html", True),
        (b"", "Application/XHTML+XML; charset=utf-8", True),
        (b"<html>", "text/plain", False),
        (b"\n<!DOCTYPE html><p>", None, True),
        (b"\xef\xbb\xbf<!-- x --><html>", "", True),
        (b"%PDF-1.4", None, False),
        (b"<html>", "application/octet-stream", True),
    ],
)
def test_html_is_told_from_the_rest(
    payload: bytes, content_type: str | None, expected: bool
) -> None:
    assert is_html(payload, content_type) is expected


def test_media_type_has_no_parameters() -> None:
    assert media_type(" Text/HTML ; charset=x") == media_type("text/html, text/html") == "text/html"
    assert media_type(None) == ""


@given(st.binary(), st.sampled_from([None, "", "text/html; a=b", "image/png", "text/plain"]))
def test_only_what_may_be_html_is_html(payload: bytes, content_type: str | None) -> None:
    assert may_be_html(content_type) or not is_html(payload, content_type)
