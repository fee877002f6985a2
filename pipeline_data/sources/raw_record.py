"""What comes out of a raw shard."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RawRecord:
    """One raw document. Exactly one of ``payload`` (HTML bytes) and ``text`` is set.

    ``offset`` is the byte offset in the WARC, or the row (from 0) in other formats.
    ``fetched`` is ISO 8601 in UTC.
    """

    url: str
    offset: int
    fetched: str | None = None
    content_type: str | None = None
    payload: bytes | None = None
    text: str | None = None


@dataclass(frozen=True)
class DamagedRecord:
    """A record that cannot be read; ``reason`` is one short line, ``url`` empty if unknown."""

    offset: int
    reason: str
    url: str = ""


RawResult = RawRecord | DamagedRecord
