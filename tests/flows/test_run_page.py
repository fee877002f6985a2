"""What the page of a flow run shows: the true graph, plan, results and curves; links both ways."""

import base64
import io
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, TaskRun, TaskRunResult

from flows.graphs import GraphPlan
from flows.home import Home, open_home
from flows.run_page import render_plan, render_results
from tasks.decision import Decision
from tasks.past_results import read_decisions
from tasks.tracking.mirror import FlowRunLink

Record = dict[str, Any]
pytestmark = pytest.mark.xdist_group("prefect")


@dataclass(frozen=True)
class Page:
    """A run of the small recipe with all that can be seen of it."""

    home: Home
    record: Record
    mlflow: Run
    artifacts: dict[str, Artifact]
    tasks: dict[UUID, TaskRun]


@pytest.fixture(scope="module")
def page(changed_run: Record) -> Page:
    """A run that made two results and found the others."""
    home, record = open_home(), changed_run
    client = MlflowClient(tracking_uri=home.tracking_uri)
    experiment = client.get_experiment_by_name("headwater").experiment_id
    (run,) = client.search_runs([experiment], f"tags.run = '{record['run']}'")
    flow_run_id = UUID(run.data.tags["prefect.flow_run_id"])
    with get_client(sync_client=True) as prefect:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        artifacts = prefect.read_artifacts(artifact_filter=of_run)
        of_flow = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        deadline = time.monotonic() + 30
        while True:  # the server writes names and states down when it comes to them
            tasks = prefect.read_task_runs(flow_run_filter=of_flow)
            num_final = sum(bool(task.state and task.state.is_final()) for task in tasks)
            if num_final == record["executed"] + record["cached"]:
                break
            assert time.monotonic() < deadline, f"{num_final} task runs have ended"
            time.sleep(0.2)
    keyed = {artifact.key: artifact for artifact in artifacts if artifact.key}
    return Page(home, record, run, keyed, {task.id: task for task in tasks})


def test_the_edges_of_the_graph_are_those_of_the_artefacts(page: Page) -> None:
    store = page.home.open_store()
    (path,) = page.home.runs.glob(f"{page.record['run']}.*.parquet")
    names = {
        (row.stage, row.key): f"{row.stage} {row.shard}" if row.shard else row.stage
        for row in read_decisions(path)
    }
    expected = defaultdict(set)
    for (stage, key), name in names.items():
        artifact = store.load(stage, str(key))
        assert artifact
        expected[name] = {names[parent.stage, parent.key] for parent in artifact.parents}
    shown = {
        task.name: {
            page.tasks[result.id].name
            for results in task.task_inputs.values()
            for result in results
            if isinstance(result, TaskRunResult)
        }
        for task in page.tasks.values()
    }
    assert shown == expected


def test_the_plan_says_what_runs_and_why(page: Page) -> None:
    plan = page.artifacts["plan"]
    num_executed, num_cached = page.record["executed"], page.record["cached"]
    summary = f"1 of {num_executed + num_cached} stage results to make, up to 1 more, "
    assert str(plan.description).startswith(f"{summary}{num_cached} reused; ")
    lines = str(plan.data).splitlines()
    (row,) = [line for line in lines if line.startswith("| practice |")]
    assert "| setting steps: 3 -> 5 |" in row
    for stage in page.record["stages"]:
        assert stage["name"] in str(plan.data)


def test_the_results_show_measures_and_lead_to_mlflow(page: Page) -> None:
    rows = str(page.artifacts["results"].data).splitlines()
    runs = {
        name.removeprefix("stage."): run
        for name, run in page.mlflow.data.tags.items()
        if name.startswith("stage.")
    }
    for stage in page.record["stages"]:
        row = next(row for row in rows if row.startswith(f"| {stage['name']} |"))
        assert f"| {stage['executed']} | {stage['cached']} |" in row
        assert runs[stage["name"]] in row
        for measure in stage["measures"]:
            assert any(f"| {measure['name']} | {measure['value']:.3f} |" in row for row in rows)


def test_mlflow_leads_to_the_flow_run(page: Page, prefect_server: str) -> None:
    url = f"{prefect_server.removesuffix('/api')}/runs/flow-run/"
    client = MlflowClient(tracking_uri=page.home.tracking_uri)
    for run in (page.mlflow, client.get_run(page.mlflow.data.tags["stage.pretrain"])):
        flow_run = run.data.tags["prefect.flow_run_id"]
        assert f"]({url}{flow_run})" in run.data.tags["mlflow.note.content"]


def test_the_curves_are_a_picture(page: Page) -> None:
    kind, _, data = str(page.artifacts["training-curves"].data).partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.width > 300
    assert image.height > 200
    assert len(image.getcolors(2**24) or ()) > 20


PLAN = GraphPlan(
    decisions=[
        Decision("crawl", None, "reuse", "unchanged"),
        *(Decision("extract", f"web-{i}", "reuse", "unchanged") for i in range(3)),
        Decision("sft", None, "run", "setting name: 'a|b' -> 'c'", seconds=20.0),
        Decision("ppo", None, "run", "after sft, if that changes", certain=False, seconds=9.0),
    ],
    wanted=None,
    notes=["cookbook: gone"],
    cores=2,
)


def test_a_plan_as_markdown() -> None:
    assert render_plan(PLAN).splitlines() == [
        "| stage | runs | may run | reused | why | time |",
        "| --- | --: | --: | --: | --- | --- |",
        "| sft | 1 |  |  | setting name: 'a&#124;b' -> 'c' | about 20 s |",
        "| ppo |  | 1 |  | after sft, if that changes | up to 9 s |",
        "",
        "Reused: crawl, extract (3 shards).",
        "",
        "Note: cookbook: gone",
    ]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        (None, "`0123456789ab`"),
        ("http://ml:5000/", "[01234567](http://ml:5000/#/experiments/1/runs/0123456789ab)"),
    ],
)
def test_results_as_markdown(url: str | None, link: str) -> None:
    measure = {"name": "pairs", "value": 0.9, "baseline": 0.5, "low": 0.878, "high": 0.919}
    stage = {"shards": 1, "executed": 1, "cached": 0, "seconds": 1234.5}
    record = {
        "stages": [
            {**stage, "name": "reward", "measures": [measure]},
            {**stage, "name": "ppo", "measures": []},
        ],
        "notes": ["cookbook: gone"],
    }
    assert render_results(record, {"reward": ("1", "0123456789ab")}, url).splitlines() == [
        "| stage | shards | executed | cached | seconds | MLflow |",
        "| --- | --: | --: | --: | --: | --- |",
        f"| reward | 1 | 1 | 0 | 1,234.5 | {link} |",
        "| ppo | 1 | 1 | 0 | 1,234.5 |  |",
        "",
        "Note: cookbook: gone",
        "",
        "### reward, held out",
        "",
        "| measure | value | baseline | 95% interval |",
        "| --- | --: | --: | --: |",
        "| pairs | 0.900 | 0.500 | [0.878, 0.919] |",
    ]


def test_a_flow_run_without_a_page_is_named() -> None:
    tags = FlowRunLink("0f", "calm-otter").tags
    assert tags == {
        "prefect.flow_run_id": "0f",
        "mlflow.note.content": "Prefect flow run calm-otter",
    }
