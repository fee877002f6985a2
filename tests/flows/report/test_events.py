"""OpenLineage events: what each stage read and made, to a file or over HTTP."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import Dataset, Job, Run, RunEvent, RunState

from flows.report.events import render_events, send_events
from flows.report.record import ModelRecord
from pipeline_data.errors import HeadwaterError
from tests.conftest import free_port
from tests.flows.report.receiver import receiver
from tests.flows.report.truth import records

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def events(record: ModelRecord) -> list[dict[str, Any]]:
    text = render_events(record)
    assert render_events(record) == text
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_is_one_of_the_library(events: list[dict[str, Any]]) -> None:
    for event in events:
        RunEvent(
            eventType=RunState(event["eventType"]),
            eventTime=event["eventTime"],
            producer=event["producer"],
            run=Run(**event["run"]),
            job=Job(**event["job"]),
        )
        for dataset in (*event["inputs"], *event["outputs"]):
            named = Dataset(dataset["namespace"], dataset["name"], facets=dataset["facets"])
            assert named.namespace == "headwater"


def test_each_stage_result_starts_and_completes_once_below_its_run(
    events: list[dict[str, Any]], report_home: Path
) -> None:
    made = [
        record
        for folder in (report_home / "store").iterdir()
        if folder.name not in ("references", "recipes", "corpus-report")
        for record, _ in records(report_home, folder.name)
    ]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(event)
    assert len(by_run) == len(made)
    for start, complete in by_run.values():
        assert [start["eventType"], complete["eventType"]] == ["START", "COMPLETE"]
        times = [datetime.fromisoformat(e["eventTime"]) for e in (start, complete)]
        assert times[0] <= times[1]
        assert complete["job"]["facets"]["sourceCodeLocation"]["version"]
    assert sorted(events, key=lambda e: e["run"]["runId"]) != events


def test_inputs_and_outputs_are_those_of_the_records(
    events: list[dict[str, Any]], report_home: Path
) -> None:
    complete = {
        parameter["value"]: event
        for event in events
        if event["eventType"] == "COMPLETE"
        for parameter in event["run"]["facets"]["executionParameters"]["parameters"]
        if parameter["key"] == "key"
    }
    for stage in ("filter", "dedup", "tokenize", "pretrain", "ppo", "evaluate-base"):
        for record, _ in records(report_home, stage):
            event = complete[record["key"]]
            assert event["job"]["name"] == stage
            assert sorted(version_of(d) for d in event["inputs"]) == sorted(
                p["digest"] for p in record["parents"]
            )
            digests = list(record["parts"].values()) or [record["digest"]]
            assert sorted(version_of(d) for d in event["outputs"]) == sorted(digests)
            read = [f for f in record["files"] if "provenance" not in Path(f["path"]).parts]
            told = [d["outputFacets"]["outputStatistics"] for d in event["outputs"]]
            assert sum(t["size"] for t in told) == sum(f["bytes"] for f in read)
            assert sum(t.get("rowCount", 0) for t in told) == sum(f["rows"] or 0 for f in read)
    made = {(d["name"], version_of(d)) for e in events for d in e["outputs"]}
    used = {(d["name"], version_of(d)) for e in events for d in e["inputs"]}
    assert used <= made


def version_of(dataset: dict[str, Any]) -> str:
    return str(dataset["facets"]["version"]["datasetVersion"])


def test_the_same_events_go_to_a_receiver_with_its_key(
    events: list[dict[str, Any]], record: ModelRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "open sesame")
    with receiver() as (url, received):
        assert send_events(record, url) == len(events)
    assert [event for _, _, event in received] == events
    assert {(path, key) for path, key, _ in received} == {("/api/v1/lineage", "Bearer open sesame")}


def test_a_receiver_that_refuses_or_is_away_is_one_line(record: ModelRecord) -> None:
    with (
        receiver(status=422) as (url, received),
        pytest.raises(HeadwaterError, match=r"after 0 events: 422 .*check address and receiver"),
    ):
        send_events(record, url)
    assert len(received) == 1
    with pytest.raises(HeadwaterError, match="after 0 events"):
        send_events(record, f"ftp://127.0.0.1:{free_port()}")
    with pytest.raises(HeadwaterError, match="valid url"):
        send_events(record, "nowhere")
