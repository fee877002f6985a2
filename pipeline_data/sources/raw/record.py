"""What comes out of a raw shard."""

from dataclasses import dataclass
from typing import Literal

PassReason = Literal[
    "warcinfo",
    "request",
    "metadata",
    "revisit",
    "continuation",
    "unknown_type",
    "status",
    "not_html",
]
"""Why a sound record is no document: its type, its HTTP status, or what its body is."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One raw document. Exactly one of ``payload`` (HTML bytes) and ``text`` is set.

    ``offset`` is the byte offset in the archive (of the compressed member, where there is one), or
    the row (from 0) in other formats. ``fetched`` is ISO 8601 in UTC.
    """

    url: str
    offset: int
    fetched: str | None = None
    content_type: str | None = None
    payload: bytes | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that cannot be read; ``reason`` is one short line, ``url`` empty if unknown.

    ``num_bytes`` is what had to be passed over to go on, 0 where only the record's own content is
    at fault: bytes of the file, or, inside a compressed member, what they unpack to.
    """

    offset: int
    reason: str
    url: str = ""
    num_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PassedRecord:
    """A sound record that is no document.

    ``url`` is set where it stands for a page (a revisit, a status, something that is not HTML) and
    ``detail`` says more: the status, the media type, the record's type.
    """

    offset: int
    reason: PassReason
    url: str = ""
    detail: str = ""


RawResult = RawRecord | DamagedRecord | PassedRecord
