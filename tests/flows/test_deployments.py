"""prefect.yaml for real: deployed to a server, run by a worker, with an override and a force."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("prefect")
NAMES = ("pipeline", "corpus", "pretraining", "alignment")


def prefect(*arguments: str) -> None:
    """Run the prefect command in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def worker(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything deployed, and a worker that serves the pool."""
    prefect("work-pool", "create", "headwater", "--type", "process")
    prefect("deploy", "--all")
    own = ("HEADWATER_", "PREFECT_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {
        "HEADWATER_HOME": str(tmp_path_factory.mktemp("worker") / "home"),
        "PREFECT_API_URL": prefect_server,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "headwater"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # it waits for the process of a run that winds down
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_deployment(name: str, parameters: dict[str, object], seconds: float = 200) -> FlowRun:
    """Start a run from a deployment, as the form does, and wait for its end."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name)
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = client.read_flow_run(run.id)
            if run.state and run.state.is_final():
                return run
            time.sleep(0.5)
    raise TimeoutError(name)


def task_states(run: FlowRun) -> dict[str, str | None]:
    """The state of every task of a run, once all have ended."""
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            tasks = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
            )
            if time.monotonic() > deadline or all(t.state and t.state.is_final() for t in tasks):
                return {t.name: t.state_name for t in tasks}
            time.sleep(0.2)


def test_schedules_are_there_and_off(worker: None) -> None:
    with get_client(sync_client=True) as client:
        for name in NAMES:
            deployment = client.read_deployment_by_name(f"{name}/{name}")
            assert [s.active for s in deployment.schedules] == [False]
            choices = str(deployment.parameter_openapi_schema)
            assert "evaluate-practice" in choices  # the form offers the stages


def test_a_run_from_a_deployment_with_an_override_and_a_forced_stage(worker: None) -> None:
    first = run_deployment("corpus/corpus", {"recipe": "smoke"})
    assert first.state_name == "Completed", first.state and first.state.message
    again = run_deployment(
        "corpus/corpus",
        {"recipe": "smoke", "overrides": ["tokenize.heldout_fraction=0.2"], "force": ["dedup"]},
    )
    assert again.state_name == "Completed"
    states = task_states(again)
    ran = {name for name, state in states.items() if state == "Completed"}
    assert ran == {"dedup", "corpus-report"} | {
        name for name in states if name.startswith("tokenize ")
    }
    assert {s for name, s in states.items() if name not in ran} == {"Cached"}


def test_the_form_refuses_what_no_recipe_allows(worker: None) -> None:
    run = run_deployment("corpus/corpus", {"recipe": "smoke", "overrides": ["sft.stepz=1"]})
    assert run.state_name == "Failed"
    assert run.state
    assert "sft.stepz: unknown key" in (run.state.message or "")
