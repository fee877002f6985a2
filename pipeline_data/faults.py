"""Faults of the machine rather than of the work: a full disk, storage or a network that is away.

What is raised for them differs from library to library, so the whole chain of causes is looked
at: Python's own errors by number and kind, those of extensions by what the system's text says.
"""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from pipeline_data.errors import TransientError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_BUSY = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.ENOLCK}
_AWAY = {
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENETRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENOTCONN,
}
_AWAY_TYPES = (ConnectionError, TimeoutError, socket.gaierror)
_AWAY_CLIENTS = {"aiohttp.ClientConnectionError", "aiohttp.ClientPayloadError"}
"""Errors of the HTTP client under most remote file systems that may have no cause of their own."""
_FULL_TEXTS = tuple(os.strerror(number) for number in _FULL)
_FULL_BYTES = 1 << 20
"""With less left a disk is full: libraries that drop the error's number leave a partial file."""


def explain_fault(error: BaseException, *folders: Path) -> TransientError | None:
    """The error for people if a fault of disk, storage or network is behind ``error``.

    Args:
        folders: where was written; the first is named when nothing else is known.
    """
    full = full_disk(error, *folders)
    if full:
        return full
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _BUSY:
            place = _place(cause, *folders)
            return TransientError(
                f"the storage{place} does not answer as it should ({_one_line(cause)}): "
                "see that it is well, then run again"
            )
        if number in _AWAY or _is_away(cause):
            return TransientError(
                f"the network or a server is away ({_one_line(cause)}): "
                "see that it can be reached, then run again"
            )
    return None


def full_disk(error: BaseException, *folders: Path) -> TransientError | None:
    """The error for people if a full disk, or a used up quota, is behind ``error``."""
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _FULL or any(text in str(cause) for text in _FULL_TEXTS):
            return _no_space(_place(cause, *folders))
    for folder in folders:
        if folder.is_dir() and shutil.disk_usage(folder).free < _FULL_BYTES:
            return _no_space(f" of {folder}")
    return None


def is_transient(error: BaseException | None) -> bool:
    """Whether trying again may help."""
    if error is None:
        return False
    return isinstance(error, TransientError) or explain_fault(error) is not None


def _no_space(place: str) -> TransientError:
    return TransientError(f"the disk{place} is full: free some space, then run again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, nearest first."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:  # an error may be its own cause
        seen.add(id(current))
        yield current
        context = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or context


def _is_away(error: BaseException) -> bool:
    if isinstance(error, BrokenPipeError):
        return False  # a process on this machine ended
    names = {f"{c.__module__.partition('.')[0]}.{c.__name__}" for c in type(error).__mro__}
    return isinstance(error, _AWAY_TYPES) or not names.isdisjoint(_AWAY_CLIENTS)


def _place(error: BaseException, *folders: Path) -> str:
    name = getattr(error, "filename", None)
    if isinstance(name, str) and Path(name).is_absolute():
        return f" of {Path(name).parent}"
    return f" of {folders[0]}" if folders else ""


def _one_line(error: BaseException) -> str:
    text = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {text}"[:200]
