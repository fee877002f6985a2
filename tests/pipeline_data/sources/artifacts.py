"""Artefacts of folders and packages that the tests of this folder make themselves."""

import gzip
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backports import zstd

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests


def skippable_frame(kind: int, content: bytes) -> bytes:
    """A frame of zstd that holds no compressed data (RFC 8878, 3.1.2)."""
    return bytes([kind, 0x2A, 0x4D, 0x18]) + len(content).to_bytes(4, "little") + content


PAGE = b"<html><body><p>A page.</p></body></html>"


def adopt(directory: Path, stage: str = "test") -> Artifact:
    """A folder as the artefact that a stage run would have left."""
    files = describe(directory)
    return Artifact(
        stage=stage,
        version=1,
        key="key",
        digest=content_digest(files),
        directory=directory,
        files=files,
        parts=part_digests(files),
    )


def package(directory: Path, members: Mapping[str, object]) -> Artifact:
    """A wheel-like archive; members that are not bytes are written as JSON."""
    directory.mkdir(parents=True)
    with zipfile.ZipFile(directory / "texts-1.0.whl", "w") as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            archive.writestr(name, data)
    return adopt(directory, "download")


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def http_block(
    body: bytes,
    headers: Sequence[tuple[str, str]] = (("Content-Type", "text/html"),),
    status: str = "200 OK",
) -> bytes:
    """An HTTP response."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body


def warc_record(
    block: bytes,
    record_type: str = "response",
    url: str = "http://a.example/0",
    content_type: str = "application/http; msgtype=response",
    fields: Sequence[str] = (),
) -> bytes:
    """One WARC record, with the line ends behind it."""
    lines = [
        "WARC/1.1",
        f"WARC-Type: {record_type}",
        f"WARC-Target-URI: {url}",
        "WARC-Date: 2026-01-02T03:04:05Z",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(block)}",
        *fields,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def arc_record(
    block: bytes, url: str = "http://a.example/0", media_type: str = "text/html"
) -> bytes:
    """One record of an ARC file, version 1."""
    return f"{url} 10.0.0.1 20260102030405 {media_type} {len(block)}\n".encode() + block + b"\n"


DICTIONARY = zstd.train_dict(
    [b"WARC/1.1\r\nWARC-Type: response %d" % number * (number % 9) for number in range(200)], 1024
)


def zstd_with_dictionary(record: bytes) -> bytes:
    """A frame that needs :data:`DICTIONARY`."""
    return zstd.compress(record, zstd_dict=DICTIONARY, options=CHECKED)


CHECKED = {int(zstd.CompressionParameter.checksum_flag): 1}
PACKERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "plain": (b"", bytes),
    "gzip": (b"", lambda record: gzip.compress(record, mtime=0)),
    "zstd": (b"", lambda record: zstd.compress(record, options=CHECKED)),
    "zstd, dictionary": (skippable_frame(0x5D, DICTIONARY.dict_content), zstd_with_dictionary),
    "zstd, compressed dictionary": (
        skippable_frame(0x5D, zstd.compress(DICTIONARY.dict_content)),
        zstd_with_dictionary,
    ),
}
"""What begins a file, and what becomes of each record, for every way to compress one."""


def pack(records: Sequence[bytes], packer: str) -> tuple[bytes, list[int]]:
    """A file of records, and the offset of each and of the end."""
    data, compress = PACKERS[packer]
    offsets = []
    for record in records:
        offsets.append(len(data))
        data += compress(record)
    return data, [*offsets, len(data)]


def gzipped(text: str) -> bytes:
    """Text as a gzip file with a fixed time."""
    return gzip.compress(text.encode(), mtime=0)
