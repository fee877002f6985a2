"""The whole chain on the smoke recipe: real server, real workers, real crawl, real MLflow."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.home import Home, open_home
from tasks.stages import STAGES

Record = dict[str, Any]

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


@pytest.fixture(scope="module")
def first_run(home: Home) -> Record:
    assert main(["run", "smoke", "--json"]) == 0
    from flows.run_record import last_record

    return last_record(home.runs)


def test_every_stage_runs_and_is_counted(first_run: Record) -> None:
    ran = executed(first_run)
    of_other_sources = {"download", "fetch", "ingest", "dataset", "adopt-tokenizer"}
    assert set(STAGES) - set(ran) == of_other_sources
    assert first_run["cached"] == 0
    assert ran["extract"] == 4
    assert len(first_run["model_digest"]) == 64
    for stage in ("pretrain", "sft", "reward", "ppo", "practice"):
        measures = next(s for s in first_run["stages"] if s["name"] == stage)["measures"]
        assert measures
        assert set(measures[0]) == {"name", "value", "baseline", "low", "high", "better"}


def test_a_second_run_executes_nothing(
    first_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    again = headwater(capsys, "run", "smoke")
    assert again["executed"] == 0
    assert again["cached"] == first_run["executed"]
    assert again["model_digest"] == first_run["model_digest"]
    assert headwater(capsys, "status")["run"] == again["run"]


def test_a_changed_setting_reruns_its_stage_and_below_and_back_nothing(
    first_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = headwater(capsys, "run", "smoke", "--set", "practice.steps=5")
    assert executed(changed) == {"practice": 1, "evaluate-practice": 1}
    assert changed["model_digest"] != first_run["model_digest"]
    back = headwater(capsys, "run", "smoke")
    assert back["executed"] == 0
    assert back["model_digest"] == first_run["model_digest"]


def test_a_forced_stage_alone_runs_again(
    first_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    forced = headwater(capsys, "run", "smoke", "--force", "reward")
    assert executed(forced) == {"reward": 1}
    assert forced["model_digest"] == first_run["model_digest"]


def test_the_trace_reaches_every_raw_shard(
    first_run: Record, capsys: pytest.CaptureFixture[str]
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


def test_the_lineage_is_in_mlflow(home: Home, first_run: Record) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=home.tracking_uri)
    names = {m.name for m in client.search_registered_models()}
    assert names == {"base", "sft", "reward", "assistant"}
    champion = client.get_model_version_by_alias("assistant", "champion")
    assert champion.tags["digest"] == first_run["model_digest"]
    assert "curriculum" in champion.description
    experiment = client.get_experiment_by_name("headwater")
    parents = client.search_runs([experiment.experiment_id], f"tags.run = '{first_run['run']}'")
    assert len(parents) == 1
    linked = {k: v for k, v in parents[0].data.tags.items() if k.startswith("stage.")}
    assert {k.removeprefix("stage.") for k in linked} == {s["name"] for s in first_run["stages"]}
    pretrain = client.get_run(linked["stage.pretrain"])
    shards = {d.dataset.name for d in pretrain.inputs.dataset_inputs}
    assert {"tokenize/web-000", "tokenize/world-001", "tokenizer"} <= shards
    assert pretrain.data.params["steps"] == "120"
    assert any(
        name.startswith("heldout/")
        for name in client.get_run(linked["stage.pretrain"]).data.metrics
    )
    sft = client.get_run(linked["stage.sft"])
    (parent_model,) = sft.inputs.model_inputs
    base = client.get_model_version("base", "1")
    assert client.get_logged_model(parent_model.model_id).tags["key"] == base.tags["key"]


def test_trouble_with_mlflow_never_costs_a_run(
    first_run: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.db").write_text("not a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'broken.db'}")
    record = headwater(capsys, "run", "smoke")
    assert record["model_digest"] == first_run["model_digest"]
    assert len(record["notes"]) == 1
    assert record["notes"][0].startswith("MLflow: not written (")


def test_a_stage_is_logged_once(home: Home, first_run: Record) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=home.tracking_uri)
    experiment = client.get_experiment_by_name("headwater")
    runs = client.search_runs([experiment.experiment_id], "tags.stage = 'sft'")
    assert len(runs) == 1


def test_chat_answers(first_run: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = headwater(capsys, "chat", "--message", "What is 2 + 3?")
    assert answer["question"] == "What is 2 + 3?"
    assert isinstance(answer["answer"], str)


def test_verify_names_what_is_wrong_and_a_run_mends_it(
    home: Home, first_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headwater(capsys, "verify")["problems"] == []
    victim = next((home.path / "store" / "tokenize").rglob("tokens.parquet"))
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["verify", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert len(problems) == 1
    assert "tokens.parquet does not match its SHA-256" in problems[0]
    mended = headwater(capsys, "run", "smoke")
    assert executed(mended) == {"tokenize": 1}
    assert mended["model_digest"] == first_run["model_digest"]
    assert headwater(capsys, "verify")["problems"] == []


def test_one_changed_file_redoes_one_shard(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import pipeline

    for shard in "abc":
        rows = [
            {"text": f"Page {i} of file {shard}. " * 30, "url": f"http://{shard}/{i}"}
            for i in range(3)
        ]
        (tmp_path / f"{shard}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = f"{{kind: jsonl, paths: ['{tmp_path}/*.jsonl'], url_column: url}}"
    overrides = [f"sources.notes={source}", "sample.fraction=0.05"]
    pipeline.corpus(recipe="smoke", overrides=overrides)
    before = headwater(capsys, "status")
    assert executed(before)["extract"] == 3
    text = (tmp_path / "b.jsonl").read_text()
    (tmp_path / "b.jsonl").write_text(text.replace("Page 1 of", "Leaf 1 of"))
    pipeline.corpus(recipe="smoke", overrides=overrides)
    after = executed(headwater(capsys, "status"))
    assert {k: after[k] for k in ("extract", "filter", "signature", "dedup", "tokenize")} == {
        "extract": 1, "filter": 1, "signature": 1, "dedup": 1, "tokenize": 1,
    }  # fmt: skip


def test_the_run_goes_on_without_an_optional_source(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import pipeline

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = (
        "{kind: pypi, required: false, package: gone==1.0, member: '*.json', template: '{{ t }}', "
        f"sha256: '{'0' * 64}'}}"
    )
    pipeline.corpus(recipe="smoke", overrides=[f"sources.gone={source}"])
    record = headwater(capsys, "status")
    assert record["notes"] == ["gone: it cannot be had; the run goes on without it"]
    assert "download" not in executed(record)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "nonsense"], "no recipe 'nonsense'"),
        (["run", "smoke", "--set", "sft.stepz=1"], "unknown key"),
        (["run", "smoke", "--force", "sfft"], "--force sfft: no such stage"),
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


def test_a_dry_run_says_what_would_run(
    first_run: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = headwater(capsys, "run", "smoke", "--dry-run", "--set", "reward.epochs=2")["plan"]
    to_run = {row["stage"]: row["reason"] for row in plan if row["action"] == "run"}
    assert to_run["reward"] == "not in the store"
    assert to_run["ppo"] == "after reward"
    assert "pretrain" not in to_run


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
