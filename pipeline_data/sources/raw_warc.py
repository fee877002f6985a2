"""Reading WARC files (ISO 28500): a crawl's own, and those of others, which may be damaged.

After damage, reading goes on at the next record that can be made out: in a compressed file the next
gzip member that begins with ``WARC/``, in a plain one the next line that does. Neighbours that are
damaged beyond recognition count as one.
"""

import hashlib
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline_data.artifact import Artifact
from pipeline_data.errors import SourceError
from pipeline_data.formats import read_jsonl
from pipeline_data.sources.content_encoding import decode_body
from pipeline_data.sources.html import is_html
from pipeline_data.sources.raw_record import DamagedRecord, RawRecord, RawResult
from pipeline_data.sources.warc_shards import FETCHES, PAGES, WARC

_GZIP = b"\x1f\x8b\x08"
_CHUNK = 1 << 16
_MAX_HEADER_BYTES = 1 << 16


class _DamageError(ValueError):
    """A record is not what it says it is."""


def read_crawl(artifact: Artifact, max_page_bytes: int) -> Iterator[RawResult]:
    """The pages of a crawl shard in URL order, each verified against its hash."""
    fetches = {row["url"]: row for row in read_jsonl(artifact.path(FETCHES))}
    with artifact.path(WARC).open("rb") as handle:
        for page in read_jsonl(artifact.path(PAGES)):
            url = page["url"]
            fetch = fetches.get(url)
            if fetch is None:
                yield DamagedRecord(-1, "no place in the WARC is on record", url)
                continue
            offset = fetch["offset"]
            try:
                handle.seek(offset)
                record = next(iter(ArchiveIterator(handle, parse_http=False)), None)
                if record is None:
                    raise _DamageError("the WARC ends before it")
                payload = _read_payload(record, max_page_bytes)
                if hashlib.sha256(payload).hexdigest() != page["payload_sha256"]:
                    raise _DamageError("payload does not match its sha256")
            except (OSError, ValueError) as error:
                yield DamagedRecord(offset, str(error), url)
                continue
            content_type = page["content_type"] or None
            yield RawRecord(url, offset, fetch["fetched"], content_type, payload)


def read_warc_file(path: Path, max_page_bytes: int) -> Iterator[RawResult]:
    """The HTML pages (status 200) of a WARC file in its order; other records are passed over.

    Raises:
        SourceError: the file cannot be opened, or holds no WARC record.
    """
    if path.stat().st_size == 0:
        raise SourceError(f"{path.name} is empty; fetch it again")
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 0 if _begins_record(data, 0) else _next_record(data, 0)
        if start is None:
            raise SourceError(f"{path.name} is no WARC file; correct the source's paths or kind")
        if start > 0:
            yield DamagedRecord(0, "no WARC record at the start of the file")
        while start is not None:
            last = told = None
            reason = "record is cut off"
            handle.seek(start)
            try:
                for record in ArchiveIterator(handle, parse_http=False):
                    last = record.stream_pos
                    result = _read_page(record, max_page_bytes)
                    if result is not None:
                        yield result
                        told = last
            except OSError as error:
                reason = str(error)
            damage = start if last is None else _record_end(data, last)
            if damage is None or not data[damage : damage + _CHUNK].strip(b"\0\r\n"):
                return
            if damage != told:
                yield DamagedRecord(damage, reason)
            start = _next_record(data, damage + 1)


def _read_page(record: WarcRecord, max_page_bytes: int) -> RawResult | None:
    """The record as an HTML page; nothing if it is something else."""
    offset = record.stream_pos
    url = (record.headers.get("WARC-Target-URI") or "").strip().strip("<>")
    if record.headers.get("WARC-Type") is None:
        return DamagedRecord(offset, "record has no WARC-Type", url)
    if record.record_type != WarcRecordType.response or not url.lower().startswith("http"):
        return None
    try:
        payload = _read_payload(record, max_page_bytes)
    except ValueError as error:
        return DamagedRecord(offset, str(error), url)
    content_type = record.http_headers.get("Content-Type")
    if record.http_headers.status_code != 200 or not is_html(payload, content_type):
        return None
    return RawRecord(url, offset, record.headers.get("WARC-Date"), content_type, payload)


def _read_payload(record: WarcRecord, max_page_bytes: int) -> bytes:
    """The HTTP body without transfer and content coding; parses the record's HTTP headers."""
    declared = int(record.headers.get("Content-Length") or -1)
    if declared > max_page_bytes + _MAX_HEADER_BYTES:
        raise _DamageError(f"record larger than {max_page_bytes} bytes")
    block: bytes = record.reader.read()
    if len(block) != declared:
        expected = str(declared) if declared >= 0 else "an unknown number of"
        raise _DamageError(f"record is cut off ({len(block)} of {expected} bytes)")
    record.set_bytes_content(block)
    try:
        record.parse_http(auto_decode="transfer")
        body: bytes = record.reader.read()
    except OSError as error:
        raise _DamageError(f"no HTTP response ({error})") from error
    encoding = record.http_headers.get("Content-Encoding") or ""
    if "gzip" in encoding.lower() and not body.startswith(_GZIP):
        encoding = ""  # many archives undo the coding and leave the header
    return decode_body(body, encoding, max_page_bytes)


def _begins_record(data: mmap.mmap, offset: int) -> bool:
    head = data[offset : offset + 512]
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, 16)
        except zlib.error:
            return False
    return head.startswith(b"WARC/")


def _next_record(data: mmap.mmap, offset: int) -> int | None:
    """Where the first record at or after an offset seems to begin."""
    candidates = [_next_sign(data, offset, _GZIP, 0), _next_sign(data, offset, b"\nWARC/", 1)]
    return min((place for place in candidates if place is not None), default=None)


def _next_sign(data: mmap.mmap, offset: int, sign: bytes, skip: int) -> int | None:
    found = data.find(sign, offset)
    while found != -1 and not _begins_record(data, found + skip):
        found = data.find(sign, found + 1)
    return None if found == -1 else found + skip


def _record_end(data: mmap.mmap, offset: int) -> int | None:
    """Where the record (or the gzip member that holds it) ends; nothing if at the file's end."""
    if data[offset : offset + 3] == _GZIP:
        end = _member_end(data, offset)
    else:
        header = data.find(b"\r\n\r\n", offset)
        fields = data[offset:header].lower().split(b"\r\n")
        sizes = [int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length:")]
        end = header + 4 + sizes[0] if header != -1 and sizes else offset
        while data[end : end + 2] == b"\r\n":
            end += 2
    return end if end < len(data) else None


def _member_end(data: mmap.mmap, offset: int) -> int:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    position = offset
    while position < len(data) and not decoder.eof:
        chunk = data[position : position + _CHUNK]
        position += len(chunk)
        pending = chunk
        try:
            while pending and not decoder.eof:
                decoder.decompress(pending, _CHUNK)
                pending = decoder.unconsumed_tail
        except zlib.error:
            return offset
    return position - len(decoder.unused_data)
