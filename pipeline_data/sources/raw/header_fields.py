"""Fields of a header such as WARC and HTTP have, also of one that was written carelessly."""

import re
from functools import cache

MAX_HEADER_BYTES = 1 << 16
"""Longest header that is believed to be one."""

HEADER_END = re.compile(rb"\n\r?\n")
"""The empty line behind a header; some writers end lines without a carriage return."""


def find_field(header: bytes, name: str) -> str | None:
    """The value of a field, of the first of several; nothing if there is none.

    The header's first line is none of its fields. Bytes that are not UTF-8 are taken as Latin-1.
    """
    match = _pattern(name).search(header)
    if match is None:
        return None
    value = match[1].strip()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@cache
def _pattern(name: str) -> re.Pattern[bytes]:
    """A field by its name, with the lines that go on with white space."""
    return re.compile(
        rb"\n" + name.encode() + rb"[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE
    )
