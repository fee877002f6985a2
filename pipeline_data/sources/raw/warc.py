"""Pages of WARC, WET and ARC files: a crawl's own, and those of others.

A page is HTML in an HTTP response of status 200 or in a resource record; plain text in a conversion
record, as of Common Crawl's WET files, is a document as it is. Every other record comes out too, as
what it is, so that all of a file is accounted for.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pipeline_data.artifact import Artifact
from pipeline_data.formats import read_jsonl
from pipeline_data.sources.raw.archive_records import ArchiveRecord, read_archive, read_record
from pipeline_data.sources.raw.compressed_stream import CompressedStream, open_stream
from pipeline_data.sources.raw.content_encoding import decode_body
from pipeline_data.sources.raw.header_fields import MAX_HEADER_BYTES
from pipeline_data.sources.raw.html import decode_text, is_html, may_be_html, media_type
from pipeline_data.sources.raw.http_response import HttpResponse, join_chunks, parse_response
from pipeline_data.sources.raw.record import DamagedRecord, PassedRecord, RawRecord, RawResult
from pipeline_data.sources.warc_shards import FETCHES, PAGES, WARC


def read_crawl(artifact: Artifact, max_page_bytes: int) -> Iterator[RawResult]:
    """The pages of a crawl shard in URL order, each verified against its hash."""
    fetches = {row["url"]: row for row in read_jsonl(artifact.path(FETCHES))}
    with open_stream(artifact.path(WARC)) as stream:
        for page in read_jsonl(artifact.path(PAGES)):
            url = page["url"]
            fetch = fetches.get(url)
            if fetch is None:
                yield DamagedRecord(-1, "no place in the WARC is on record", url)
                continue
            try:
                payload = _read_crawled(stream, fetch["offset"], max_page_bytes)
                if hashlib.sha256(payload).hexdigest() != page["payload_sha256"]:
                    raise ValueError("payload does not match its sha256")
            except ValueError as error:
                yield DamagedRecord(fetch["offset"], str(error), url)
                continue
            content_type = page["content_type"] or None
            yield RawRecord(url, fetch["offset"], fetch["fetched"], content_type, payload)


def _read_crawled(stream: CompressedStream, offset: int, max_page_bytes: int) -> bytes:
    stream.go_to(offset)
    record = read_record(stream, max_page_bytes + MAX_HEADER_BYTES)
    if record is None:
        raise ValueError("the WARC ends before it")
    return _payload(parse_response(record.block), max_page_bytes)


def read_warc_file(path: Path, max_page_bytes: int) -> Iterator[RawResult]:
    """What each record of a WARC, WET or ARC file is, in its order.

    Raises:
        SourceError: the file cannot be opened, or is of another kind.
    """
    for record in read_archive(path, max_page_bytes + MAX_HEADER_BYTES):
        yield record if isinstance(record, DamagedRecord) else _read_page(record, max_page_bytes)


def _read_page(record: ArchiveRecord, max_page_bytes: int) -> RawResult:
    kind = record.type
    match kind:
        case "request" | "metadata" | "warcinfo" | "continuation" as reason:
            return PassedRecord(record.offset, reason)
    url = record.url
    if kind == "revisit":
        return PassedRecord(record.offset, "revisit", url)
    if not kind:
        return DamagedRecord(record.offset, "record has no WARC-Type", url)
    if kind not in ("response", "resource", "conversion"):
        return PassedRecord(record.offset, "unknown_type", detail=kind[:40])
    if not url:
        return DamagedRecord(record.offset, "record has no WARC-Target-URI")
    try:
        if record.field("WARC-Segment-Number"):
            raise ValueError("record is split into segments")
        if record.block.startswith(b"HTTP/"):
            return _read_response(record, url, max_page_bytes)
        return _read_document(record, kind, url, max_page_bytes)
    except ValueError as error:
        return DamagedRecord(record.offset, str(error), url)


def _read_response(record: ArchiveRecord, url: str, max_page_bytes: int) -> RawResult:
    response = parse_response(record.block)
    content_type = response.field("Content-Type")
    if response.status != 200:
        return PassedRecord(record.offset, "status", url, str(response.status))
    if not may_be_html(content_type):
        return PassedRecord(record.offset, "not_html", url, media_type(content_type)[:80])
    if record.length > len(record.block):
        raise ValueError(f"page larger than {max_page_bytes} bytes")
    return _page(record, url, content_type, _payload(response, max_page_bytes))


def _read_document(record: ArchiveRecord, kind: str, url: str, max_page_bytes: int) -> RawResult:
    """A record whose block is the document itself, with no HTTP header."""
    content_type = record.field("Content-Type")
    media = media_type(content_type)
    is_text = (kind, media) == ("conversion", "text/plain")
    if media == "application/http":
        raise ValueError("no HTTP response")
    if not is_text and not may_be_html(content_type):
        return PassedRecord(record.offset, "not_html", url, media[:80])
    if record.length > max_page_bytes:
        raise ValueError(f"page larger than {max_page_bytes} bytes")
    if is_text:
        text = decode_text(record.block, content_type)
        return RawRecord(url, record.offset, _date(record), content_type, text=text)
    return _page(record, url, content_type, decode_body(record.block, None, max_page_bytes))


def _page(record: ArchiveRecord, url: str, content_type: str | None, payload: bytes) -> RawResult:
    if not is_html(payload, content_type):
        return PassedRecord(record.offset, "not_html", url, media_type(content_type)[:80])
    return RawRecord(url, record.offset, _date(record), content_type, payload)


def _payload(response: HttpResponse, max_page_bytes: int) -> bytes:
    """The body without transfer and content coding."""
    is_chunked = "chunked" in (response.field("Transfer-Encoding") or "").lower()
    body = join_chunks(response.body, is_chunked)
    return decode_body(body, response.field("Content-Encoding"), max_page_bytes)


def _date(record: ArchiveRecord) -> str | None:
    return record.field("WARC-Date")
