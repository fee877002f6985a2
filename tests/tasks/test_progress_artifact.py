"""Progress artifacts of real tasks on a real server."""

import re
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterTaskRunId
from prefect.runtime import task_run

from tasks.progress_artifact import ProgressArtifact

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.xdist_group("prefect")]
_RATE = re.compile(r"[\d,.]+( documents)?/s")
Shown = list[tuple[float, str]]


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress_artifact.PROGRESS_SECONDS", 0.0)


def run_task(work: Callable[[], None]) -> None:
    """Do it as the task of a flow run."""

    @flow(name="progress")
    def run() -> None:
        task(work)()

    with suppress(ZeroDivisionError):
        run()


def shown() -> Shown:
    """Percent and text of the artifacts of the task run that asks."""
    with get_client(sync_client=True) as client:
        of_task = ArtifactFilterTaskRunId(any_=[task_run.id])
        found = client.read_artifacts(artifact_filter=ArtifactFilter(task_run_id=of_task))
    return [(float(str(a.data)), _RATE.sub(r"N\1/s", str(a.description))) for a in found]


def test_a_stage_that_knows_no_total_has_a_rate_and_ends_at_all() -> None:
    seen: list[Shown] = []

    def work() -> None:
        with ProgressArtifact("filter web-000") as progress:
            report = progress.of("web-000")
            for num_documents in (0, 700):
                report(num_documents, None, "documents")
                seen.append(shown())
            progress.execute("web-000")
        seen.append(shown())

    run_task(work)
    assert seen == [
        [(0.0, "filter web-000: 0 documents")],
        [(0.0, "filter web-000: 700 documents, N/s")],
        [(100.0, "filter web-000: 700 documents, N/s")],
    ]


def test_shards_of_a_task_count_together() -> None:
    seen: list[Shown] = []

    def work() -> None:
        with ProgressArtifact("filter web-000 to web-003 (4 shards)", 4) as progress:
            progress.reuse()
            report = progress.of("web-001")
            for num_documents in (0, 50):
                report(num_documents, 100, "documents")
            seen.append(shown())
            for shard in ("web-001", "web-002", "web-003"):
                progress.execute(shard)
        seen.append(shown())

    run_task(work)
    (before,), (after,) = seen
    assert before[0] == 37.5
    assert before[1].startswith("filter web-000 to web-003 (4 shards): 1/4 shards, N documents/s")
    assert after == (100.0, "filter web-000 to web-003 (4 shards): 4/4 shards, N documents/s")


def test_a_failed_task_stays_where_it_was() -> None:
    seen: list[Shown] = []

    def work() -> None:
        try:
            with ProgressArtifact("sft") as progress:
                progress.of(None)(30, 120, "steps")
                raise ZeroDivisionError
        finally:
            seen.append(shown())

    run_task(work)
    assert seen == [[(25.0, "sft: 30/120 steps")]]


def test_a_server_that_is_away_costs_nothing_but_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Shown] = []

    def refuse(**_: object) -> None:
        raise httpx.ConnectError("connection refused")

    def work() -> None:
        with ProgressArtifact("sft") as progress:
            report = progress.of(None)
            with monkeypatch.context() as patch:
                patch.setattr("tasks.progress_artifact.create_progress_artifact", refuse)
                report(30, 120, "steps")
            seen.append(shown())
            report(60, 120, "steps")
            seen.append([(percent, text[:17]) for percent, text in shown()])

    run_task(work)
    assert seen == [[], [(50.0, "sft: 60/120 steps")]]
