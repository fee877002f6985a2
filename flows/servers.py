"""The servers of a home: where they are, whether they are up, and how what is left of them ends.

One process, the supervisor, keeps a lock on ``<home>/servers.lock`` for as long as it lives:
whatever ends it, the system gives the lock back, so a recycled process id can never pass for it.
Every process that it starts, and all that those start, carry the home's path in their environment.
By that they are known when the supervisor was killed, and nothing else is taken for one of them.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_data.errors import HeadwaterError

if TYPE_CHECKING:
    import psutil

    from flows.home import Home

SERVED_HOME = "HEADWATER_SERVED_HOME"
"""Environment variable by which a process is known as one of a home's servers, or their child."""
SERVER_NAME = "HEADWATER_SERVER"
"""Environment variable that says which of the servers it belongs to."""
STOP_SECONDS = 60.0
LOCK_SECONDS = 2.0


class ServersError(HeadwaterError):
    """The servers cannot be started or stopped; the text says which, and what to do."""


@dataclass(frozen=True)
class Servers:
    """The servers of a home, as its supervisor describes them."""

    pid: int
    """The supervisor's."""
    prefect_url: str
    prefect_api_url: str
    mlflow_url: str
    ready: bool = False
    """Whether all of them are healthy."""

    def to_json(self) -> dict[str, Any]:
        """The addresses, for people and programs."""
        return {name: value for name, value in asdict(self).items() if name != "ready"}


def server_logs(home: "Home") -> Path:
    """The folder of the servers' logs."""
    return home.path / "logs" / "servers"


def running(home: "Home") -> Servers | None:
    """The servers of this home if they are up, else None."""
    servers = supervised(home)
    return servers if servers and servers.ready else None


def supervised(home: "Home") -> Servers | None:
    """The servers of this home if their supervisor is alive; perhaps they are still starting."""
    record = _record(home)
    if not record.is_file():
        return None
    from filelock import FileLock, Timeout

    try:
        with FileLock(_lock(home), blocking=False):
            return None
    except Timeout:
        pass
    except OSError:  # another user's home
        return None
    try:
        return Servers(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # gone meanwhile, or of another version
        return None


@contextmanager
def supervision(home: "Home") -> Iterator[Callable[[Servers], None]]:
    """Be the one supervisor of this home; gives the function that tells others of its servers.

    Raises:
        ServersError: there is one already.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(_lock(home))
    try:
        lock.acquire(timeout=LOCK_SECONDS)  # someone who only looks has it for a moment
    except Timeout:
        raise ServersError(already_up(supervised(home))) from None
    try:
        yield lambda servers: _publish(home, servers)
    finally:
        _record(home).unlink(missing_ok=True)
        lock.release()


def _record(home: "Home") -> Path:
    return home.path / "servers.json"


def _lock(home: "Home") -> Path:
    return home.path / "servers.lock"


def _publish(home: "Home", servers: Servers) -> None:
    temporary = _record(home).with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(servers), indent=1), encoding="utf-8")
    temporary.replace(_record(home))


def already_up(servers: Servers | None) -> str:
    """What to tell whoever wants to start them once more."""
    if servers is None:
        return "servers of this home are starting or stopping: try again in a moment"
    state = "up" if servers.ready else "starting"
    return (
        f"the servers of this home are {state}: Prefect {servers.prefect_url}, MLflow "
        f"{servers.mlflow_url}; 'headwater down' stops them"
    )


def stop_servers(home: "Home") -> list[str]:
    """Stop the servers of this home, also what a killed supervisor left; says what there was.

    Raises:
        ServersError: the supervisor cannot be told to stop.
    """
    names = sorted({name for _, name in server_processes(home) if name})
    servers = supervised(home)
    if servers:
        try:
            os.kill(servers.pid, 15)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise ServersError(f"process {servers.pid} belongs to another user") from None
        deadline = time.monotonic() + STOP_SECONDS
        while supervised(home) and time.monotonic() < deadline:
            time.sleep(0.1)
        if supervised(home):
            os.kill(servers.pid, 9)
    end_processes([process for process, _ in server_processes(home)])
    return names


def server_processes(home: "Home") -> list[tuple["psutil.Process", str]]:
    """Every process that serves this home, with the name of the server it belongs to."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
        if environment.get(SERVED_HOME) == str(home.path):
            found.append((process, environment.get(SERVER_NAME, "")))
    return found


def end_processes(processes: Sequence["psutil.Process"], grace: float = 5.0) -> None:
    """End processes: asked to first, killed when they have not ended after some seconds."""
    import psutil

    for act in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                act(process)
            except psutil.Error:  # ended meanwhile
                continue
        _, processes = psutil.wait_procs(processes, timeout=grace)


def check_ports(host: str, ports: dict[str, int]) -> None:
    """Make sure that every port (by its option's name) can be had.

    Raises:
        ServersError: one is taken, or not allowed; says by whom, and what to do.
    """
    if len(set(ports.values())) < len(ports):
        raise ServersError(f"{' and '.join(ports)} must differ")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for option, port in ports.items():
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                raise ServersError(
                    f"cannot listen on {host}, port {port} ({error.strerror or error})"
                    f"{_holder(port)}: choose another with {option}"
                ) from None
            except OverflowError:
                raise ServersError(f"{option} {port}: ports go from 1 to 65535") from None


def _holder(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                process = psutil.Process(connection.pid)
                return f", held by process {process.pid} ({' '.join(process.cmdline())[:80]})"
    except (psutil.Error, OSError):  # not allowed to look
        pass
    return ""
