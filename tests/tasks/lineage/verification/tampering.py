"""Ways to change a file or a record that something must notice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.record_shape import FIELDS
from tasks.seal import SEAL, seal_of

Edit = Callable[[dict[str, Any]], None]


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def set_to(*path: str | int, value: Any) -> Edit:
    """An edit of one value of a record."""

    def edit(record: dict[str, Any]) -> None:
        inner: Any = record
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return edit


def sealed(edit: Edit) -> Edit:
    """An edit by someone who then seals the record anew."""

    def edit_and_seal(record: dict[str, Any]) -> None:
        edit(record)
        record[SEAL] = seal_of(record)

    return edit_and_seal


EDITS: dict[str, Edit] = {
    "stage": set_to("stage", value="filter"),
    "version": set_to("version", value=2),
    "key": set_to("key", value="0" * 64),
    "digest": set_to("digest", value="0" * 64),
    "shard": set_to("shard", value="web-009"),
    "config": set_to("config", "setting", value=2),
    "a parent's digest": set_to("parents", 0, "digest", value="0" * 64),
    "a parent's key": set_to("parents", 0, "key", value="0" * 64),
    "a parent's role": set_to("parents", 0, "role", value="other"),
    "no parents": set_to("parents", value=[]),
    "a file's hash": set_to("files", 0, "sha256", value="0" * 64),
    "a file's size": set_to("files", 0, "bytes", value=1),
    "a file's rows": set_to("files", 0, "rows", value=7),
    "no files": set_to("files", value=[]),
    "counts": set_to("counts", "num_files", value=2),
    "parts": set_to("parts", value={"web-000": "0" * 64}),
    "facts": set_to("facts", "commit", value="def"),
    "folder": set_to("folder", value="elsewhere"),
    "a folder above": set_to("folder", value="../elsewhere"),
    "a size in words": set_to("files", 0, "bytes", value="many"),
    "a file's path": set_to("files", 0, "path", value=7),
    "a parent without digest": lambda record: record["parents"][0].pop("digest"),
    "no digest of a part": set_to("parts", value={"web-000": None}),
    "another field": set_to("remark", value="all is well"),
    **{f"{name} removed": lambda record, name=name: record.pop(name) for name in FIELDS},
    **{f"{name} of another kind": set_to(name, value=1.5) for name in FIELDS},
}
