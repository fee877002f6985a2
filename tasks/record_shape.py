"""What fields a record has; one without them, however it came about, is none."""

from collections.abc import Mapping
from typing import Any

Kind = type | tuple[type, ...]
TEXT_OR_NONE: Kind = (str, type(None))
FIELDS: Mapping[str, Kind] = {
    "stage": str,
    "version": int,
    "key": str,
    "digest": str,
    "shard": TEXT_OR_NONE,
    "config": dict,
    "parents": list,
    "files": list,
    "counts": dict,
    "parts": dict,
    "facts": dict,
    "folder": str,
}
PARENT: Mapping[str, Kind] = {
    "role": str,
    "stage": str,
    "key": str,
    "digest": str,
    "shard": TEXT_OR_NONE,
}
FILE: Mapping[str, Kind] = {
    "path": str,
    "sha256": str,
    "bytes": int,
    "rows": (int, type(None)),
}


def shape_flaws(record: Any) -> list[str]:
    """The fields that a record lacks or that are of another kind; empty for a record."""
    if not isinstance(record, Mapping):
        return ["is no JSON object"]
    flaws = [
        f"has no {name}" if name not in record else f"has a '{name}' of the wrong kind"
        for name, kind in FIELDS.items()
        if not isinstance(record.get(name, ...), kind)
    ]
    if flaws:
        return flaws
    inner = {
        "parents": all(fits(parent, PARENT) for parent in record["parents"]),
        "files": all(fits(file, FILE) for file in record["files"]),
        "parts": all(isinstance(digest, str) for digest in record["parts"].values()),
        "folder": record["folder"] not in ("", ".", ".."),
    }
    return [
        f"has '{name}' with something of the wrong kind" for name, ok in inner.items() if not ok
    ]


def fits(value: Any, fields: Mapping[str, Kind]) -> bool:
    """Whether a value is an object of just these fields."""
    return (
        isinstance(value, dict)
        and value.keys() == fields.keys()
        and all(isinstance(value[name], kind) for name, kind in fields.items())
    )
