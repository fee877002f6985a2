"""Undoing an HTTP body's Content-Encoding, within a limit that a small body cannot pass unseen."""

import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]

_CHUNK = 1 << 16


class ContentEncodingError(ValueError):
    """A body is larger than allowed, cut off, or not encoded as it says."""


def decode_body(body: bytes, encodings: str | None, max_bytes: int) -> bytes:
    """The body after undoing ``gzip``, ``deflate`` and ``br`` (RFC 9110, 8.4), last one first.

    Raises:
        ContentEncodingError: it is over ``max_bytes``, damaged, or of an unknown encoding.
    """
    for encoding in reversed([e.strip().lower() for e in (encodings or "").split(",")]):
        if encoding in ("", "identity"):
            continue
        if encoding not in _DECODERS:
            raise ContentEncodingError(f"unknown content-encoding {encoding[:40]!r}")
        try:
            body = _DECODERS[encoding](body, max_bytes)
        except (zlib.error, brotli.error) as error:
            raise ContentEncodingError(f"damaged {encoding} body ({error})") from error
    if len(body) > max_bytes:
        raise ContentEncodingError(f"body larger than {max_bytes} bytes")
    return body


def _inflate(body: bytes, max_bytes: int, window_bits: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:  # gzip allows several members, one after another
        decoder = zlib.decompressobj(window_bits)
        part = decoder.decompress(body, max_bytes + 1 - size)
        size += len(part)
        parts.append(part)
        if size > max_bytes:
            raise ContentEncodingError(f"body larger than {max_bytes} bytes after decompression")
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
        if size > max_bytes:
            raise ContentEncodingError(f"body larger than {max_bytes} bytes after decompression")
        if decoder.is_finished():
            return b"".join(parts)
        if not part and decoder.can_accept_more_data():
            raise ContentEncodingError("compressed body is cut off")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "br": _unbrotli,
}
