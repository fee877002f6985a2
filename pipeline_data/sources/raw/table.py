"""Reading files of texts: JSONL, Parquet and plain text."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.compressed_stream import CompressedStream, StreamError, open_stream
from pipeline_data.sources.raw.record import DamagedRecord, RawRecord, RawResult
from pipeline_data.sources.settings import ReaderConfig

_ROWS_AT_ONCE = 128
_BATCH_BYTES = 1 << 24
_BUFFER_BYTES = 1 << 18
_PARQUET = b"PAR1"


def read_jsonl_file(path: Path, name: str, reader: ReaderConfig) -> Iterator[RawResult]:
    """One record a line; offsets are line numbers from 0.

    Raises:
        SourceError: the file cannot be opened.
    """
    for row, line in _read_lines(path, reader.max_page_bytes):
        if isinstance(line, str):
            yield DamagedRecord(row, line)
        elif line.strip():
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield DamagedRecord(row, f"not JSON ({error})")
            else:
                yield _make_record(row, content, name, reader)


def read_parquet_file(path: Path, name: str, reader: ReaderConfig) -> Iterator[RawResult]:
    """One record a row; offsets are row numbers. A damaged row group costs itself.

    Raises:
        SourceError: the file is of another kind, or lacks a column the source names.
    """
    try:
        # Pages as they are needed, not whole column chunks: row groups may be larger than memory.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    except (OSError, pa.ArrowException) as error:
        with open_stream(path) as stream:
            if not _PARQUET.startswith(stream.read(len(_PARQUET))):
                raise SourceError(
                    f"{path.name} is no Parquet file; correct the source's paths or kind"
                ) from error
            yield DamagedRecord(0, f"not readable ({_brief(error)})", num_bytes=stream.size)
            return
    with file:
        wanted = [reader.text_column, reader.url_column, reader.id_column]
        columns = list(dict.fromkeys(c for c in wanted if c is not None))
        _check_columns(path, file.schema_arrow, columns)
        first_row = 0
        for group in range(file.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            row = first_row
            try:
                for content in _read_group(file, group, columns):
                    if isinstance(content, UnicodeDecodeError):
                        yield DamagedRecord(row, "not UTF-8")
                    else:
                        yield _make_record(row, content, name, reader)
                    row += 1
            except (OSError, pa.ArrowException) as error:
                lost = f"{first_row + num_rows - row} rows lost"
                yield DamagedRecord(row, f"damaged row group, {lost} ({_brief(error)})")
            first_row += num_rows


def read_text_file(path: Path, name: str, reader: ReaderConfig) -> Iterator[RawResult]:
    """One record a file, paragraph or line; offsets are numbers of the first line, from 0.

    Raises:
        SourceError: the file cannot be opened.
    """
    for row, block in _read_blocks(path, reader):
        if isinstance(block, str):
            yield DamagedRecord(row, block)
            continue
        url = file_url(name) if reader.split == "document" else file_url(name, row)
        try:
            yield RawRecord(url, row, text=block.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield DamagedRecord(row, "not UTF-8", url)


def _check_columns(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    for column in columns:
        if column not in schema.names and not _has_nested(schema, column):
            raise SourceError(
                f"{path.name} has no column {column!r} (it has {', '.join(schema.names)}); "
                "correct the source's columns"
            )


def _has_nested(schema: pa.Schema, column: str) -> bool:
    fields: Any = schema
    for part in column.split("."):
        if not isinstance(fields, pa.Schema | pa.StructType) or part not in fields.names:
            return False
        fields = fields.field(part).type
    return True


def _read_group(file: pq.ParquetFile, group: int, columns: list[str]) -> Iterator[Any]:
    """The rows of a row group; an error in place of one that is not valid."""
    metadata = file.metadata.row_group(group)
    row_bytes = metadata.total_byte_size // max(metadata.num_rows, 1)
    at_once = max(1, min(_ROWS_AT_ONCE, _BATCH_BYTES // max(row_bytes, 1)))
    for batch in file.iter_batches(at_once, row_groups=[group], columns=columns):
        try:
            yield from batch.to_pylist()
        except UnicodeDecodeError:
            for row in range(batch.num_rows):
                try:
                    yield from batch.slice(row, 1).to_pylist()
                except UnicodeDecodeError as error:
                    yield error


def _make_record(row: int, content: Any, name: str, reader: ReaderConfig) -> RawResult:
    if not isinstance(content, dict):
        return DamagedRecord(row, "not an object")
    url = find_value(content, reader.url_column)
    if not url:
        key = find_value(content, reader.id_column)
        url = file_url(name, row if key is None else key)
    text = find_value(content, reader.text_column)
    if not isinstance(text, str):
        return DamagedRecord(row, f"no text in field {reader.text_column!r}", str(url))
    if len(text.encode("utf-8", "replace")) > reader.max_page_bytes:
        return DamagedRecord(row, f"text larger than {reader.max_page_bytes} bytes", str(url))
    return RawRecord(str(url), row, text=text)


def file_url(name: str, key: object = None) -> str:
    """``file:<name>#<key>``, percent-encoded: the URL of a record that has none of its own."""
    fragment = "" if key is None else f"#{quote(str(key), safe='', errors='replace')}"
    return f"file:{quote(name)}{fragment}"


def find_value(content: Mapping[str, Any], column: str | None) -> Any:
    """The value of a column; ``meta.url`` is ``url`` of ``meta`` where no column has that name."""
    if column is None:
        return None
    if column in content:
        return content[column]
    value: Any = content
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


class _UnpackedFile(io.RawIOBase):
    """A compressed stream as a file that Python can buffer and split into lines."""

    def __init__(self, stream: CompressedStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read_some(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read_lines(path: Path, max_bytes: int) -> Iterator[tuple[int, bytes | str]]:
    """Number and bytes of each line; instead of the bytes, why a line cannot be had."""
    with open_stream(path) as stream:
        handle = io.BufferedReader(_UnpackedFile(stream), _BUFFER_BYTES)
        row = 0
        try:
            while line := handle.readline(max_bytes + 1):
                if len(line) <= max_bytes or line.endswith(b"\n"):
                    yield row, line
                else:
                    while line and not line.endswith(b"\n"):
                        line = handle.readline(max_bytes)
                    yield row, f"line larger than {max_bytes} bytes"
                row += 1
        except StreamError as error:
            lost = stream.size - stream.consumed
            yield row, f"the file is damaged from here on, {lost} bytes are lost ({error})"


def _read_blocks(path: Path, reader: ReaderConfig) -> Iterator[tuple[int, bytes | str]]:
    """First line number and bytes of each document of a text file; or why it cannot be had."""
    limit = reader.max_page_bytes
    lines: list[bytes] = []
    first_row = size = 0
    for row, line in _read_lines(path, limit):
        is_end = reader.split != "document" and (isinstance(line, str) or not line.strip())
        if not size:
            first_row = row
        if isinstance(line, str):
            yield row, line
        elif not is_end:
            size += len(line)
            if size <= limit:  # what is too long is counted, not kept
                lines.append(line)
        if size and (is_end or reader.split == "line"):
            yield first_row, b"".join(lines) if size <= limit else _too_large(limit)
            lines, size = [], 0
    if size:
        yield first_row, b"".join(lines) if size <= limit else _too_large(limit)


def _too_large(max_bytes: int) -> str:
    return f"text larger than {max_bytes} bytes"


def _brief(error: Exception) -> str:
    return str(error)[:100]
