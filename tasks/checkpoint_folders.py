"""Where stages keep checkpoints: a folder for each result asked for, gone once that is made."""

import shutil
import time
from pathlib import Path

from tasks.store import Request

MAX_AGE_DAYS = 30
"""How long the checkpoints of a result that nobody asks for any more are kept."""


def checkpoint_folder(home: Path, request: Request) -> Path:
    """The folder that every attempt at a result finds, and no attempt at another one."""
    return home / "checkpoints" / request.stage / request.key[:24]


def discard_old_checkpoints(home: Path) -> int:
    """Delete what was left of results that were never made; returns of how many."""
    oldest = time.time() - MAX_AGE_DAYS * 24 * 3600
    old = [
        folder
        for folder in (home / "checkpoints").glob("*/*")
        if max(p.stat().st_mtime for p in (folder, *folder.iterdir())) < oldest
    ]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)
