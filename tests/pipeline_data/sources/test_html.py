import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.html import decode_html, is_html

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
