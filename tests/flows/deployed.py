"""Deployments as their users meet them: runs started through the API, and what became of them."""

import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

ROOT = Path(__file__).resolve().parents[2]


def prefect(*arguments: str) -> None:
    """Run the prefect command in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def find_deployment(name: str) -> DeploymentResponse:
    """What the server knows of a deployment, such as ``corpus/corpus``."""
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


def run_deployment(name: str, parameters: dict[str, object]) -> FlowRun:
    """Start a run from a deployment, as the form does, and wait for its end."""
    deployment = find_deployment(name)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    return await_run(run.id)


def await_run(run_id: UUID, seconds: float = 200) -> FlowRun:
    """A run that has ended."""
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            run = client.read_flow_run(run_id)
            if run.state and run.state.is_final():
                return run
            time.sleep(0.5)
    raise TimeoutError(run_id)


def task_states(run_id: UUID) -> dict[str, str | None]:
    """The state of every task of a run, once all have ended."""
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            tasks = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
            )
            if time.monotonic() > deadline or all(t.state and t.state.is_final() for t in tasks):
                return {t.name: t.state_name for t in tasks}
            time.sleep(0.2)
