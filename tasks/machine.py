"""What made a result besides its inputs: code, libraries, machine."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

LOCK = "requirements.lock"
_ROOT = Path(__file__).resolve().parent.parent


@cache
def machine_facts() -> dict[str, Any]:
    """Facts that are kept beside a result and are no part of its identity."""
    return {
        "commit": _code_commit(),
        "lock": library_lock(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


def library_lock(root: Path = _ROOT) -> str:
    """What the libraries are told by, and its SHA-256: the lock file, or all that is installed."""
    path = root / LOCK
    if path.is_file():
        return f"{LOCK} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    names = sorted({f"{d.metadata['Name'].lower()}=={d.version}" for d in distributions()})
    listing = "\n".join(names)
    return f"installed {hashlib.sha256(listing.encode()).hexdigest()}"


def _cpu_model() -> str:
    """The processor's name where Linux tells it, or its architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _code_commit() -> str:
    """The commit of the code that runs, with ``+dirty`` when it was changed; or ``unknown``."""
    git = ["git", "-C", str(_ROOT)]
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
