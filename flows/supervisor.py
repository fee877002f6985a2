"""Starts the servers of a home and a worker, looks after them, and ends them all.

Prefect and MLflow start side by side; as soon as Prefect answers, so do the worker and the
deploying. What dies is started again, up to a limit.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from flows.deployments import PROJECT, Deploying, start_deploying
from flows.home import Home
from flows.servers import (
    SERVED_HOME,
    SERVER_NAME,
    Servers,
    ServersError,
    end_processes,
    server_logs,
    server_processes,
)

POOL = "headwater"
START_SECONDS = 300.0
LOOK_SECONDS = 0.25
MAX_DEATHS = 5
DEATH_SECONDS = 300.0
RESTART_SECONDS = 0.5
"""Before the first restart; each further one waits twice as long."""
GRACE_SECONDS = 10.0
"""How long flow runs have to end when everything stops."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Binding:
    """Where the servers are to listen."""

    host: str
    prefect_port: int
    mlflow_port: int

    @property
    def is_local(self) -> bool:
        """Whether nobody can reach them from other machines."""
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"

    def options(self) -> tuple[str, ...]:
        """As ``headwater up`` takes it."""
        ports = ("--port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port))
        return ("--host", self.host, *ports)

    def servers(self) -> Servers:
        """Their addresses as this machine reaches them."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        prefect = f"http://{host}:{self.prefect_port}"
        return Servers(os.getpid(), prefect, f"{prefect}/api", f"http://{host}:{self.mlflow_port}")


@dataclass
class Server:
    """A process to keep alive."""

    name: str
    title: str
    command: Sequence[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    due: float = 0.0
    """When to start it again, once it has died."""
    deaths: list[float] = field(default_factory=list)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it, in a session of its own, so that a terminal's signals do not reach it."""
        self.started = time.time()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=PROJECT,
                env={**environment, SERVER_NAME: self.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Whether its process is gone."""
        return self.process is not None and self.process.poll() is not None

    def last_words(self) -> str:
        """The last line of its log, and where the rest is."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{last[:200]} (log: {self.log})"


class Supervisor:
    """The servers of one home.

    Args:
        tell: takes the lines for whoever watches.
    """

    def __init__(self, home: Home, binding: Binding, tell: Tell) -> None:
        self.home = home
        self.tell = tell
        self.servers = binding.servers()
        self.environment = _environment(home, binding)
        logs = server_logs(home)
        logs.mkdir(parents=True, exist_ok=True)
        self.prefect = Server("prefect", "Prefect server", _prefect(binding), logs / "prefect.log")
        self.mlflow = Server("mlflow", "MLflow server", _mlflow(home, binding), logs / "mlflow.log")
        self.worker = Server("worker", "worker", _WORKER, logs / "worker.log")
        self.sweeper = Server("sweeper", "sweeper", ("flows.sweeper",), logs / "sweeper.log")
        self.all = (self.prefect, self.mlflow, self.worker, self.sweeper)
        self.client = httpx.Client(
            base_url=self.servers.prefect_api_url, trust_env=False, timeout=10.0
        )
        self._deploying: Deploying | None = None
        self._num_requests = 0

    def ask_to_stop(self) -> None:
        """Let it end what it does and stop; asked twice, it kills what does not end at once."""
        self._num_requests += 1  # an event's lock could be held by what a signal interrupts

    def bring_up(self) -> Servers:
        """Start everything and wait until it is healthy.

        Raises:
            ServersError: something does not come up.
            KeyboardInterrupt: asked to stop meanwhile.
        """
        begin = time.monotonic()
        for server in self.all:
            if server.log.exists():
                server.log.replace(server.log.with_suffix(".previous.log"))
        self.prefect.start(self.environment)
        self.mlflow.start(self.environment)
        waiting: dict[str, Callable[[], bool]] = {
            self.prefect.title: self._prefect_answers,
            self.mlflow.title: self._mlflow_answers,
            self.worker.title: self._worker_polls,
            "deployments": self._are_deployed,
        }
        while waiting:
            for title, is_up in list(waiting.items()):
                with suppress(httpx.HTTPError):  # not yet
                    if is_up():
                        del waiting[title]
                        self.tell(f"{title} up after {time.monotonic() - begin:.0f} s")
            for server in self.all:
                if server.ended():
                    raise ServersError(f"the {server.title} does not start: {server.last_words()}")
            if time.monotonic() - begin > START_SECONDS:
                logs = server_logs(self.home)
                raise ServersError(f"{', '.join(waiting)}: not up in time (logs: {logs})")
            if self._num_requests:
                raise KeyboardInterrupt
            time.sleep(LOOK_SECONDS)
        return replace(self.servers, ready=True)

    def look_after(self) -> None:
        """Start again what dies, until asked to stop.

        Raises:
            ServersError: something dies over and over.
        """
        while not self._num_requests:
            time.sleep(LOOK_SECONDS)
            for server in self.all:
                if server.due and time.monotonic() >= server.due:
                    if server is not self.worker or self._is_healthy():
                        server.due = 0.0
                        server.start(self.environment)
                elif not server.due and server.ended():
                    self._plan_restart(server)

    def stop(self) -> None:
        """End everything, flow runs first: a worker that ends kills them, and they tell Prefect."""
        if self.mlflow.process:
            self.mlflow.process.terminate()
        runs = self._flow_runs()
        for run in runs:
            with suppress(psutil.NoSuchProcess):
                run.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while runs and time.monotonic() < deadline and self._num_requests < 2:
            _, runs = psutil.wait_procs(runs, timeout=LOOK_SECONDS)
        end_processes([p for p, name in self._processes() if name == self.worker.name])
        if runs:
            self._sweep()
        end_processes([process for process, _ in self._processes()])
        for server in self.all:
            if server.process:
                server.process.wait()
        self.client.close()

    def _plan_restart(self, server: Server) -> None:
        assert server.process
        now = time.monotonic()
        server.deaths = [at for at in server.deaths if now - at < DEATH_SECONDS] + [now]
        if len(server.deaths) > MAX_DEATHS:
            raise ServersError(
                f"the {server.title} has died {len(server.deaths)} times in "
                f"{DEATH_SECONDS / 60:.0f} minutes: {server.last_words()}"
            )
        pause = RESTART_SECONDS * 2 ** (len(server.deaths) - 1)
        status = server.process.returncode
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        self.tell(f"the {server.title} died ({reason}); starting it again in {pause:g} s")
        end_processes(
            [
                process
                for process, name in self._processes()
                if name == server.name and _group(process) == server.process.pid
            ]
        )  # which may hold its port; flow runs have groups of their own
        server.due = now + pause

    def _prefect_answers(self) -> bool:
        """Whether it does; the first time, what needs it is started."""
        self.client.get("health").raise_for_status()
        self.client.post("work_pools/", json={"name": POOL, "type": "process"})  # may be there
        self._deploying = start_deploying(self.home, self.client, self.environment)
        self.worker.start(self.environment)
        self.sweeper.start(self.environment)
        return True

    def _is_healthy(self) -> bool:
        """Whether the Prefect server answers, without which a worker ends at once."""
        with suppress(httpx.HTTPError):
            return self.client.get("health").is_success
        return False

    def _mlflow_answers(self) -> bool:
        return self.client.get(f"{self.servers.mlflow_url}/health").is_success

    def _worker_polls(self) -> bool:
        if not self.worker.process:
            return False
        found = self.client.post(f"work_pools/{POOL}/workers/filter", json={}).raise_for_status()
        beats = [datetime.fromisoformat(worker["last_heartbeat_time"]) for worker in found.json()]
        return any(beat.timestamp() > self.worker.started for beat in beats)

    def _are_deployed(self) -> bool:
        if not self.worker.process:
            return False
        return self._deploying is None or self._deploying.has_ended()

    def _processes(self) -> list[tuple[psutil.Process, str]]:
        return server_processes(self.home)

    def _flow_runs(self) -> list[psutil.Process]:
        """Each leads a group, as the worker starts it."""
        return [
            process
            for process, name in self._processes()
            if name == self.worker.name
            and _group(process) == process.pid
            and not (self.worker.process and process.pid == self.worker.process.pid)
        ]

    def _sweep(self) -> None:
        """Mark the runs that were killed, while Prefect is there to note it."""
        from flows.leases import sweep

        try:
            sweep(self.home.path)
        except Exception as error:  # the next start makes up for it
            self.tell(f"killed flow runs are not marked: {type(error).__name__}: {error}")


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _environment(home: Home, binding: Binding) -> dict[str, str]:
    defaults = {
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # a run from the UI starts at once
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # that one asks an analytics host on every page
    }
    addresses = {} if binding.is_local else {"PREFECT_SERVER_UI_API_URL": "/api"}
    return {
        **defaults,
        **os.environ,
        **addresses,
        "PREFECT_API_URL": binding.servers().prefect_api_url,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        SERVED_HOME: str(home.path),
    }


_WORKER = (
    "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", POOL,
    "--install-policy", "never",
)  # fmt: skip


def _prefect(binding: Binding) -> list[str]:
    return [
        "prefect", "--no-prompt", "server", "start", "--host", binding.host,
        "--port", str(binding.prefect_port),
    ]  # fmt: skip


def _mlflow(home: Home, binding: Binding) -> list[str]:
    command = [
        "mlflow", "server", "--workers", "1", "--host", binding.host,
        "--port", str(binding.mlflow_port), "--backend-store-uri", home.tracking_uri,
        "--default-artifact-root", home.mlflow_artifacts.as_uri(),
    ]  # fmt: skip
    if binding.is_local:
        return command
    hosts = [f"{name}:{binding.mlflow_port}" for name in _names_of_this_machine()]
    origins = [f"http://{host}" for host in hosts]
    return [
        *command,
        "--allowed-hosts",
        ",".join(hosts),
        "--cors-allowed-origins",
        ",".join(origins),
    ]


def _names_of_this_machine() -> list[str]:
    """What a browser may call it; MLflow refuses other names, against DNS rebinding."""
    names = {"localhost", socket.gethostname(), socket.getfqdn()}
    for found in psutil.net_if_addrs().values():
        names |= {a.address for a in found if a.family == socket.AF_INET}
        names |= {f"[{a.address.partition('%')[0]}]" for a in found if a.family == socket.AF_INET6}
    return sorted(names)
