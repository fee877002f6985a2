"""What made a result besides its inputs: code, machine, cores."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


@cache
def machine_facts() -> dict[str, Any]:
    """Facts that are kept beside a result and are no part of its identity."""
    return {
        "commit": _code_commit(),
        "machine": platform.platform(),
        "cores": os.cpu_count() or 1,
    }


def _code_commit() -> str:
    """The commit of the code that runs, with ``+dirty`` when it was changed; or ``unknown``."""
    root = Path(__file__).resolve().parent.parent
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+dirty" if changes else commit
