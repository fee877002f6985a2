"""Decoders of one compressed member: gzip (RFC 1952), zstd (RFC 8878), bzip2, xz, or none.

isal's gzip decoder takes half the time of zlib's.
"""

import bz2
import lzma
import re
from typing import BinaryIO, Protocol, cast

from backports import zstd
from isal import igzip_lib

SIGN_BYTES = 10
SIGN = re.compile(
    rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"
    rb"|BZh[1-9](?:1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0",
    re.S,
)
"""What a compressed member begins with; at most ``SIGN_BYTES`` long."""

DECODER_ERRORS: tuple[type[Exception], ...] = (
    cast(type[Exception], igzip_lib.IsalError),  # its stub takes the class for an instance
    zstd.ZstdError,
    lzma.LZMAError,
    OSError,
    ValueError,
    EOFError,
)

_ZSTD = b"\x28\xb5\x2f\xfd"
_DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18"
_MAX_DICTIONARY_BYTES = 1 << 23
_MAX_WINDOW_LOG = 27
_MAX_XZ_BYTES = 1 << 28


class Decoder(Protocol):
    """What the decompressors of bz2, lzma, zstd and isal have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class PlainDecoder:
    """No compression: one member that ends with the file."""

    eof = False
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return data


def open_decoder(head: bytes, dictionary: zstd.ZstdDict | None) -> Decoder | None:
    """The decoder of the member that begins so; nothing if it is not compressed."""
    if head.startswith(b"\x1f\x8b\x08"):
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    sign = SIGN.match(head)
    match sign.group()[:2] if sign else b"":
        case b"":
            return None
        case b"BZ":
            return bz2.BZ2Decompressor()
        case b"\xfd7":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_BYTES)
        case _:
            limits = {int(zstd.DecompressionParameter.window_log_max): _MAX_WINDOW_LOG}
            return zstd.ZstdDecompressor(dictionary, limits)


def read_dictionary(handle: BinaryIO) -> zstd.ZstdDict | None:
    """The dictionary that all zstd frames of a WARC share, if its first frame holds one.

    That is IIPC's 'Zstandard Compression for WARC Files' 1.0, section 3.2.
    """
    handle.seek(0)
    head = handle.read(8)
    size = int.from_bytes(head[4:], "little")
    if not head.startswith(_DICTIONARY_FRAME) or size > _MAX_DICTIONARY_BYTES:
        return None
    content = handle.read(size)
    try:
        if content.startswith(_ZSTD):
            content = zstd.ZstdDecompressor().decompress(content, _MAX_DICTIONARY_BYTES)
        dictionary = zstd.ZstdDict(content)
        zstd.ZstdDecompressor(dictionary)  # here, not at its first use, it is found damaged
        return dictionary
    except DECODER_ERRORS:
        return None  # each frame then fails, and is counted
