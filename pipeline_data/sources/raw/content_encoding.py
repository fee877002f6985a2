"""Undoing an HTTP body's Content-Encoding, within a limit that a small body cannot pass unseen."""

import re
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
from backports import zstd

_CHUNK = 1 << 16
_MAX_UNDECLARED = 2
_MAX_WINDOW_LOG = 23  # RFC 9659
_GZIP = b"\x1f\x8b\x08"
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class ContentEncodingError(ValueError):
    """A body is larger than allowed, cut off, or not encoded as it says."""


def decode_body(body: bytes, encodings: str | None, max_bytes: int) -> bytes:
    """The body after undoing gzip, deflate, br and zstd (RFC 9110, 8.4), last one first.

    Servers and archives declare wrongly. So a body that is no such stream but readable text is
    taken as it is, and gzip is undone where nothing declares it.

    Raises:
        ContentEncodingError: it is over ``max_bytes``, damaged, or of an unknown encoding.
    """
    for encoding in reversed([e.strip().lower() for e in (encodings or "").split(",")]):
        if encoding not in ("", "identity"):
            body = _decode(body, encoding, max_bytes)
    for _ in range(_MAX_UNDECLARED):
        if not body.startswith(_GZIP):
            break
        body = _decode(body, "gzip", max_bytes)
    if len(body) > max_bytes:
        raise ContentEncodingError(f"body larger than {max_bytes} bytes")
    return body


def _decode(body: bytes, encoding: str, max_bytes: int) -> bytes:
    try:
        decoder = _DECODERS[encoding]
    except KeyError:
        if _is_text(body):
            return body
        raise ContentEncodingError(f"unknown content-encoding {encoding[:40]!r}") from None
    try:
        return decoder(body, max_bytes)
    except (zlib.error, brotli.error, zstd.ZstdError) as error:
        if _is_text(body):
            return body
        raise ContentEncodingError(f"damaged {encoding} body ({error})") from error


def _is_text(body: bytes) -> bool:
    return _CONTROLS.search(body, 0, 512) is None


def _inflate(body: bytes, max_bytes: int, window_bits: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:  # gzip allows several members, one after another
        decoder = zlib.decompressobj(window_bits)
        part = decoder.decompress(body, max_bytes + 1 - size)
        size += len(part)
        parts.append(part)
        _check_size(size, max_bytes)
        if not decoder.eof:
            raise ContentEncodingError("compressed body is cut off")
        body = decoder.unused_data if window_bits > 16 else b""
        if body and not body.startswith(b"\x1f\x8b"):
            break  # padding after the last member is common and harmless
    return b"".join(parts)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    return _inflate(body, max_bytes, 16 + zlib.MAX_WBITS)


def _undeflate(body: bytes, max_bytes: int) -> bytes:
    # The standard means zlib's format; many servers send the bare stream.
    try:
        return _inflate(body, max_bytes, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(body, max_bytes, -zlib.MAX_WBITS)


def _unbrotli(body: bytes, max_bytes: int) -> bytes:
    decoder = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    data = body
    while True:
        part = decoder.process(data, output_buffer_limit=_CHUNK)
        data = b""
        parts.append(part)
        size += len(part)
        _check_size(size, max_bytes)
        if decoder.is_finished():
            return b"".join(parts)
        if not part and decoder.can_accept_more_data():
            raise ContentEncodingError("compressed body is cut off")


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:  # a body may be several frames
        decoder = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
        )
        part = decoder.decompress(body, max_bytes + 1 - size)
        size += len(part)
        parts.append(part)
        _check_size(size, max_bytes)
        if not decoder.eof:
            raise ContentEncodingError("compressed body is cut off")
        body = decoder.unused_data
    return b"".join(parts)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ContentEncodingError(f"body larger than {max_bytes} bytes after decompression")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
