"""How much a run of a stage may use, and whether it used more."""

import psutil
from pydantic import Field

from pipeline_data.settings import Settings

MEGABYTE = 1 << 20


class StageLimits(Settings):
    """What a run of a stage may use at most; placement, and no part of any key."""

    memory_mb: int | None = Field(None, ge=1)
    """Resident memory in MB of the process that runs it, with all it starts; none: no limit."""
    minutes: float | None = Field(None, gt=0)
    """How long it may take, waiting for its turn not counted; none: no limit."""


NO_LIMITS = StageLimits()


def find_excess(limits: StageLimits, pid: int, seconds: float) -> str | None:
    """What a process, running for ``seconds``, uses more of than it may; nothing if all is well."""
    if limits.minutes is not None and seconds > limits.minutes * 60:
        return f"{limits.minutes:g} minutes were not enough"
    if limits.memory_mb is not None:
        used = measure_memory(pid) / MEGABYTE
        if used > limits.memory_mb:
            return f"{used:,.0f} MB of memory in use, {limits.memory_mb:,} allowed"
    return None


def measure_memory(pid: int) -> int:
    """Resident bytes of a process and of all that it started; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_resident(member) for member in family)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # ended meanwhile
        return 0
