"""Hashes of large files that others own, remembered as long as the files stay as they are."""

import json
import uuid
from pathlib import Path

from pipeline_data.artifact import hash_file
from pipeline_data.settings import fingerprint


def remembered_hash(path: Path, memory: Path) -> str:
    """The SHA-256 of a file, read again only when its size, time or place on disk has changed.

    Args:
        memory: folder with a small file for each that was hashed.
    """
    stat = path.stat()
    known_path = memory / f"{fingerprint(str(path.resolve()))[:24]}.json"
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    if known_path.is_file():
        known = json.loads(known_path.read_bytes())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    sha256 = hash_file(path)
    memory.mkdir(parents=True, exist_ok=True)
    temporary = known_path.with_name(f".{known_path.name}.{uuid.uuid4().hex[:8]}")
    temporary.write_text(json.dumps({"stamp": stamp, "sha256": sha256}))
    temporary.replace(known_path)
    return sha256
