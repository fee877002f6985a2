"""The libraries that a model was made with, as far as its record leads to them."""

from importlib.metadata import distributions
from pathlib import Path

import tasks.machine
from pipeline_data.artifact import Artifact
from tasks.machine import LOCK, library_lock

Library = tuple[str, str]
"""Name and version."""


def read_libraries(artifact: Artifact) -> list[Library] | None:
    """The libraries of the environment that a result was made in.

    A record holds the digest of the lock file, or of all that was installed. Where the same is
    here, it says which libraries these were; elsewhere they are not known: nothing is returned.
    """
    if artifact.facts.get("lock") != library_lock():
        return None
    path = Path(tasks.machine.__file__).resolve().parent.parent / LOCK
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
    else:
        lines = [f"{d.metadata['Name'].lower()}=={d.version}" for d in distributions()]
    pinned = (line.partition("#")[0].strip().partition("==") for line in lines)
    return sorted({(name, version) for name, _, version in pinned if name and version})
