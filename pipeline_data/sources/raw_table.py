"""Reading files of texts: JSONL, Parquet and plain text."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw_record import DamagedRecord, RawRecord, RawResult
from pipeline_data.sources.settings import ReaderConfig

_ROWS_AT_ONCE = 1024


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
        SourceError: the file cannot be opened, or lacks a column the source names.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path.name} is no readable Parquet file; correct the paths") from error
    with file:
        wanted = [reader.text_column, reader.url_column, reader.id_column]
        columns = list(dict.fromkeys(c for c in wanted if c is not None))
        names = file.schema_arrow.names
        missing = [c for c in columns if c not in names]
        if missing:
            raise SourceError(
                f"{path.name} has no column {missing[0]!r} (it has {', '.join(names)}); "
                "correct the source's columns"
            )
        first_row = 0
        for group in range(file.num_row_groups):
            row = first_row
            try:
                batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns)
                for batch in batches:
                    for content in batch.to_pylist():
                        yield _make_record(row, content, name, reader)
                        row += 1
            except (OSError, pa.ArrowException) as error:
                yield DamagedRecord(row, f"damaged row group ({str(error)[:100]})")
            first_row += file.metadata.row_group(group).num_rows


def read_text_file(path: Path, name: str, reader: ReaderConfig) -> Iterator[RawResult]:
    """One record a file, paragraph or line; offsets are numbers of the first line, from 0.

    Raises:
        SourceError: the file cannot be opened.
    """
    for row, block in _read_blocks(path, reader):
        if isinstance(block, str):
            yield DamagedRecord(row, block)
            continue
        url = _file_url(name) if reader.split == "document" else _file_url(name, row)
        try:
            yield RawRecord(url, row, text=block.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield DamagedRecord(row, "not UTF-8", url)


def _make_record(row: int, content: Any, name: str, reader: ReaderConfig) -> RawResult:
    if not isinstance(content, dict):
        return DamagedRecord(row, "not an object")
    url = content.get(reader.url_column) if reader.url_column else None
    if not url:
        key = content.get(reader.id_column) if reader.id_column else None
        url = _file_url(name, row if key is None else key)
    text = content.get(reader.text_column)
    if not isinstance(text, str):
        return DamagedRecord(row, f"no text in field {reader.text_column!r}", str(url))
    if len(text.encode("utf-8", "replace")) > reader.max_page_bytes:
        return DamagedRecord(row, f"text larger than {reader.max_page_bytes} bytes", str(url))
    return RawRecord(str(url), row, text=text)


def _file_url(name: str, key: object = None) -> str:
    fragment = "" if key is None else f"#{quote(str(key), safe='', errors='replace')}"
    return f"file:{quote(name)}{fragment}"


def _open(path: Path) -> io.BufferedReader:
    try:
        return io.BufferedReader(pa.input_stream(str(path)))  # decompresses by suffix
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be opened; correct the source's paths") from error


def _read_lines(path: Path, max_bytes: int) -> Iterator[tuple[int, bytes | str]]:
    """Number and bytes of each line; instead of the bytes, why a line cannot be had."""
    with _open(path) as handle:
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
        except OSError as error:
            yield row, f"the file is damaged from here on ({str(error)[:100]})"


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
