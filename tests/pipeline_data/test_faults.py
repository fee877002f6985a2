"""Which errors a retry may help with, and what people are told of them."""

import errno
import os
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
import requests

from pipeline_data.errors import ArtifactError, SourceError, TransientError, UnreachableError
from pipeline_data.faults import explain_fault, full_disk, is_transient

OUT = Path("/data/out")


def caught(call: Callable[[], object]) -> BaseException:
    """What a call raises."""
    with pytest.raises(Exception) as info:
        call()
    return info.value


def explained(error: BaseException, *folders: Path) -> str:
    """What people are told."""
    fault = explain_fault(error, *folders)
    assert fault is not None
    assert is_transient(fault)
    assert "\n" not in str(fault)
    return str(fault)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert explained(error, OUT) == (
        "the disk of /data/out is full: free some space, then run again"
    )
    error = OSError(number, os.strerror(number), "/scratch/part/x.bin")
    assert explained(error, OUT).startswith("the disk of /scratch/part is full")


def test_a_write_that_finds_no_room_is_a_full_disk() -> None:
    error = caught(lambda: Path("/dev/full").write_text("x"))
    assert "is full" in explained(error, OUT)


def test_a_full_disk_is_known_by_its_text_where_the_number_is_lost() -> None:
    error = RuntimeError("I/O error: No space left on device (os error 28)")
    assert "is full" in explained(error, OUT)


def test_a_full_disk_is_found_where_the_error_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError("100000 requested and 8192 written")  # numpy's
    assert explain_fault(error, tmp_path) is None
    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert explained(error, tmp_path / "absent", tmp_path).startswith(f"the disk of {tmp_path} is")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EAGAIN])
def test_storage_that_fails_now_may_pass(number: int) -> None:
    assert "the storage of /data/out" in explained(OSError(number, os.strerror(number)), OUT)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EHOSTUNREACH, "No route to host"),
        ConnectionResetError("peer"),
        TimeoutError("timed out"),
    ],
)
def test_a_network_that_is_away_may_pass(error: OSError) -> None:
    assert "the network or a server is away" in explained(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("steps must be positive"),
        FileNotFoundError(errno.ENOENT, "No such file", "/data/a"),
        PermissionError(errno.EACCES, "Permission denied", "/data/a"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        MemoryError(),
        ArtifactError("the record is gone"),
        SourceError("no such package"),
    ],
)
def test_what_is_wrong_with_the_work_does_not_pass(error: Exception) -> None:
    assert explain_fault(error, OUT) is None
    assert not is_transient(error)


def test_causes_count_and_contexts_too_unless_they_are_set_aside() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wrapped, hidden = RuntimeError("cannot save"), RuntimeError("another story")
    wrapped.__cause__ = RuntimeError("writer")
    wrapped.__cause__.__context__ = full
    hidden.__context__ = full
    hidden.__suppress_context__ = True
    circular = RuntimeError("round and round")
    circular.__cause__ = circular
    assert full_disk(wrapped, OUT)
    assert explain_fault(hidden, OUT) is None
    assert explain_fault(circular, OUT) is None


def test_a_source_out_of_reach_is_of_both_kinds() -> None:
    assert is_transient(UnreachableError("away"))
    assert issubclass(UnreachableError, SourceError)
    assert issubclass(UnreachableError, TransientError)
    assert not issubclass(TransientError, SourceError)
    assert not is_transient(None)


@contextmanager
def hanging_up() -> Iterator[str]:
    """The address of a server that closes every connection without an answer."""

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "read",
    [
        lambda address: fsspec.filesystem("http").cat_file(f"http://{address}/a"),
        lambda address: requests.get(f"http://{address}/a", timeout=5),
    ],
    ids=["http", "requests"],
)
def test_clients_of_a_server_that_is_away(read: Callable[[str], object]) -> None:
    with hanging_up() as address:
        error = caught(lambda: read(address))
    assert "is away" in explained(error)
    error = caught(lambda: read(address))
    assert "is away" in explained(error)
    assert is_transient(error)
