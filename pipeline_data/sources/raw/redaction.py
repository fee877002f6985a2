"""Raw shards without the records of some addresses; all else in them stays as it is.

Nothing that a record is known by moves: what is taken out of a table or a text leaves an empty line
or row behind, so that the numbers of the others stay. Records of an archive are cut out with their
members, byte for byte; only a member that holds others too is packed anew.
"""

import bz2
import gzip
import lzma
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from backports import zstd

from pipeline_data.artifact import Artifact
from pipeline_data.formats import read_jsonl, write_jsonl
from pipeline_data.sources.raw.archive_records import read_archive
from pipeline_data.sources.raw.compressed_stream import CompressedStream, StreamError, open_stream
from pipeline_data.sources.raw.decompression import SIGN, SIGN_BYTES
from pipeline_data.sources.raw.reader import RECORDS, read_raw
from pipeline_data.sources.settings import ReaderConfig
from pipeline_data.sources.warc_shards import FETCHES, PAGES, WARC

Unwanted = Callable[[str], bool]
"""Whether the records of an address are to go."""
_CHUNK = 1 << 20
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18"


@dataclass(frozen=True)
class RedactedRecord:
    """A record that was taken out, and where it lay (as in :class:`RawRecord`)."""

    url: str
    offset: int


def redact_raw(
    raw: Artifact, reader: ReaderConfig, is_unwanted: Unwanted, out: Path
) -> list[RedactedRecord]:
    """Write a raw shard to ``out`` without the records of unwanted addresses.

    Returns:
        What was taken out; when it is nothing, ``out`` is a copy.

    Raises:
        SourceError: the shard cannot be read at all.
        ArtifactError: a file of it is missing.
    """
    for file in raw.files:
        (out / file.path).parent.mkdir(parents=True, exist_ok=True)
    match reader.format:
        case "crawl":
            redacted, done = _redact_crawl(raw, is_unwanted, out), {PAGES, WARC, FETCHES}
        case "records":
            redacted, done = _redact_records(raw, is_unwanted, out), {RECORDS}
        case _:
            name = raw.files[0].path
            redacted, done = _redact_file(raw, reader, is_unwanted, out / name), {name}
    for file in raw.files:
        if file.path not in done:
            shutil.copyfile(raw.path(file.path), out / file.path)
    return redacted


def find_records(
    raw: Artifact, reader: ReaderConfig, is_unwanted: Unwanted
) -> Iterator[RedactedRecord]:
    """The documents of a raw shard that :func:`redact_raw` would take out."""
    for record in read_raw(raw, reader):
        if record.url and is_unwanted(record.url):
            yield RedactedRecord(record.url, record.offset)


def _redact_crawl(raw: Artifact, is_unwanted: Unwanted, out: Path) -> list[RedactedRecord]:
    redacted, moved = cut_archive(raw.path(WARC), is_unwanted, out / WARC)
    for name in (PAGES, FETCHES):
        rows = (row for row in read_jsonl(raw.path(name)) if not is_unwanted(row["url"]))
        if name == FETCHES:
            rows = (row | {"offset": moved.get(row["offset"], -1)} for row in rows)
        write_jsonl(out / name, rows)
    return redacted


def _redact_records(raw: Artifact, is_unwanted: Unwanted, out: Path) -> list[RedactedRecord]:
    redacted: list[RedactedRecord] = []

    def kept() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(read_jsonl(raw.path(RECORDS))):
            if is_unwanted(row["url"]):
                redacted.append(RedactedRecord(row["url"], number))
            else:
                yield row

    write_jsonl(out / RECORDS, kept())
    return redacted


def _redact_file(
    raw: Artifact, reader: ReaderConfig, is_unwanted: Unwanted, target: Path
) -> list[RedactedRecord]:
    source = raw.path(raw.files[0].path)
    if reader.format == "warc":
        return cut_archive(source, is_unwanted, target)[0]
    redacted = list(find_records(raw, reader, is_unwanted))
    rows = {record.offset for record in redacted}
    if not rows:
        shutil.copyfile(source, target)
    elif reader.format == "parquet":
        _blank_rows(source, rows, reader.text_column, target)
    else:
        _blank_lines(source, rows, "line" if reader.format == "jsonl" else reader.split, target)
    return redacted


def cut_archive(
    path: Path, is_unwanted: Unwanted, target: Path
) -> tuple[list[RedactedRecord], dict[int, int]]:
    """Write a WARC or ARC file without the records of unwanted addresses, whatever their type.

    Returns:
        What was taken out, and for each place where records begin where that is by then.

    Raises:
        SourceError: the file cannot be opened, or is of another kind.
    """
    urls: dict[int, list[str]] = {}
    for record in read_archive(path, 0):
        urls.setdefault(record.offset, []).append(record.url)
    places = sorted(urls)
    moved: dict[int, int] = {}
    redacted: list[RedactedRecord] = []
    with path.open("rb") as source, target.open("wb") as result:
        size = path.stat().st_size
        _copy(source, result, 0, places[0] if places else size)
        for start, end in pairwise([*places, size]):
            gone = [url for url in urls[start] if url and is_unwanted(url)]
            redacted += [RedactedRecord(url, start) for url in gone]
            if len(gone) < len(urls[start]):
                moved[start] = result.tell()
                if gone:
                    _repack(path, start, end, is_unwanted, result)
                else:
                    _copy(source, result, start, end)
    return redacted, moved


def _repack(path: Path, start: int, end: int, is_unwanted: Unwanted, result: BinaryIO) -> None:
    """Write a compressed member that holds several records without the unwanted ones."""
    with tempfile.TemporaryDirectory(dir=Path(result.name).parent) as folder:
        packed, plain, cut = (Path(folder, name) for name in ("packed", "plain", "cut"))
        with path.open("rb") as source, packed.open("wb") as member:
            if source.read(4) == _DICTIONARY_FRAME:
                _copy(source, member, 0, 8 + int.from_bytes(source.read(4), "little"))
            _copy(source, member, start, end)
            source.seek(start)
            head = source.read(SIGN_BYTES)
        with open_stream(packed) as stream, plain.open("wb") as target:
            for chunk in _read_chunks(stream):
                target.write(chunk)
        cut_archive(plain, is_unwanted, cut)
        with cut.open("rb") as source, _pack_like(head, result) as packer:
            shutil.copyfileobj(source, packer)


def _blank_lines(
    path: Path, rows: set[int], split: Literal["document", "paragraph", "line"], target: Path
) -> None:
    """Write a text file with nothing but line ends in place of the documents that begin there.

    One that is a document as a whole becomes empty.
    """
    if split == "document":
        target.touch()
        return
    with path.open("rb") as source:
        head = source.read(SIGN_BYTES)
    with (
        open_stream(path) as stream,
        target.open("wb") as result,
        _pack_like(head, result) as packer,
    ):
        row, is_unwanted, is_blank = 0, 0 in rows, True
        for chunk in _read_chunks(stream):
            for piece in _LINES.findall(chunk):
                is_blank = is_blank and not piece.strip()
                ends = piece.endswith(b"\n")
                packer.write((b"\n" if ends else b"") if is_unwanted else piece)
                if ends:
                    row += 1
                    goes_on = split == "paragraph" and not is_blank
                    is_unwanted, is_blank = (is_unwanted and goes_on) or row in rows, True


def _blank_rows(path: Path, rows: set[int], text_column: str, target: Path) -> None:
    """Write a Parquet file with empty rows in place of some; row groups stay what they are."""
    with pq.ParquetFile(path) as file:
        schema = pa.schema(
            [field.with_nullable(True) for field in file.schema_arrow], file.schema_arrow.metadata
        )
        codec = file.metadata.row_group(0).column(0).compression.lower()
        first = 0
        with pq.ParquetWriter(target, schema, compression=_CODECS.get(codec, codec)) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                numbers = range(first, first + table.num_rows)
                first += table.num_rows
                if rows.isdisjoint(numbers):
                    writer.write_table(table.cast(schema))
                    continue
                kept = pa.array(
                    [None if number in rows else at for at, number in enumerate(numbers)],
                    pa.int64(),
                )
                blanked = table.take(kept).cast(schema)
                writer.write_table(_with_empty_text(blanked, kept, text_column))


_CODECS = {"uncompressed": "none"}


def _with_empty_text(table: pa.Table, kept: pa.Array, column: str) -> pa.Table:
    """An empty text in each row that was taken out, so that it is no damaged one."""
    place = table.schema.get_field_index(column)
    if place < 0 or not _is_string(table.schema.field(place).type):
        return table
    texts = pc.if_else(pc.is_null(kept), pa.scalar("", table.schema.field(place).type),
                       table.column(place))  # fmt: skip
    return table.set_column(place, table.schema.field(place), texts)


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _copy(source: BinaryIO, result: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    while start < end and (chunk := source.read(min(_CHUNK, end - start))):
        result.write(chunk)
        start += len(chunk)


def _read_chunks(stream: CompressedStream) -> Iterator[bytes]:
    """The bytes of a stream, as far as they can be read."""
    try:
        while chunk := stream.read_some(_CHUNK):
            yield chunk
    except StreamError:
        return


@contextmanager
def _pack_like(head: bytes, result: BinaryIO) -> Iterator[IO[bytes]]:
    """What is written here goes to ``result``, compressed as the file that begins with ``head``."""
    sign = SIGN.match(head)
    kind = sign.group()[:2] if sign else b""
    if not kind:
        yield result
        return
    with _open_packer(kind, result) as packer:
        yield packer


def _open_packer(kind: bytes, result: BinaryIO) -> IO[bytes]:
    match kind:
        case b"\x1f\x8b":
            packer: Any = gzip.GzipFile("", "wb", fileobj=result, mtime=0)
        case b"BZ":
            packer = bz2.BZ2File(result, "wb")
        case b"\xfd7":
            packer = lzma.LZMAFile(result, "wb")  # noqa: SIM115  the caller closes it
        case _:
            packer = zstd.ZstdFile(result, "wb")
    return cast(IO[bytes], packer)
