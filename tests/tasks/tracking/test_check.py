"""Whatever is changed in MLflow's record is named, and the next run makes up for it."""

import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tasks.lineage.catalogue import Catalogue
from tasks.store import Request, Store
from tasks.tracking.check import disagreements
from tests.tasks.tracking.conftest import Mirrored

pytestmark = pytest.mark.xdist_group("lineage")


def check(of: Mirrored, name: str = "assistant") -> list[str]:
    return disagreements(of.catalogue, of.catalogue.named(name), of.uri)


def run_of(of: Mirrored, stage: str) -> Run:
    return of.client.get_run(of.logged.stages[stage][1])


def sql(of: Mirrored, statement: str, *values: str) -> None:
    """Change what the API does not let one change."""
    with sqlite3.connect(of.database) as database:
        assert database.execute(statement, values).rowcount > 0


def drop_run(of: Mirrored, client: MlflowClient) -> str:
    client.delete_run(run_of(of, "sft").info.run_id)
    return f"MLflow has no run of {of.catalogue.named('sft').label}"


def drop_runs_of_shards(of: Mirrored, client: MlflowClient) -> str:
    client.delete_run(run_of(of, "tokenize").info.run_id)
    return "MLflow has no run of tokenize for 4 shards"


def change_tag(of: Mirrored, client: MlflowClient) -> str:
    run = run_of(of, "pretrain").info.run_id
    client.set_tag(run, "digest", "0" * 64)
    return f"MLflow's run of pretrain ({run}): tag digest is '{'0' * 64}', in the store '"


def change_stage_tag(of: Mirrored, client: MlflowClient) -> str:
    client.set_tag(run_of(of, "dedup").info.run_id, "stage", "filter")
    return "tag stage is 'filter', in the store 'dedup'"


def change_content_tag(of: Mirrored, client: MlflowClient) -> str:
    client.set_tag(run_of(of, "extract").info.run_id, "content", "0" * 64)
    return f"tag content is '{'0' * 64}', in the store '"


def change_param(of: Mirrored, client: MlflowClient) -> str:
    run = run_of(of, "pretrain").info.run_id
    sql(of, "UPDATE params SET value = '31' WHERE key = 'steps' AND run_uuid = ?", run)
    return "param steps is '31', in the store '30'"


def add_param(of: Mirrored, client: MlflowClient) -> str:
    client.log_param(run_of(of, "responses").info.run_id, "dropout", 0.1)
    return "param dropout is '0.1', the store has none"


def change_metric(of: Mirrored, client: MlflowClient) -> str:
    run = run_of(of, "practice").info.run_id
    sql(of, "UPDATE latest_metrics SET value = 7000 WHERE key = 'problems' AND run_uuid = ?", run)
    return "metric problems is 7000, in the store 16"


def change_measure(of: Mirrored, client: MlflowClient) -> str:
    run = run_of(of, "evaluate-sft").info.run_id
    key = "heldout/exact match - over base"
    sql(of, "UPDATE latest_metrics SET value = 1 WHERE key = ? AND run_uuid = ?", key, run)
    return f"metric {key} is 1, in the store"


def change_dataset(of: Mirrored, client: MlflowClient) -> str:
    sql(of, "UPDATE datasets SET digest = 'f00' WHERE name = 'tokenize/web-000'")
    return "dataset tokenize/web-000 f00 is none of its inputs in the store"


def change_profile(of: Mirrored, client: MlflowClient) -> str:
    sql(
        of, """UPDATE datasets SET dataset_profile = '{"sha256": "f00"}' WHERE name = 'tokenizer'"""
    )
    return "the SHA-256 in its profile is 'f00'"


def drop_input_model(of: Mirrored, client: MlflowClient) -> str:
    run = run_of(of, "ppo")
    (sft,) = [
        item.model_id
        for item in run.inputs.model_inputs
        if client.get_logged_model(item.model_id).tags["stage"] == "sft"
    ]
    sql(
        of,
        "DELETE FROM inputs WHERE destination_id = ? AND source_id = ?",
        sft,
        run.info.run_id,
    )
    return f"its input model {of.catalogue.named('sft').label} is missing"


def drop_model(of: Mirrored, client: MlflowClient) -> str:
    client.delete_logged_model(run_of(of, "reward").outputs.model_outputs[0].model_id)
    return "the model that it made was deleted"


def change_model(of: Mirrored, client: MlflowClient) -> str:
    model = run_of(of, "ppo").outputs.model_outputs[0].model_id
    client.set_logged_model_tags(model, {"digest": "0" * 64})
    return f"logged model ppo: tag digest is '{'0' * 64}', in the store"


def drop_version(of: Mirrored, client: MlflowClient) -> str:
    client.delete_model_version("reward", "1")
    return f"MLflow has no model version of reward {of.catalogue.named('reward').digest[:12]}"


def change_version(of: Mirrored, client: MlflowClient) -> str:
    client.set_model_version_tag("base", "1", "digest", "0" * 64)
    return f"MLflow's base version 1: tag digest is '{'0' * 64}', in the store '"


def drop_alias(of: Mirrored, client: MlflowClient) -> str:
    client.delete_registered_model_alias("assistant", "champion")
    return "MLflow's assistant has no version with the alias champion"


def move_alias(of: Mirrored, client: MlflowClient) -> str:
    other = client.create_model_version("sft", "nowhere", tags={"digest": "f" * 64})
    client.set_registered_model_alias("sft", "champion", other.version)
    return f"MLflow's alias sft@champion points at version 2 ({'f' * 12}), the store's name"


def change_description(of: Mirrored, client: MlflowClient) -> str:
    text = client.get_model_version("base", "1").description.replace("tokens", "Tokens")
    client.update_model_version("base", "1", text)
    return "MLflow's base version 1: its description was changed"


CHANGES = [
    drop_run, drop_runs_of_shards, change_tag, change_stage_tag, change_content_tag, change_param,
    add_param, change_metric, change_measure, change_dataset, drop_input_model, drop_model,
    change_model, drop_version, change_version, drop_alias, move_alias,
]  # fmt: skip
"""Made all at once, as a check and a run cost a second each."""


@dataclass(frozen=True)
class Changed:
    """What the check said of all changes, and after the next run."""

    told: dict[str, str]
    before: list[str]
    after: list[str]
    database: Mirrored


@pytest.fixture(scope="module")
def changed(mirrored: Mirrored, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    copy = mirrored.copy(tmp_path_factory.mktemp("changed"))
    told = {change.__name__: change(copy, copy.client) for change in CHANGES}
    before = check(copy)
    copy.record()
    return Changed(told, before, check(copy), copy)


@pytest.mark.parametrize("change", [change.__name__ for change in CHANGES])
def test_a_change_is_named(changed: Changed, change: str) -> None:
    assert any(changed.told[change] in line for line in changed.before), changed.before


def test_the_next_run_mends_all_of_it(changed: Changed) -> None:
    assert all(line.endswith(": headwater run logs it again") for line in changed.before)
    assert changed.after == []


def test_what_was_wrong_is_replaced_and_stays_to_be_seen(changed: Changed) -> None:
    client = changed.database.client
    first, second = (client.get_model_version("base", number) for number in ("1", "2"))
    assert first.tags["replaced-by"] == "2"
    assert "replaced-by" not in second.tags
    wrong = client.get_run(first.run_id)
    assert client.get_run(wrong.data.tags["replaced-by"]).data.tags["stage"] == "pretrain"


def test_an_mlflow_that_was_lost(copy: Mirrored) -> None:
    sql(copy, "UPDATE experiments SET name = 'other' WHERE name = 'headwater'")
    (line,) = check(copy)
    assert line == f"MLflow at {copy.uri} knows nothing of any model: headwater run logs it again"


def test_what_no_run_mends(copy: Mirrored) -> None:
    """Bytes of models, which no run reads again, and datasets, which runs share."""
    told = {change_profile(copy, copy.client): "put back a copy of its database, or log in another"}
    for stage, change, what in (
        ("sft", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"), "SHA-256"),
        ("reward", Path.unlink, "model.safetensors is missing"),
        ("ppo", lambda path: path.with_name("x.py").touch(), "x.py is no file of the model"),
    ):
        run = run_of(copy, stage)
        model = copy.client.get_logged_model(run.outputs.model_outputs[0].model_id)
        folder = shutil.copytree(
            model.artifact_location.removeprefix("file://"), copy.database.parent / stage
        )
        statement = "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?"
        sql(copy, statement, folder.as_uri(), model.model_id)
        change(folder / "model.safetensors")
        mend = f"mlflow runs delete --run-id {run.info.run_id}, then headwater run logs it again"
        told[what] = mend
    lines = check(copy)
    for what, mend in told.items():
        assert any(what in line and line.endswith(f": {mend}") for line in lines), lines


def test_a_description_is_written_again(copy: Mirrored) -> None:
    told = change_description(copy, copy.client)
    assert check(copy, "base") == [f"{told}: headwater run logs it again"]
    copy.record(stages=())
    assert check(copy, "base") == []


def test_a_run_of_more_shards_stands_for_each_of_them(mirrored: Mirrored, tmp_path: Path) -> None:
    """As after a run with another source, of which this model was not made."""
    shutil.copytree(mirrored.home / "store", tmp_path / "store")
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    store.produce(Request("signature", 2, {}, (), "other-000"), lambda out: {}, {})
    copy = replace(mirrored.copy(tmp_path), catalogue=Catalogue.open(store))
    copy.client.delete_run(run_of(copy, "signature").info.run_id)
    copy.record(stages=["signature"])
    assert check(copy, "base") == []
    (run,) = copy.client.search_runs(["1"], "tags.stage = 'signature'")
    assert run.data.tags["shards"] == "5"
    copy.client.set_tag(run.info.run_id, "commit", "0" * 40)
    (line,) = check(copy, "base")
    assert f"({run.info.run_id}): tag commit is '{'0' * 40}', in the store" in line
    copy.client.delete_run(run.info.run_id)
    assert check(copy, "base") == [
        "MLflow has no run of signature for 4 shards: headwater run logs it again"
    ]
