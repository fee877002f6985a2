"""``headwater up`` and ``headwater down``: servers and worker started, shown and stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flows.deployments import PROJECT, read_file
from flows.home import Home
from flows.servers import (
    Servers,
    ServersError,
    already_up,
    check_ports,
    end_processes,
    running,
    server_logs,
    server_processes,
    stop_servers,
    supervised,
    supervision,
)
from flows.supervisor import LOOK_SECONDS, Binding, Supervisor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UP = (sys.executable, "-m", "flows.cli", "up")
ERROR = "headwater: "
PATHS = ("HEADWATER_STORE", "HEADWATER_DOWNLOADS")
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def up(home: Home, binding: Binding, *, detach: bool, as_json: bool) -> int:
    """Start the servers; returns when they have stopped or, detached, when they are up.

    Raises:
        ServersError: they cannot be started, or are up already (which is fine when detached).
    """
    there = supervised(home)
    if there and there.ready and detach:
        _show(home, there, as_json=as_json)
        return 0
    if there:
        raise ServersError(already_up(there))
    _check_environment(binding)
    if detach:
        with _spinner():
            servers = _start_detached(home, binding)
        _show(home, servers, as_json=as_json)
    else:
        _serve(home, binding, as_json=as_json)
    return 0


def down(home: Home, *, as_json: bool) -> int:
    """Stop the servers, and say what was stopped.

    Raises:
        ServersError: they belong to somebody else.
    """
    with _spinner("stopping"):
        stopped = stop_servers(home)
    if as_json:
        print(json.dumps({"stopped": stopped}))
    else:
        print(f"stopped {', '.join(stopped)}" if stopped else "nothing was up")
    return 0


def _serve(home: Home, binding: Binding, *, as_json: bool) -> None:
    """Be the supervisor until asked to stop."""
    if not binding.is_local:
        console.print(
            f"warning: {binding.host} can be reached from other machines, and there is no login: "
            "whoever reaches these ports can run and delete everything",
            style="bold yellow",
        )
    with supervision(home) as publish:
        left = server_processes(home)
        if left:
            end_processes([process for process, _ in left])
            console.print(f"ended {len(left)} processes that a killed 'headwater up' had left")
        ports = {"--port": binding.prefect_port, "--mlflow-port": binding.mlflow_port}
        check_ports(binding.host, ports)
        read_file()
        supervisor = Supervisor(home, binding, console.print)
        os.environ["PREFECT_API_URL"] = supervisor.servers.prefect_api_url  # for its sweep
        with _signals_to(supervisor):
            publish(supervisor.servers)
            try:
                with _spinner():
                    servers = supervisor.bring_up()
                publish(servers)
                _show(home, servers, as_json=as_json, foreground=True)
                supervisor.look_after()
            finally:
                with _spinner("stopping"):
                    supervisor.stop()
    console.print("stopped")


def _start_detached(home: Home, binding: Binding) -> Servers:
    """Start a supervisor in a session of its own, and wait until all is up."""
    log = server_logs(home) / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_UP, *binding.options()],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        with log.open(encoding="utf-8") as lines:
            while True:
                servers, status = running(home), process.poll()
                for line in lines:
                    if line.startswith(ERROR):
                        raise ServersError(line.removeprefix(ERROR).rstrip())
                    console.print(line.rstrip())
                if servers:
                    return servers
                if status is not None:
                    raise ServersError(f"exit status {status} (log: {log})")
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        stop_servers(home)
        raise


def _check_environment(binding: Binding) -> None:
    """Refuse what contradicts servers of this home, and make relative folders absolute.

    Raises:
        ServersError: the environment names servers of the user's own.
    """
    ours = {"PREFECT_API_URL": binding.servers().prefect_api_url, "MLFLOW_TRACKING_URI": ""}
    for name, url in ours.items():
        named = os.environ.get(name, "")
        if named.startswith("http") and named != url:
            raise ServersError(
                f"{name}={named} names a server of your own: unset it to have one started here"
            )
    for name in PATHS:
        path = os.environ.get(name)
        if path and "://" not in path:
            os.environ[name] = str(Path(path).resolve())


def _show(home: Home, servers: Servers, *, as_json: bool, foreground: bool = False) -> None:
    """Say where everything is."""
    logs = server_logs(home)
    if as_json:
        print(json.dumps({**servers.to_json(), "logs": str(logs)}), flush=True)
        return
    stop = "Ctrl-C stops them" if foreground else "'headwater down' stops them"
    print(f"Prefect  {servers.prefect_url}\nMLflow   {servers.mlflow_url}\nlogs     {logs}")
    print(f"servers and worker are up; {stop}", flush=True)


@contextmanager
def _signals_to(supervisor: Supervisor) -> Iterator[None]:
    """Have every signal that ends a program ask the supervisor to stop."""

    def ask(_signal: int, _frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _spinner(what: str = "starting Prefect, MLflow and a worker") -> Iterator[None]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        progress.add_task(what, total=None)
        yield
