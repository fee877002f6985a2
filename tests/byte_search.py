"""Looks for a text in every byte below a folder, unpacking what is packed."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq


def find_bytes(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text, as it is, in JSON, or packed."""
    forms = {text.encode(), json.dumps(text)[1:-1].encode()}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(form in data for data in _unpack(path) for form in forms)
    ]


def _unpack(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if data.startswith(b"PAR1"):
        for column in pq.read_table(path).itercolumns():
            yield repr(column.to_pylist()).encode()
    elif data.startswith(b"\x1f\x8b"):
        body = gzip.decompress(data)
        yield body
        yield from _inflate(body)


def _inflate(body: bytes) -> Iterator[bytes]:
    """What lies in a body that a server had compressed, in a WARC."""
    place = body.find(b"\x1f\x8b\x08")
    while place >= 0:
        with suppress(zlib.error):
            yield zlib.decompressobj(wbits=31).decompress(body[place:])
        place = body.find(b"\x1f\x8b\x08", place + 1)
