"""Reading a file that is compressed in members, one after another, or not at all.

The file's first bytes say which. Memory is bounded whatever a file says of itself.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.decompression import (
    DECODER_ERRORS,
    SIGN,
    SIGN_BYTES,
    Decoder,
    PlainDecoder,
    open_decoder,
    read_dictionary,
)
from pipeline_data.sources.raw.file_search import find_in_file

MAX_UNPACKED_BYTES = 1 << 30
"""What is passed over may not unpack to more: a bomb costs its member."""

_CHUNK = 1 << 16
_FIRST_UNPACKED = 1 << 14  # asking for more at once costs a small member more than its decoding
_UNPACKED = 1 << 17
_HEAD = 2048
_FIRST_LOOK = 128
_BLANK = b"\r\n\0"
_BLANKS = re.compile(rb"[\r\n\0]*")
_LINE_ENDS = re.compile(rb"[\r\n]*")
_NOTHING = re.compile(rb"(?!)")


class StreamError(ValueError):
    """The file does not go on as it should; the text says why."""


class CompressedStream:
    """The bytes inside a file, from first to last, and where in the file they come from.

    Args:
        handle: an unbuffered binary file.
        begins: what every record begins with. A record may go on in the next member, unless that
            one begins a record itself.
    """

    def __init__(self, handle: BinaryIO, begins: re.Pattern[bytes] = _NOTHING) -> None:
        self._handle = handle
        self._size = handle.seek(0, io.SEEK_END)
        self._begins = begins
        either = re.compile(SIGN.pattern + b"|" + begins.pattern, re.S)
        self._signs = {True: begins, False: SIGN, None: either}
        self._dictionary = read_dictionary(handle)
        self._is_plain: bool | None = None
        self.go_to(0)

    def go_to(self, offset: int) -> None:
        """Go on at a place of the file: where a member begins, anywhere in an uncompressed one."""
        self._handle.seek(offset)
        self._read_to = self._member = offset
        self._raw = self._data = b""
        self._next = 0
        self._is_broken = False
        self._max_unpacked = _FIRST_UNPACKED
        self._decoder: Decoder | None = PlainDecoder() if self._is_plain else None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    @property
    def offset(self) -> int:
        """Where the next byte lies in the file; in a compressed one, where its member begins."""
        return self._read_to - len(self._data) + self._next if self._is_plain else self._member

    @property
    def at_end(self) -> bool:
        """Whether all that can be read was read."""
        return self._next == len(self._data) and self.consumed == self._size

    @property
    def consumed(self) -> int:
        """How many bytes of the file were decoded."""
        return self._read_to - len(self._raw)

    def begin_record(self) -> int | None:
        """Pass over what separates records; the offset of the next, or nothing at the end.

        Raises:
            StreamError: no record can be read here.
        """
        num_blanks = 0
        while True:
            num_blanks += self._pass_over(_BLANKS)
            if self._next < len(self._data):
                return self.offset
            _check_size(num_blanks)
            if not self._fill() and not self._open_member():
                return None

    def peek(self) -> bytes:
        """The next bytes of this member, enough to tell what they begin; they stay to be read.

        Raises:
            StreamError: the member is damaged or cut off.
        """
        while len(self._data) - self._next < _HEAD and self._fill(keep=True):
            pass
        return self._data[self._next : self._next + _HEAD]

    def lacks(self, size: int) -> bool:
        """Whether the file is known to end before so many bytes."""
        return self._is_plain is True and size > self._size - self.offset

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` where the file ends or another record begins.

        Raises:
            StreamError: the member is damaged or cut off.
        """
        parts: list[memoryview] = []
        while size > 0:
            part = memoryview(self._data)[self._next : self._next + size]
            if part:
                self._next += len(part)
                size -= len(part)
                parts.append(part)
            elif not self._fill() and not self._continue():
                break
        return b"".join(parts)

    def read_some(self, max_bytes: int) -> bytes:
        """Some of the next bytes; none at the end of the file.

        Raises:
            StreamError: the member is damaged or cut off.
        """
        while self._next == len(self._data) and not self._fill():
            if not self._open_member():
                return b""
        data = self._data[self._next : self._next + max_bytes]
        self._next += len(data)
        return data

    def read_until(self, end: re.Pattern[bytes], max_bytes: int) -> bytes:
        """The bytes before a match of ``end``, which is passed over too.

        Raises:
            StreamError: there is no match in ``max_bytes``, or the member is damaged or cut off.
        """
        while (match := end.search(self._data, self._next)) is None:
            if len(self._data) - self._next > max_bytes:
                self._next += max_bytes
                raise StreamError(f"header is larger than {max_bytes} bytes")
            if not self._fill(keep=True) and not self._continue(keep=True):
                raise StreamError("header is cut off")
        found = self._data[self._next : match.start()]
        self._next = match.end()
        return found

    def skip(self, size: int) -> int:
        """Pass over the next bytes; returns how many there were.

        Raises:
            StreamError: the member is damaged, cut off, or a bomb.
        """
        left = size
        while left > 0:
            step = min(left, len(self._data) - self._next)
            self._next += step
            left -= step
            if left and self._is_plain:
                start = self._read_to
                self.go_to(min(start + left, self._size))
                return size - left + self._read_to - start
            _check_size(size - left)
            if left and not self._fill() and not self._continue():
                break
        return size - left

    def end_record(self) -> int:
        """Pass over the line ends behind a record; returns how many, -1 for a proper end.

        A proper end is that of the member or the file, or another record's begin. A member's end
        is where its checksum is verified.

        Raises:
            StreamError: the member is damaged or cut off.
        """
        num_line_ends = 0
        while True:
            start = self._next
            self._pass_over(_LINE_ENDS)
            num_line_ends += self._data.count(b"\n", start, self._next)
            if self._next < len(self._data):
                return -1 if self._begins.match(self.peek()) else num_line_ends
            _check_size(num_line_ends)
            if not self._fill():
                return -1

    def recover(self, start: int) -> int:
        """Go to the next record that can be made out after the damaged one at ``start``.

        Returns:
            How many bytes were passed over: of the file, or, when the next record lies in the same
            member, of what that unpacks to.
        """
        if self._is_plain:
            return self._seek_record(start + 1) - start
        if self._is_broken:
            return self._seek_record(self._member + 1) - start
        if self._member > start and self._begins.match(self._data, self._next):
            return self._member - start
        try:
            num_skipped = self._skip_to_record()
            if num_skipped is not None:
                return num_skipped
            while self._open_member():
                if self._begins.match(self.peek()):
                    return self._member - start
                self._skip_to_record()
            return self._size - start
        except StreamError:
            return self._seek_record(self._member + 1) - start

    def _skip_to_record(self) -> int | None:
        """Go to what begins a record in this member, or to the member's end (nothing)."""
        num_skipped = 0
        while True:
            match = self._begins.search(self._data, self._next)
            if match:
                num_skipped += match.start() - self._next
                self._next = match.start()
                return num_skipped
            kept = min(_HEAD, len(self._data) - self._next)
            num_skipped += len(self._data) - self._next - kept
            self._next = len(self._data) - kept
            _check_size(num_skipped)
            if not self._fill(keep=True):
                self._next = len(self._data)
                return None

    def _pass_over(self, what: re.Pattern[bytes]) -> int:
        start = self._next
        if start == len(self._data) or self._data[start] > 13:
            return 0
        match = what.match(self._data, start)
        self._next = match.end() if match else start
        return self._next - start

    def _seek_record(self, offset: int) -> int:
        """Go to the first record at or after a place of the file; returns where it is."""
        while True:
            place = find_in_file(self._handle, self._signs[self._is_plain], offset, _HEAD)
            if place is None:
                self.go_to(self._size)
                return self._size
            self._handle.seek(place)
            raw = self._handle.read(_CHUNK)
            if self._begins_record(raw):
                self._is_plain = SIGN.match(raw) is None
                self.go_to(place)
                return place
            offset = place + 1

    def _begins_record(self, raw: bytes) -> bool:
        """Whether bytes of the file begin a record, in a member or as they are."""
        decoder = open_decoder(raw, self._dictionary) or PlainDecoder()
        head = b""
        try:
            while len(head) < _HEAD:  # little at first, or a small member's damaged end is met
                head += decoder.decompress(raw, len(head) or _FIRST_LOOK)
                if self._begins.match(head):
                    return True
                if decoder.needs_input:
                    return False
                raw = b""
        except DECODER_ERRORS:
            pass
        return False

    def _fill(self, keep: bool = False) -> bool:
        """More bytes of this member, behind those not yet read; False when it has ended."""
        while self._decoder is not None:
            raw = b""
            if self._decoder.needs_input:
                raw, self._raw = self._raw or self._read_raw(), b""
                if not raw:
                    self._decoder = None
                    if self._is_plain:
                        return False
                    self._is_broken = True
                    raise StreamError("the file ends inside it")
            try:
                data = self._decoder.decompress(raw, self._max_unpacked)
                self._max_unpacked = _UNPACKED
                if self._decoder.eof:
                    self._raw = self._decoder.unused_data
                    self._decoder = None
            except DECODER_ERRORS as error:
                self._decoder = None
                self._is_broken = True
                raise StreamError(f"compression is damaged ({error})") from error
            if data:
                self._data = self._data[self._next :] + data if keep else data
                self._next = 0
                return True
        return False

    def _continue(self, keep: bool = False) -> bool:
        """More bytes from the next member; False if that begins a record or there is none."""
        before = self._data[self._next :] if keep else b""
        self._next = len(self._data)
        while self._open_member():
            if self._fill():
                if self._begins.match(self.peek()):
                    return False
                self._data = before + self._data
                return True
        self._data, self._next = before, 0
        return False

    def _open_member(self) -> bool:
        """Begin the next member; False at the end of the file."""
        while True:
            if self._is_plain is False:
                self._raw = self._raw.lstrip(b"\0")  # padding, as of tar and of tapes
            more = self._read_raw() if len(self._raw) < SIGN_BYTES else b""
            if not more:
                break
            self._raw += more
        self._member = self.consumed
        self._max_unpacked = _FIRST_UNPACKED
        if not self._raw:
            return False
        self._decoder = open_decoder(self._raw, self._dictionary)
        if self._decoder is None:
            if self._is_plain is False or not self._may_be_plain(self._raw):
                self._is_broken = True
                raise StreamError("no record begins here")
            self._decoder = PlainDecoder()
        self._is_plain = isinstance(self._decoder, PlainDecoder)
        return True

    def _may_be_plain(self, raw: bytes) -> bool:
        return self._begins is _NOTHING or self._begins.match(raw.lstrip(_BLANK)) is not None

    def _read_raw(self) -> bytes:
        chunk = self._handle.read(_CHUNK)
        self._read_to += len(chunk)
        return chunk


@contextmanager
def open_stream(path: Path, begins: re.Pattern[bytes] = _NOTHING) -> Iterator[CompressedStream]:
    """A file on this machine as a :class:`CompressedStream`.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        handle = path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"{path} cannot be opened; correct the source's paths") from error
    with handle:
        yield CompressedStream(handle, begins)


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_UNPACKED_BYTES:
        raise StreamError(f"unpacks to more than {MAX_UNPACKED_BYTES} bytes")
