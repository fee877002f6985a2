"""Bytes of an HTTP body: whether they are HTML, and the text they are."""

import re

from resiliparse.parse.encoding import detect_encoding
from w3lib.encoding import html_to_unicode

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_NO_TYPES = ("", "application/octet-stream")
_HTML_START = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_SINGLE_BYTE = ("cp125", "cp866", "cp874", "iso8859", "koi8", "mac", "latin")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def media_type(content_type: str | None) -> str:
    """The type without its parameters, in lower case; empty if none is declared."""
    return (content_type or "").partition(";")[0].partition(",")[0].strip().lower()


def may_be_html(content_type: str | None) -> bool:
    """Whether the declared type is HTML or says nothing."""
    return media_type(content_type) in (*_HTML_TYPES, *_NO_TYPES)


def is_html(payload: bytes, content_type: str | None) -> bool:
    """Whether the declared type is HTML; where none is declared, whether it begins like HTML."""
    declared = media_type(content_type)
    if declared in _NO_TYPES:
        return _HTML_START.match(payload[:4096].removeprefix(b"\xef\xbb\xbf")) is not None
    return declared in _HTML_TYPES


def decode_html(payload: bytes, content_type: str | None) -> str:
    """HTML bytes as text, as a browser would; never raises.

    The order is that of the HTML standard (13.2.3.2): byte order mark, charset of the header,
    <meta> or XML declaration, then sniffing. Unlike a browser, a charset that is plainly wrong is
    not believed. Bytes that do not fit become U+FFFD.
    """
    try:
        encoding, text = html_to_unicode(content_type, payload, auto_detect_fun=_sniff)
    except (LookupError, ValueError):
        encoding, text = "utf-8", payload.decode("utf-8", "replace")
    is_doubtful = _REPLACEMENT in text
    if is_doubtful or (encoding.startswith(_SINGLE_BYTE) and not payload.isascii()):
        # Hardly any text of another charset is UTF-8 by chance.
        text = _decode_strictly(payload, "utf-8") or text
    if is_doubtful and _is_mostly_wrong(text):
        text = _decode_strictly(payload, detect_encoding(payload)) or text
    return text


def decode_text(payload: bytes, content_type: str | None) -> str:
    """Plain text: UTF-8 if it is that, else what the header or sniffing says; never raises."""
    text = _decode_strictly(payload.removeprefix(b"\xef\xbb\xbf"), "utf-8")
    return decode_html(payload, content_type) if text is None else text


def _is_mostly_wrong(text: str) -> bool:
    """Whether the charset fits hardly a letter beyond ASCII, so that it is no mere slip."""
    num_others = len(text) - len(text.encode("ascii", "ignore"))
    return 2 * text.count(_REPLACEMENT) > num_others


def _decode_strictly(payload: bytes, encoding: str | None) -> str | None:
    try:
        return payload.decode(encoding or "utf-8")
    except (LookupError, ValueError):
        return None


def _sniff(payload: bytes) -> str | None:
    if _decode_strictly(payload, "utf-8") is not None:
        return "utf-8"
    found: str | None = detect_encoding(payload)
    return found
