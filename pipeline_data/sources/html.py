"""Bytes of an HTTP body: whether they are HTML, and the text they are."""

import re

from resiliparse.parse.encoding import detect_encoding
from w3lib.encoding import html_to_unicode

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_NO_TYPES = ("", "application/octet-stream")
_HTML_START = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)


def is_html(payload: bytes, content_type: str | None) -> bool:
    """Whether the declared type is HTML; where none is declared, whether it begins like HTML."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in _NO_TYPES:
        return _HTML_START.match(payload[:4096].removeprefix(b"\xef\xbb\xbf")) is not None
    return media_type in _HTML_TYPES


def decode_html(payload: bytes, content_type: str | None) -> str:
    """HTML bytes as text, as a browser would; never raises.

    The order is that of the HTML standard (13.2.3.2): byte order mark, charset of the header,
    <meta> or XML declaration, then sniffing. Bytes that do not fit become U+FFFD.
    """
    try:
        return html_to_unicode(content_type, payload, auto_detect_fun=_sniff)[1]
    except (LookupError, ValueError):
        return payload.decode("utf-8", "replace")


def _sniff(payload: bytes) -> str | None:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        found: str | None = detect_encoding(payload)
        return found
    return "utf-8"
