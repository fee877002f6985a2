"""What MLflow holds of a finished run: chain of models, true digests, data behind the numbers."""

import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow.entities import LoggedModel, Run

from tasks.stages import STAGES
from tasks.tracking.entry import is_model
from tests.tasks.tracking.conftest import MODELS, Mirrored

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def runs(mirrored: Mirrored) -> dict[str, Run]:
    """The run of every stage."""
    stages = mirrored.logged.stages.items()
    return {stage: mirrored.client.get_run(run) for stage, (_, run) in stages}


@pytest.fixture(scope="module")
def models(mirrored: Mirrored, runs: dict[str, Run]) -> dict[str, LoggedModel]:
    """The logged model of every stage that made one."""
    made = {stage: run.outputs.model_outputs for stage, run in runs.items() if run.outputs}
    return {
        stage: mirrored.client.get_logged_model(outputs[0].model_id)
        for stage, outputs in made.items()
        if outputs
    }


def test_one_run_a_stage_below_the_pipeline_run(mirrored: Mirrored, runs: dict[str, Run]) -> None:
    assert runs.keys() == mirrored.stages.keys() <= STAGES.keys()
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {mirrored.logged.run}
    linked = mirrored.client.get_run(mirrored.logged.run).data.tags
    assert {linked[f"stage.{stage}"] for stage in runs} == {r.info.run_id for r in runs.values()}
    assert runs["pretrain"].data.params["mixture.world"] == "60.0"


def test_every_shard_is_an_input_with_its_true_digest(
    mirrored: Mirrored, runs: dict[str, Run]
) -> None:
    inputs = {i.dataset.name: i for i in runs["pretrain"].inputs.dataset_inputs}
    shards = {f"tokenize/{a.shard}": a for a in mirrored.stages["tokenize"]}
    assert inputs.keys() == {"tokenize (4 shards)", "tokenizer", *shards}
    for name, artifact in shards.items():
        profile = json.loads(inputs[name].dataset.profile)
        assert inputs[name].dataset.digest == artifact.digest[:36]
        assert profile["sha256"] == artifact.digest
        assert profile["num_rows"] == artifact.counts["num_documents"]
        tags = {tag.key: tag.value for tag in inputs[name].tags}
        assert tags == {"mlflow.data.context": "tokens", "sha256": artifact.digest}


def test_models_are_chained_by_their_inputs(
    mirrored: Mirrored, runs: dict[str, Run], models: dict[str, LoggedModel]
) -> None:
    stage_of = {model.model_id: stage for stage, model in models.items()}
    parents = {
        stage: {stage_of[item.model_id] for item in runs[stage].inputs.model_inputs}
        for stage in models
    }
    assert parents == {
        "pretrain": set(),
        "sft": {"pretrain"},
        "reward": {"sft"},
        "ppo": {"sft", "reward"},
        "practice": {"ppo", "reward"},
    }
    for stage, model in models.items():
        (artifact,) = mirrored.stages[stage]
        assert model.source_run_id == runs[stage].info.run_id
        assert model.tags["digest"] == artifact.digest
        assert model.params == runs[stage].data.params
    names = {stage: model.name for stage, model in models.items()}
    assert names == {s: s for s in models} | {"pretrain": "base", "practice": "assistant"}


def test_every_name_has_a_version_with_the_alias_champion(mirrored: Mirrored) -> None:
    client = mirrored.client
    assert {model.name for model in client.search_registered_models()} == set(MODELS)
    for name in MODELS:
        version = client.get_model_version_by_alias(name, "champion")
        artifact = mirrored.catalogue.named(name)
        assert (version.tags["key"], version.tags["digest"]) == (artifact.key, artifact.digest)
        assert version.tags["named"] == f"{name}@1"
        assert f"Content digest `{artifact.digest}`" in version.description
        assert "| crawl | 1 |" in version.description


def test_the_numbers_of_a_model_lead_to_data_of_their_run(
    mirrored: Mirrored, runs: dict[str, Run], models: dict[str, LoggedModel]
) -> None:
    """The pages of MLflow show a model's data by its metrics, and open it by the metric's run."""
    by_id = {run.info.run_id: run for run in runs.values()}
    used = {
        stage: {(m.dataset_name, m.dataset_digest, m.run_id) for m in model.metrics}
        for stage, model in models.items()
    }
    for stage, found in used.items():
        assert {run for _, _, run in found} == {
            runs[stage].info.run_id,
            runs[{"pretrain": "evaluate-base"}.get(stage, f"evaluate-{stage}")].info.run_id,
        }
        for name, digest, run in found:
            inputs = by_id[run].inputs.dataset_inputs
            known = {(item.dataset.name, item.dataset.digest) for item in inputs}
            assert name is None or (name, digest) in known
    data = {stage: {name for name, _, _ in found if name} for stage, found in used.items()}
    assert data == {
        "pretrain": {"tokenize (4 shards)", "tokenizer", "curriculum/exercises"},
        "sft": {"curriculum/exercises"},
        "reward": {"preferences", "responses", "curriculum/exercises"},
        "ppo": {"curriculum/exercises", "tokenize (4 shards)"},
        "practice": {"curriculum/exercises"},
    }
    held_out = {m.key: m for m in models["pretrain"].metrics if m.key.startswith("heldout/")}
    text = held_out.pop("heldout/bits per byte - world - over a bigram")
    assert text.dataset_name == "tokenize (4 shards)"
    assert {m.dataset_name for n, m in held_out.items() if "completed" in n} == {
        "curriculum/exercises"
    }


def test_the_pages_for_people_are_kept(mirrored: Mirrored, runs: dict[str, Run]) -> None:
    for artifact in (a for made in mirrored.stages.values() for a in made if is_model(a)):
        run = runs[artifact.stage]
        model = mirrored.client.get_logged_model(run.outputs.model_outputs[0].model_id)
        page = Path(model.artifact_location.removeprefix("file://"), "lineage.html").read_text()
        assert artifact.digest in page
    report = Path(runs["corpus-report"].info.artifact_uri.removeprefix("file://"), "report.html")
    assert (
        report.read_bytes() == mirrored.catalogue.named("corpus").path("report.html").read_bytes()
    )


def test_what_mlflow_has_is_linked_and_not_logged_again(copy: Mirrored) -> None:
    again = copy.record("again")
    assert again.stages == copy.logged.stages
    assert len(copy.client.search_runs(["1"])) == len(again.stages) + 2
    assert len(copy.client.search_model_versions()) == len(MODELS)


def test_no_text_of_a_page_is_in_its_database(mirrored: Mirrored) -> None:
    """So that a page which is erased from the store is in no record of MLflow's either."""
    with sqlite3.connect(mirrored.database) as database:
        dump = "\n".join(database.iterdump())
    texts = [
        text
        for artifact in mirrored.stages["extract"]
        for text in pq.read_table(artifact.path("documents.parquet"))["text"].to_pylist()
    ]
    pieces = {text[start : start + 40] for text in texts for start in range(0, len(text) - 40, 400)}
    assert len(pieces) > 100
    assert not [piece for piece in pieces if piece in dump]
