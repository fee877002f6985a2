"""The files of a store below its root, which is a local folder or any fsspec URL."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from pipeline_data.artifact import MANIFEST

TOMBSTONE = "tombstone.json"
"""What is left of an artefact's record when its files were erased."""
OTHER_FOLDERS = ("references", "recipes", "signatures")
"""What lies beside the folders of stages."""


class StoreFiles:
    """Reads and writes by path below the root.

    Args:
        url: a folder or any fsspec URL (``memory://``, ``s3://bucket/prefix``).
    """

    def __init__(self, url: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.is_local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )

    def place(self, path: str) -> str:
        """Where the file system has a path below the root."""
        return f"{self.root}/{path}".rstrip("/")

    def read_json(self, path: str) -> dict[str, Any] | None:
        """A small file; nothing when there is none, or it is torn."""
        try:
            value: dict[str, Any] = json.loads(self.fs.cat_file(self.place(path)))
        except (FileNotFoundError, ValueError):
            return None
        return value

    def write_json(self, path: str, value: Mapping[str, Any]) -> None:
        """Put a small file in its place, at once or not at all."""
        data = json.dumps(value, indent=1, ensure_ascii=False, default=str).encode()
        if not self.is_local:
            self.fs.pipe_file(self.place(path), data)
            return
        target = Path(self.place(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        temporary.write_bytes(data)
        temporary.replace(target)

    def list_folder(self, path: str) -> list[str]:
        """The places of what lies in a folder, if there is one."""
        folder = self.place(path)
        return sorted(self.fs.ls(folder, detail=False)) if self.fs.isdir(folder) else []

    def records(self) -> Iterator[tuple[str, str, str]]:
        """All artefacts there are or were: stage, start of the key, and a stamp.

        The stamp of an artefact is another as soon as its record is another, or gone.
        """
        for stage in self.list_folder(""):
            name = PurePosixPath(stage).name
            if name.startswith(".") or name in OTHER_FOLDERS or not self.fs.isdir(stage):
                continue
            if self.is_local:
                with os.scandir(stage) as folders:
                    for folder in folders:
                        yield name, folder.name, str(folder.stat().st_mtime_ns)
            else:
                yield from self._remote_records(name)

    def _remote_records(self, stage: str) -> Iterator[tuple[str, str, str]]:
        for file in (MANIFEST, TOMBSTONE):
            found = self.fs.glob(self.place(f"{stage}/*/{file}"), detail=True)
            for path, info in found.items():
                stamp = [str(info.get(name)) for name in ("ETag", "etag", "mtime", "created")]
                yield stage, PurePosixPath(path).parent.name, f"{file} {info['size']} {stamp}"
