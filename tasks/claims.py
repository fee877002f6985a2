"""Lets one worker at a time make an artefact on this machine; others wait, then reuse it.

A claim is a lock of the operating system on a file, so a process that dies, by whatever signal,
gives its claims back. The file of a claim is removed while the lock is still held: whoever had
opened it before finds that it has no name any more and opens the next one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline_data.errors import StageError

POLL_SECONDS = 0.2


def _never() -> bool:
    return False


@contextmanager
def claim(folder: Path, key: str, abandoned: Callable[[], bool] = _never) -> Iterator[None]:
    """Hold ``key`` among all processes and threads that use ``folder``.

    A thread that claims a key within its own claim on it raises RuntimeError: it would wait for
    itself.

    Args:
        abandoned: asked a few times a second while waiting; true ends the wait.

    Raises:
        StageError: the wait was abandoned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.lock"
    lock = FileLock(path, poll_interval=POLL_SECONDS)
    try:
        lock.acquire(cancel_check=abandoned)
    except Timeout:
        raise StageError("stopped while another run was making the same artefact") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def clear_claims(folder: Path) -> None:
    """Remove the files of claims whose process was killed; they block nobody, but lie about."""
    for path in folder.glob("*.lock"):
        lock = FileLock(path)
        with suppress(Timeout), lock.acquire(blocking=False):
            path.unlink(missing_ok=True)
