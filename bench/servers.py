"""Servers that a benchmark starts for itself: Prefect's, on SQLite or on PostgreSQL."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from pipeline_data.errors import HeadwaterError

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 180.0
STOP_SECONDS = 60.0
SETTLE_SECONDS = 120.0
IDLE_SHARE = 0.15
"""Of a core: what a server's own clockwork takes."""
ERRORS = {
    "database is locked": r"database is locked",
    "events dropped": r"queue is full, dropping message",
    "other errors": r"\| (?:ERROR|CRITICAL) +\|",
}
"""What is counted in a server's log, each line once: the first that fits."""
POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
"""Where Debian puts the programs of PostgreSQL, which are on nobody's path."""
BACKGROUND_USERS = ("postgres", "nobody")
"""Whom PostgreSQL may run as where root starts it, which it refuses to run as."""


@dataclass(frozen=True)
class Server:
    """A running Prefect server and, if it has one, its PostgreSQL."""

    url: str
    """Of its API."""
    process: "subprocess.Popen[bytes]"
    log: Path
    database: psutil.Process | None = None

    def cpu_seconds(self) -> float:
        """Processor time of the server so far, its database's included."""
        processes = [psutil.Process(self.process.pid), *([self.database] if self.database else [])]
        return sum(map(tree_cpu_seconds, processes))

    def settle(self) -> float:
        """Wait until it has nothing left to do; its processor time by then."""
        deadline = time.monotonic() + SETTLE_SECONDS
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(1.0)
            now = self.cpu_seconds()
            if now - before < IDLE_SHARE:
                return now
            before = now
        return before

    def post(self, path: str, query: Mapping[str, Any]) -> Any:
        """The answer of its API."""
        answer = httpx.post(f"{self.url}/{path}", json=query, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def num_task_runs(self) -> int:
        """Task runs that it has on record as completed."""
        completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
        return int(self.post("task_runs/count", {"task_runs": completed}))

    def errors(self) -> Counter[str]:
        """Errors in its log, by kind."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = (next((k for k, p in ERRORS.items() if re.search(p, line)), None) for line in lines)
        return Counter(kind for kind in kinds if kind)


def tree_cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process and of all that it has started, ended ones included."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:  # its time is among its parent's children's by now
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def clean_environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a process that works in ``home``, with nothing of this one's settings."""
    mine = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return {**kept, "HEADWATER_HOME": str(home), "PYTHONPATH": str(ROOT), **settings}


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def open_server(
    folder: Path, database_url: str | None = None, database: psutil.Process | None = None
) -> Iterator[Server]:
    """A Prefect server of its own, on SQLite unless a database is named.

    Raises:
        HeadwaterError: it does not become healthy.
    """
    folder.mkdir(parents=True)
    port = free_port()
    environment = clean_environment(
        folder / "home",
        PREFECT_HOME=str(folder),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_API_LOG_RETRYABLE_ERRORS="true",
        DO_NOT_TRACK="1",
        **({"PREFECT_API_DATABASE_CONNECTION_URL": database_url} if database_url else {}),
    )
    path = folder / "server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
             "--port", str(port)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}/api", process, path, database)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise HeadwaterError(f"Prefect's server did not start: see {server.log}")


@contextmanager
def open_postgres() -> Iterator[tuple[str, psutil.Process]]:
    """A PostgreSQL cluster of its own; yields SQLAlchemy's URL and the server's process.

    Raises:
        HeadwaterError: there is no PostgreSQL here, or it does not start.
    """
    user = _background_user()
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-pg-"))
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    try:
        _run_as(user, folder, "initdb", "-D", data, "-U", "headwater", "-A", "trust", "-E", "UTF8")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        log = folder / "log"
        _run_as(user, folder, "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            pid = int((data / "postmaster.pid").read_text().split()[0])
            url = f"postgresql+asyncpg://headwater@127.0.0.1:{port}/postgres"
            yield url, psutil.Process(pid)
        finally:
            _run_as(user, folder, "pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _background_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in BACKGROUND_USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise HeadwaterError("PostgreSQL does not run as root, and there is no user 'postgres'")


def _run_as(user: str | None, folder: Path, name: str, *arguments: object) -> None:
    """Run one of PostgreSQL's programs to its end."""
    done = subprocess.run(
        [find_program(name), *map(str, arguments)],
        user=user, group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None, cwd=folder, env={"PATH": os.defpath, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        raise HeadwaterError(f"PostgreSQL's {name} failed: {done.stderr.strip()[-300:]}")


def find_program(name: str) -> str:
    """The path of one of PostgreSQL's programs.

    Raises:
        HeadwaterError: it is not installed.
    """
    places = [os.environ.get("PATH", os.defpath), *map(str, POSTGRES_FOLDERS)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise HeadwaterError(
            f"no PostgreSQL here ({name} is not found): apt-get install postgresql"
        )
    return found
