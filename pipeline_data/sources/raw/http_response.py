"""HTTP responses as archives hold them: right, wrongly declared, or cut off."""

import re
from typing import NamedTuple

from pipeline_data.sources.raw.header_fields import HEADER_END, MAX_HEADER_BYTES, find_field

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")
_LINE_END = re.compile(rb"\r?\n")


class HttpError(ValueError):
    """A block is no HTTP response, or its body is damaged."""


class HttpResponse(NamedTuple):
    """Status, header, and the body as it lies in the archive."""

    status: int
    header: bytes
    body: bytes

    def field(self, name: str) -> str | None:
        """A field of the header."""
        return find_field(self.header, name)


def parse_response(block: bytes) -> HttpResponse:
    """Split a response at the empty line behind its header.

    Raises:
        HttpError: it is none.
    """
    status = _STATUS.match(block)
    if status is None:
        raise HttpError("no HTTP response")
    end = HEADER_END.search(block, 0, MAX_HEADER_BYTES)
    if end is None and len(block) > MAX_HEADER_BYTES:
        raise HttpError(f"HTTP header is larger than {MAX_HEADER_BYTES} bytes")
    header, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    return HttpResponse(int(status[1]), header, body)


def join_chunks(body: bytes, is_declared: bool) -> bytes:
    """The body without chunked transfer coding (RFC 9112, 7.1), whether or not it was declared.

    Many archives undo the coding and leave the header, or the other way round. So a body that does
    not begin with a chunk is taken as it is, and so is an undeclared one that is not
    chunked from end to end. The last, empty chunk may be missing.

    Raises:
        HttpError: it is declared to be chunked, begins so, and is damaged or cut off later.
    """
    chunks: list[bytes] = []
    place = 0
    while place < len(body):
        size = _CHUNK_SIZE.match(body, place)
        length = int(size[1], 16) if size else -1
        if size and length == 0:
            return b"".join(chunks)  # trailer fields may follow
        end = size.end() + length if size else -1
        line_end = _LINE_END.match(body, end) if size else None
        if not size or end > len(body) or (line_end is None and end < len(body)):
            if is_declared and (size or chunks):
                raise HttpError(f"chunked body is damaged or cut off at byte {place}")
            return body
        chunks.append(body[size.end() : end])
        place = line_end.end() if line_end else end
    return b"".join(chunks) if is_declared else body
