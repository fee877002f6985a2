"""Artefacts of folders and packages that the tests of this folder make themselves."""

import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests

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


def warc_bytes(
    bodies: Sequence[bytes],
    compress: bool = True,
    headers: Sequence[tuple[str, str]] = (("Content-Type", "text/html"),),
    status: str = "200 OK",
) -> tuple[bytes, list[int]]:
    """A WARC of one response per body, with URLs http://a.example/<number>, and the offsets."""
    data = b""
    offsets = []
    for number, body in enumerate(bodies):
        offsets.append(len(data))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
        block = f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body
        record = (
            "WARC/1.0\r\nWARC-Type: response\r\n"
            f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\n"
            f"WARC-Target-URI: http://a.example/{number}\r\n"
            "WARC-Date: 2026-01-02T03:04:05Z\r\n"
            "Content-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(block)}\r\n\r\n"
        ).encode() + block
        record += b"\r\n\r\n"
        data += gzip.compress(record, mtime=0) if compress else record
    return data, offsets


def gzipped(text: str) -> bytes:
    """Text as a gzip file with a fixed time."""
    return gzip.compress(text.encode(), mtime=0)
