"""``headwater up`` and ``down`` for real: servers, worker, deployments, kills, and nothing left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from flows import supervisor
from flows.deployments import merge_schedules
from flows.home import Home
from flows.servers import SERVED_HOME, ServersError, check_ports, running, server_processes
from flows.supervisor import Binding, Supervisor
from tests.conftest import free_port

pytestmark = pytest.mark.xdist_group("servers")

ROOT = Path(__file__).resolve().parents[2]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
Json = dict[str, Any]


def headwater(home: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """The command, in a home of its own, called from a folder that is not the project's."""
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env={**environment, "HEADWATER_HOME": str(home), **options.pop("variables", {})},
        cwd=home.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def said(home: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    """What the command writes to its two outputs."""
    process = headwater(home, *arguments)
    out, err = process.communicate(timeout=280)
    assert process.returncode == status, out + err
    return out, err


def eventually(condition: Callable[[], Any], seconds: float = 150) -> Any:
    """What the condition gives, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def answers(url: str) -> bool:
    """Whether somebody does."""
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


class Up:
    """The servers of a home of the tests."""

    def __init__(self, home: Path) -> None:
        self.path = home
        self.home = Home(home)
        self.ports = ("--port", str(free_port()), "--mlflow-port", str(free_port()))
        self.facts: Json = json.loads(said(home, "up", "--detach", "--json", *self.ports)[0])

    def api(self, method: str, path: str, body: Any = None) -> Any:
        reply = httpx.request(method, f"{self.facts['prefect_api_url']}/{path}", json=body)
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    def deployment(self, name: str) -> Json:
        deployment: Json = self.api("GET", f"deployments/name/{name}/{name}")
        return deployment

    def processes(self, name: str) -> list[psutil.Process]:
        return [process for process, of in server_processes(self.home) if of == name]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("up") / "home"
    try:
        yield Up(home)
    finally:
        said(home, "down")


def test_both_pages_and_all_deployments_are_there(up: Up) -> None:
    for name, title in {"prefect_url": "Prefect", "mlflow_url": "MLflow"}.items():
        page = httpx.get(up.facts[name], headers={"accept": "text/html"}, follow_redirects=True)
        assert page.headers["content-type"].startswith("text/html")
        assert f"<title>{title}" in page.text
    settings = httpx.get(f"{up.facts['prefect_url']}/ui-settings").json()
    assert settings["default_ui"] == "v1"  # the other asks an analytics host
    there = {d["name"]: d for d in up.api("POST", "deployments/filter", {})}
    assert there.keys() == {entry["name"] for entry in FILE["deployments"]}
    assert {s["active"] for d in there.values() for s in d["schedules"]} == {False}


def test_others_on_this_home_find_the_server(up: Up) -> None:
    show = "import os; from flows.home import open_home; open_home(); print(os.environ['{}'])"

    def seen(name: str, **variables: str) -> str:
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))
        }
        environment |= {"HEADWATER_HOME": str(up.path), **variables}
        return subprocess.check_output(
            [sys.executable, "-c", show.format(name)], env=environment, text=True
        ).strip()

    assert seen("PREFECT_API_URL") == up.facts["prefect_api_url"]
    assert seen("PREFECT_API_URL", PREFECT_API_URL="http://else:1/api") == "http://else:1/api"
    assert seen("MLFLOW_TRACKING_URI") == f"sqlite:///{up.path}/mlflow.db"


def test_a_second_up_names_the_addresses(up: Up) -> None:
    _, err = said(up.path, "up", status=1)
    assert up.facts["prefect_url"] in err and up.facts["mlflow_url"] in err
    assert "headwater down" in err
    assert len(err.splitlines()) == 1
    out, _ = said(up.path, "up", "--detach", "--json")
    assert json.loads(out) == up.facts


@pytest.mark.long
def test_what_is_killed_comes_back_and_runs_what_the_form_starts(up: Up) -> None:
    killed = psutil.Process(up.facts["pid"]).children()
    assert len(killed) == 4
    for process in killed:
        process.kill()
    (worker,) = eventually(lambda: set(up.processes("worker")) - set(killed))
    assert worker.is_running()
    assert httpx.get(f"{up.facts['prefect_api_url']}/health").is_success
    path = f"deployments/{up.deployment('audit')['id']}/create_flow_run"
    order = {"parameters": {"models": ["nobody"]}, "state": {"type": "SCHEDULED"}}
    run = up.api("POST", path, order)

    def ended() -> Json | None:
        state: Json = up.api("GET", f"flow_runs/{run['id']}")["state"]
        return state if state["type"] in ("FAILED", "COMPLETED", "CRASHED") else None

    state = eventually(ended, 120)
    assert state["type"] == "FAILED"
    assert "nobody" in state["message"]
    eventually(lambda: answers(f"{up.facts['mlflow_url']}/health"))


@pytest.mark.long
def test_what_outlives_a_killed_up_is_ended_by_down(up: Up) -> None:
    """And what was changed in the UI is still so after the next start, which Ctrl-C ends."""
    nightly = up.deployment("corpus")
    schedule = nightly["schedules"][0]
    path = f"deployments/{nightly['id']}"
    up.api("PATCH", f"{path}/schedules/{schedule['id']}", {"active": True})
    mine = {"schedule": {"cron": "1 1 1 1 *", "timezone": "UTC"}, "active": False}
    up.api("POST", f"{path}/schedules", [mine])
    (trigger,) = up.api("POST", "automations/filter", {})
    up.api("PATCH", f"automations/{trigger['id']}", {"enabled": False})
    os.kill(up.facts["pid"], signal.SIGKILL)
    eventually(lambda: running(up.home) is None)
    assert up.processes("prefect")
    out, _ = said(up.path, "down", "--json")
    assert json.loads(out) == {"stopped": ["mlflow", "prefect", "sweeper", "worker"]}
    assert server_processes(up.home) == []
    assert said(up.path, "down")[0] == "nothing was up\n"

    (up.path / "deployments.json").unlink()  # so that the file is deployed anew
    process = headwater(up.path, "up", "--json", *up.ports)
    assert process.stdout
    assert json.loads(process.stdout.readline())["prefect_url"] == up.facts["prefect_url"]
    schedules = {s["schedule"]["cron"]: s["active"] for s in up.deployment("corpus")["schedules"]}
    triggers = [t["enabled"] for t in up.api("POST", "automations/filter", {})]
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert time.monotonic() - begin < 30
    assert server_processes(up.home) == []
    assert running(up.home) is None
    assert schedules == {schedule["schedule"]["cron"]: True, "1 1 1 1 *": False}
    assert triggers == [False]


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_a_taken_port_is_one_line_and_nothing_is_started(
    tmp_path: Path, host: str, warnings: int
) -> None:
    home = tmp_path / "home"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = ("--mlflow-port", port, "--port", str(free_port()))
        _, err = said(home, "up", "--host", host, *ports, status=1)
    *warned, line = err.splitlines()
    assert ["there is no login" in warning for warning in warned] == [True] * warnings
    assert f"port {port}" in line
    assert f"process {os.getpid()} " in line
    assert line.endswith("--mlflow-port")
    assert not (home / "mlflow.db").exists()
    assert server_processes(Home(home)) == []


def test_addresses_are_those_that_this_machine_can_reach() -> None:
    assert Binding("0.0.0.0", 1, 2).servers().prefect_api_url == "http://127.0.0.1:1/api"
    assert Binding("::1", 1, 2).servers().mlflow_url == "http://[::1]:2"
    assert Binding("here.example", 1, 2).servers().prefect_url == "http://here.example:1"


@pytest.mark.parametrize(
    ("ports", "reason"),
    [({"--port": 7, "--mlflow-port": 7}, "must differ"), ({"--port": 70_000}, "from 1 to 65535")],
)
def test_ports_that_cannot_be(ports: Mapping[str, int], reason: str) -> None:
    with pytest.raises(ServersError, match=reason):
        check_ports("127.0.0.1", dict(ports))


def test_servers_of_ones_own_are_respected(tmp_path: Path) -> None:
    process = headwater(tmp_path / "home", "up", variables={"PREFECT_API_URL": "http://else:1/api"})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "PREFECT_API_URL=http://else:1/api" in err


def test_what_dies_again_and_again_ends_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.01)
    told: list[str] = []
    servers = Supervisor(
        Home(tmp_path), Binding("127.0.0.1", free_port(), free_port()), told.append
    )
    servers.mlflow.command = ["http.server", "not a port"]
    servers.mlflow.start(servers.environment)
    with pytest.raises(
        ServersError, match=r"MLflow server has died 6 times.*invalid int value.*log: "
    ):
        servers.look_after()
    servers.stop()
    assert len(told) == 5


def test_schedules_of_the_file_meet_those_of_the_server() -> None:
    def of_file(slug: str, cron: str, active: bool = False) -> Json:
        return {"slug": slug, "cron": cron, "active": active}

    def of_server(slug: str | None, cron: str, active: bool) -> Json:
        return {"slug": slug, "schedule": {"cron": cron}, "active": active, "parameters": {}}

    entry = {"schedules": [of_file("a", "1 * * * *"), of_file("b", "2 * * * *", active=True)]}
    before = {
        "schedules": [of_file("a", "0 * * * *"), of_file("b", "2 * * * *"), of_file("c", "-")]
    }
    there = {
        "schedules": [
            of_server("a", "0 * * * *", active=True),
            of_server("b", "2 * * * *", active=False),
            of_server("c", "3 * * * *", active=True),
            of_server(None, "4 * * * *", active=True),
        ]
    }
    merged = {s["cron"]: s["active"] for s in merge_schedules(entry, before, there)}
    assert merged == {"1 * * * *": True, "2 * * * *": True, "4 * * * *": True}


def test_only_what_carries_the_mark_belongs_to_the_servers(tmp_path: Path) -> None:
    environment = {**os.environ, SERVED_HOME: str(tmp_path)}
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    other = subprocess.Popen(sleep)
    marked = subprocess.Popen(sleep, env=environment)
    try:
        eventually(lambda: [p.pid for p, _ in server_processes(Home(tmp_path))] == [marked.pid])
    finally:
        for process in (other, marked):
            process.kill()
            process.wait()
