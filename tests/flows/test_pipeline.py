"""The whole chain on a small recipe: real server, real worker, real crawl, real MLflow."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.home import Home, open_home
from flows.recipe import parse_overrides
from tasks.stages import STAGES
from tasks.store import Request, Store
from tests.finished_home import CHANGES, OPTIONS

Record = dict[str, Any]
SMALL = parse_overrides([*CHANGES, "compute.cores=1"])
"""The settings of the small run as a form gives them."""

pytestmark = pytest.mark.xdist_group("prefect")


@pytest.fixture(scope="module")
def home(prefect_server: str) -> Iterator[Home]:
    yield open_home()


def headwater(capsys: pytest.CaptureFixture[str], *arguments: str) -> Record:
    """Run the command with ``--json``; it must exit 0 and print one object."""
    assert main([*arguments, "--json"]) == 0
    answer: Record = json.loads(capsys.readouterr().out)
    return answer


def executed(record: Record) -> dict[str, int]:
    return {s["name"]: s["executed"] for s in record["stages"] if s["executed"]}


def run(capsys: pytest.CaptureFixture[str], *options: str) -> Record:
    """Run the pipeline as the first run did, but for these options."""
    return headwater(capsys, "run", "smoke", *OPTIONS, *options)


def test_every_stage_runs_and_is_counted(small_run: Record) -> None:
    ran = executed(small_run)
    of_other_sources = {"download", "fetch", "ingest", "dataset", "adopt-tokenizer", "redact"}
    assert set(STAGES) - set(ran) == of_other_sources
    assert small_run["cached"] == 0
    assert ran["extract"] == 4
    assert len(small_run["model_digest"]) == 64
    for stage in ("pretrain", "sft", "reward", "ppo", "practice"):
        measures = next(s for s in small_run["stages"] if s["name"] == stage)["measures"]
        assert measures
        assert set(measures[0]) == {"name", "value", "baseline", "low", "high", "better"}


def test_a_second_run_executes_nothing(
    small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    again = run(capsys)
    assert again["executed"] == 0
    assert again["cached"] == small_run["executed"]
    assert again["model_digest"] == small_run["model_digest"]
    assert headwater(capsys, "status")["run"] == again["run"]


def test_a_changed_setting_reruns_its_stage_and_below_and_back_nothing(
    small_run: Record, changed_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert executed(changed_run) == {"practice": 1, "evaluate-practice": 1}
    assert changed_run["model_digest"] != small_run["model_digest"]
    back = run(capsys)
    assert back["executed"] == 0
    assert back["model_digest"] == small_run["model_digest"]


def test_a_forced_stage_alone_runs_again(
    small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    forced = run(capsys, "--force", "tokenizer")
    assert executed(forced) == {"tokenizer": 1}
    assert forced["model_digest"] == small_run["model_digest"]


def test_the_trace_reaches_every_raw_shard(
    small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = headwater(capsys, "trace", "assistant")["tree"]

    def nodes(node: Record) -> Iterator[Record]:
        yield node
        for parent in node["parents"]:
            yield from nodes(parent)

    found = {(n["stage"], n["shard"]) for n in nodes(tree)}
    raw = {("crawl", "crawl-000"), ("crawl", "crawl-001"), ("site", None)}
    assert raw | {("curriculum", "documents-000"), ("curriculum", "documents-001")} <= found
    assert main(["trace", "sft"]) == 0
    assert "pretrain" in capsys.readouterr().out


def test_the_lineage_is_in_mlflow(home: Home, small_run: Record) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=home.tracking_uri)
    names = {m.name for m in client.search_registered_models()}
    assert names == {"base", "sft", "reward", "assistant"}
    champion = client.get_model_version_by_alias("assistant", "champion")
    assert champion.tags["digest"] == small_run["model_digest"]
    assert "curriculum" in champion.description
    experiment = client.get_experiment_by_name("headwater")
    parents = client.search_runs([experiment.experiment_id], f"tags.run = '{small_run['run']}'")
    assert len(parents) == 1
    linked = {k: v for k, v in parents[0].data.tags.items() if k.startswith("stage.")}
    assert {k.removeprefix("stage.") for k in linked} == {s["name"] for s in small_run["stages"]}
    pretrain = client.get_run(linked["stage.pretrain"])
    shards = {d.dataset.name for d in pretrain.inputs.dataset_inputs}
    assert {"tokenize/web-000", "tokenize/world-001", "tokenizer"} <= shards
    assert pretrain.data.params["steps"] == "30"
    (made,) = pretrain.outputs.model_outputs
    measured = {
        (metric.run_id, metric.dataset_name)
        for metric in client.get_logged_model(made.model_id).metrics
        if metric.key.startswith("heldout/")
    }
    evaluation = linked["stage.evaluate-base"]
    assert measured == {
        (evaluation, "tokenize (4 shards)"),
        (evaluation, "curriculum/exercises"),
    }
    sft = client.get_run(linked["stage.sft"])
    (parent_model,) = sft.inputs.model_inputs
    base = client.get_model_version("base", "1")
    assert client.get_logged_model(parent_model.model_id).tags["key"] == base.tags["key"]


def test_trouble_with_mlflow_never_costs_a_run(
    small_run: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.db").write_text("not a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'broken.db'}")
    record = run(capsys)
    assert record["model_digest"] == small_run["model_digest"]
    assert len(record["notes"]) == 1
    assert record["notes"][0].startswith("MLflow: not written (")


def test_a_stage_is_logged_once(home: Home, small_run: Record) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=home.tracking_uri)
    experiment = client.get_experiment_by_name("headwater")
    runs = client.search_runs([experiment.experiment_id], "tags.stage = 'sft'")
    assert len(runs) == 1


def test_chat_answers(small_run: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = headwater(capsys, "chat", "--message", "What is 2 + 3?")
    assert answer["question"] == "What is 2 + 3?"
    assert isinstance(answer["answer"], str)


def test_verify_names_what_is_wrong_and_a_run_mends_it(
    home: Home, small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headwater(capsys, "verify")["problems"] == []
    victim = next((home.path / "store" / "tokenize").rglob("tokens.parquet"))
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["verify", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 1
    assert "tokens.parquet does not match its SHA-256" in problems[0]
    mended = run(capsys)
    assert executed(mended) == {"tokenize": 1}
    assert mended["model_digest"] == small_run["model_digest"]
    assert headwater(capsys, "verify")["problems"] == []


def test_a_refresh_of_the_corpus(
    home: Home, small_run: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One changed file redoes one shard; nothing changed is said; another corpus is told."""
    from flows import pipeline

    def write(shard: str, word: str) -> None:
        rows = [
            {"text": f"{word} {i} of file {shard}. " * 30, "url": f"http://{shard}/{i}"}
            for i in range(3)
        ]
        (tmp_path / f"{shard}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def refresh() -> str:
        state = pipeline.corpus(recipe="smoke", overrides=changes, return_state=True)
        assert state.is_completed()
        return str(state.message)

    for shard in "abc":
        write(shard, "Page")
    notes = {"kind": "jsonl", "paths": [f"{tmp_path}/*.jsonl"], "url_column": "url"}
    changes = SMALL | {"sources": {"notes": notes}, "sample": {"fraction": 0.05}}
    refresh()
    before = headwater(capsys, "status")
    assert executed(before)["extract"] == 3

    since = datetime.now(UTC)
    assert refresh().startswith("nothing changed: ")
    assert headwater(capsys, "status")["run"] == before["run"]

    write("b", "Leaf")
    (tmp_path / "c.jsonl").unlink()
    write("d", "Page")
    refresh()
    after = executed(headwater(capsys, "status"))
    assert {k: after[k] for k in ("extract", "filter", "signature", "dedup", "tokenize")} == {
        "extract": 2, "filter": 2, "signature": 2, "dedup": 1, "tokenize": 2,
    }  # fmt: skip
    (event,) = corpus_events(since)
    assert event["recipe"] == "smoke"
    assert event["overrides"] == changes
    named = {kind: event[kind] for kind in ("new", "changed", "vanished")}
    assert named == {
        "new": ["notes-d.jsonl"],
        "changed": ["notes-b.jsonl"],
        "vanished": ["notes-c.jsonl"],
    }


def corpus_events(since: datetime) -> list[Record]:
    """The payloads of the events that tell of another corpus, once the server has written one."""
    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=10, at_exit=False)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        chosen = EventFilter(
            event=EventNameFilter(name=["headwater.corpus.changed"]),
            occurred=EventOccurredFilter(since=since),
        )
        with get_client(sync_client=True) as client:
            body = {"filter": chosen.model_dump(mode="json")}
            events = client.request("POST", "/events/filter", json=body).json()["events"]
        if events:
            return [event["payload"] for event in events]
        time.sleep(0.2)
    raise TimeoutError("no such event")


def test_the_run_goes_on_without_an_optional_source(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import pipeline

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    gone = {"package": "gone==1.0", "sha256": "0" * 64, "member": "*.json", "template": "{{ t }}"}
    source = {"kind": "pypi", "required": False, **gone}
    pipeline.corpus(recipe="smoke", overrides=SMALL | {"sources": {"gone": source}})
    record = headwater(capsys, "status")
    assert record["notes"] == ["gone: it cannot be had; the run goes on without it"]
    assert "download" not in executed(record)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "nonsense"], "no recipe 'nonsense'"),
        (["run", "smoke", "--set", "sft.stepz=1"], "unknown key"),
        (["run", "smoke", "--force", "sfft"], "force sfft: no such stage"),
        (["run", "smoke", "--shards", "web-*"], "it narrows force or only"),
        (
            ["run", "smoke", *OPTIONS, "--only", "sft", "--set", "pretrain.seed=99"],
            "the store lacks pretrain",
        ),
        (["why", "sfft"], "no stage 'sfft'"),
        (["trace", "nobody"], "no model named 'nobody'"),
        (["chat", "nobody", "--message", "hi"], "no model named 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_1(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert text in out.err
    assert out.err.count("\n") == 1


def test_the_plan_says_what_would_run_and_why(
    small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = headwater(capsys, "plan", "smoke", *OPTIONS, "--set", "reward.epochs=2")
    assert run(capsys, "--dry-run", "--set", "reward.epochs=2") == plan
    to_run = {row["stage"]: row for row in plan["plan"] if row["action"] == "run"}
    assert to_run["reward"]["reason"] == "setting epochs: 1 -> 2"
    assert to_run["reward"]["certain"]
    assert to_run["ppo"]["reason"] == "after reward, if that changes"
    assert not to_run["ppo"]["certain"]
    assert "pretrain" not in to_run
    assert main(["plan", "smoke", *OPTIONS, "--set", "reward.epochs=2"]) == 0
    assert "setting epochs: 1 -> 2" in capsys.readouterr().out


def test_a_part_of_the_pipeline_and_why_it_ran(
    small_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ("--set", "sample.fraction=0.4")
    until = run(capsys, *changed, "--until", "sample")
    assert executed(until) == {"sample": 4}
    assert "tokenizer" not in {stage["name"] for stage in until["stages"]}
    only = run(capsys, *changed, "--only", "tokenizer")
    assert executed(only) == {"tokenizer": 1}
    (cause,) = headwater(capsys, "why", "tokenizer")["causes"]
    reason = "input samples: 3 changed"
    assert (cause["action"], cause["reason"].partition(" (")[0]) == ("run", reason)
    assert main(["why", "dedup"]) == 0
    assert capsys.readouterr().out == "dedup: reused: unchanged\n"


def test_a_dry_run_of_a_flow_runs_no_task(small_run: Record, home: Home) -> None:
    from flows import pipeline

    before = set((home.path / "logs").iterdir())
    state = pipeline.pipeline(
        recipe="smoke", overrides=SMALL, force=["practice"], dry_run=True, return_state=True
    )
    assert state.message
    assert state.message.startswith("dry run: 1 of 43 stage results to make")
    assert set((home.path / "logs").iterdir()) == before


def test_an_audit_reads_every_byte_and_fails_on_a_wrong_one(
    small_run: Record, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import pipeline

    sound = pipeline.audit(return_state=True)
    assert sound.is_completed()
    lineage = home.open_store().ancestry(home.open_store().named("assistant"))
    victim = next(a for a in lineage if a.stage == "preferences").path("preferences.jsonl")
    text = victim.read_text()
    victim.write_text(text.replace("1", "2", 1))
    damaged = pipeline.audit(["assistant"], return_state=True)
    victim.write_text(text)
    assert damaged.is_failed()
    assert "preferences.jsonl does not match its SHA-256" in str(damaged.message)


@pytest.mark.long
def test_the_recipe_as_it_is_shipped(small_run: Record, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = headwater(capsys, "run", "smoke")
    assert {"pretrain", "sft", "reward", "ppo", "practice"} <= set(executed(shipped))
    assert run(capsys)["model_digest"] == small_run["model_digest"]  # named again, for the others


def test_a_model_of_a_failed_run_is_registered_by_the_next(home: Home, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from tasks.lineage.catalogue import Catalogue
    from tasks.tracking.mirror import Mirror

    def write(out: Path) -> dict[str, Any]:
        (out / "model").mkdir()
        (out / "model" / "config.json").write_text("{}")
        return {}

    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    stages = {"ppo": [store.produce(Request("ppo", 1, {}, ()), write, {})]}
    mirror = Mirror(Catalogue.open(store), home.tracking_uri, home.mlflow_artifacts)
    mirror.record("failed", {}, stages, {}, "FAILED")
    mirror.record("mended", {}, stages, {"toy": stages["ppo"][0]})
    version = MlflowClient(tracking_uri=home.tracking_uri).get_model_version("toy", "1")
    assert version.tags["digest"] == stages["ppo"][0].digest


def test_a_foreign_folder_is_never_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    monkeypatch.setitem(os.environ, "HEADWATER_HOME", str(tmp_path))
    assert main(["clean", "--yes"]) == 1
    assert (tmp_path / "letter.txt").exists()
    own = tmp_path / "own"
    monkeypatch.setitem(os.environ, "HEADWATER_HOME", str(own))
    assert main(["status"]) == 1
    assert main(["clean", "--yes"]) == 0
    assert not own.exists()
