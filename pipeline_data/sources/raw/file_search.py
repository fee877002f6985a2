"""Finding a place in a large file, a piece of it in memory at a time."""

import re
from typing import BinaryIO

_CHUNK = 1 << 16


def find_in_file(
    handle: BinaryIO, sign: re.Pattern[bytes], offset: int, max_length: int
) -> int | None:
    """Where a pattern of at most ``max_length`` bytes first matches at or after a place."""
    handle.seek(offset)
    window = b""
    while chunk := handle.read(_CHUNK):
        window += chunk
        match = sign.search(window)
        if match:
            return offset + match.start()
        surplus = max(len(window) - max_length, 0)
        window = window[surplus:]
        offset += surplus
    return None
