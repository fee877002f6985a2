"""The records of WARC (ISO 28500) and ARC files, compressed or not, also of damaged ones.

A damaged record costs itself. Reading goes on at the next record that can be made out: in a
compressed file at the next member that begins one, elsewhere at the next bytes that do. What lies
between is told in bytes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.compressed_stream import CompressedStream, StreamError, open_stream
from pipeline_data.sources.raw.header_fields import HEADER_END, MAX_HEADER_BYTES, find_field
from pipeline_data.sources.raw.record import DamagedRecord

_WARC = b"WARC/"
_ARC = b"ARC"
_BEGIN = re.compile(
    rb"WARC/\d\.\d+[ \t]*\r?\n[\w-]{1,60}[ \t]*:"
    rb"|(?:https?|ftp|dns|filedesc):\S{0,1800} [0-9A-Fa-f.:-]{1,40} \d{8,20} [^\r\n]{1,80}\n"
)
"""The first lines of a WARC record, the only one of an ARC record's header."""
_LINE_END = re.compile(rb"\n")
_SIGNS = (_WARC, b"filedesc", b"http", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18")
"""What a file may begin with, when all of it is damaged, and still be an archive."""


class ArchiveRecord(NamedTuple):
    """One record. ``offset`` is its place in the file; in a compressed one, its member's.

    An ARC record has the header that a WARC would give it. ``block`` is cut at the reader's limit,
    ``length`` is not.
    """

    offset: int
    header: bytes
    block: bytes
    length: int

    @property
    def type(self) -> str:
        """``response``, ``request`` and so on; empty if it has none."""
        return (find_field(self.header, "WARC-Type") or "").lower()

    @property
    def url(self) -> str:
        """The page it is about; empty if it has none."""
        return _url(self.header)

    def field(self, name: str) -> str | None:
        """A field of the header."""
        return find_field(self.header, name)


def read_archive(path: Path, max_block_bytes: int) -> Iterator[ArchiveRecord | DamagedRecord]:
    """Every record of a file, in its order.

    Raises:
        SourceError: the file cannot be opened, or is of another kind.
    """
    with open_stream(path, _BEGIN) as stream:
        if stream.size == 0:
            yield DamagedRecord(0, "the file is empty")
        for number, record in enumerate(_read_records(stream, max_block_bytes)):
            if number == 0 and isinstance(record, DamagedRecord) and stream.at_end:
                _check_kind(path)
            yield record


def read_record(stream: CompressedStream, max_block_bytes: int) -> ArchiveRecord | None:
    """The next record; nothing at the end.

    Raises:
        StreamError: it is damaged.
    """
    offset = stream.begin_record()
    if offset is None:
        return None
    return _read_block(stream, offset, _read_header(stream), max_block_bytes)


def _read_records(
    stream: CompressedStream, max_block_bytes: int
) -> Iterator[ArchiveRecord | DamagedRecord]:
    while True:
        offset: int | None = None
        header = b""
        try:
            offset = stream.begin_record()
            if offset is None:
                return
            header = _read_header(stream)
            record = _read_block(stream, offset, header, max_block_bytes)
        except StreamError as error:
            if offset is None:
                offset = stream.offset
            num_bytes = stream.recover(offset)
            yield DamagedRecord(offset, str(error), _url(header), num_bytes)
        else:
            yield record


def _read_header(stream: CompressedStream) -> bytes:
    head = stream.peek()
    if not _BEGIN.match(head):
        raise StreamError("no record begins here")
    if head.startswith(_WARC):
        return stream.read_until(HEADER_END, MAX_HEADER_BYTES)
    return _warc_header(stream.read_until(_LINE_END, MAX_HEADER_BYTES))


def _warc_header(line: bytes) -> bytes:
    """An ARC record's header as that of a WARC record.

    An ARC header is URL, address, date, media type, ..., length (Burner and Kahle, 1996).
    """
    url, _, date, media_type, *_ = parts = line.strip().split(b" ")
    day, time = date[:8], date[8:14].ljust(6, b"0")
    return b"\n".join(
        [
            _ARC,
            b"WARC-Type: " + (b"warcinfo" if url.startswith(b"filedesc:") else b"response"),
            b"WARC-Target-URI: " + url,
            b"WARC-Date: %b-%b-%bT" % (day[:4], day[4:6], day[6:])
            + b"%b:%b:%bZ" % (time[:2], time[2:4], time[4:]),
            b"Content-Type: " + media_type,
            b"Content-Length: " + parts[-1],
        ]
    )


def _read_block(
    stream: CompressedStream, offset: int, header: bytes, max_block_bytes: int
) -> ArchiveRecord:
    declared = find_field(header, "Content-Length") or ""
    if not (declared.isascii() and declared.isdigit() and len(declared) < 18):
        raise StreamError(f"record has no valid length ({declared[:40]!r})")
    length = int(declared)
    if stream.lacks(length):
        raise StreamError(f"record is cut off (of {length} bytes)")
    block = stream.read(min(length, max_block_bytes))
    num_read = len(block)
    if num_read == max_block_bytes:
        num_read += stream.skip(length - num_read)
    if num_read < length:
        raise StreamError(f"record is cut off ({num_read} of {length} bytes)")
    num_line_ends = stream.end_record()
    if 0 <= num_line_ends < (1 if header.startswith(_ARC) else 2):
        raise StreamError(f"record does not end after its {length} bytes")
    return ArchiveRecord(offset, header, block, length)


def _url(header: bytes) -> str:
    return (find_field(header, "WARC-Target-URI") or "").strip("<> ")


def _check_kind(path: Path) -> None:
    """Tell a file of another kind from one whose only record is damaged."""
    with open_stream(path) as stream:
        try:
            head = stream.read(8)
        except StreamError:
            return
    if not any(sign.startswith(head[: len(sign)]) for sign in _SIGNS):
        raise SourceError(f"{path.name} is no WARC or ARC file; correct the source's paths or kind")
