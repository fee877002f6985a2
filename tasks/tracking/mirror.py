"""Mirrors the store's lineage to MLflow.

One parent run a pipeline run; below it one run a stage whose result MLflow does not have yet.
What it has is linked from the parent, never logged twice. Because the question is
what MLflow has, not what just ran, a database that was lost, a run that was killed before it
could log, or a record that someone edited, is made up for by the next run: what disagrees with the
store is logged again and tagged ``replaced-by``.

    run 'default ...'                        tags: recipe, model digest, stage.<name> = run id
    │                                        description: a link to the Prefect flow run
    └── run 'pretrain'                       params: config; tags: key, digest, commit, lock, cpu
        ├── dataset inputs, one a shard      digest: SHA-256 (36 characters), whole in the profile
        ├── metrics                          the loss curve, counts, held-out measures
        └── logged model 'base'              parents as model inputs of the run; lineage.html

Metrics about a model, those of its evaluation too, carry its id and the dataset that they speak of.
A number about all shards of a role carries a dataset that stands for them together.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)

from pipeline_data.artifact import Artifact
from pipeline_data.formats import read_jsonl
from tasks.lineage.catalogue import Catalogue
from tasks.machine import machine_facts
from tasks.tracking.client import (
    ITEMS_PER_CALL,
    PARAMS_PER_CALL,
    in_chunks,
    make_experiment,
    open_client,
)
from tasks.tracking.comparison import REPLACED
from tasks.tracking.entry import Data, Entry, Number, describe_stage, fact_tags, metric_name
from tasks.tracking.models import find_models, log_model, register
from tasks.tracking.runs import LISTING, differences, find_runs

REPORT = "report.html"
"""A page that a stage leaves for people; it is kept with the run."""


@dataclass(frozen=True)
class FlowRunLink:
    """The Prefect flow run behind a pipeline run; ``url`` of its page, if there are any."""

    id: str
    name: str
    url: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """MLflow tags that lead there."""
        name = f"[{self.name}]({self.url})" if self.url else self.name
        return {"prefect.flow_run_id": self.id, "mlflow.note.content": f"Prefect flow run {name}"}


@dataclass(frozen=True)
class LoggedRun:
    """Where MLflow has a pipeline run; ``stages`` has the experiment and the run of each."""

    experiment: str
    run: str
    stages: Mapping[str, tuple[str, str]]


class Mirror:
    """Writes pipeline runs to MLflow.

    Args:
        uri: tracking URI, a SQLite file or a server.
        artifacts: folder for MLflow's artefacts, used when the experiment is made.
    """

    def __init__(self, catalogue: Catalogue, uri: str, artifacts: Path) -> None:
        self.catalogue = catalogue
        self.client = open_client(uri)
        self.experiment = make_experiment(self.client, artifacts)
        self._models: dict[tuple[str, str], LoggedModel] = {}

    def record(
        self,
        name: str,
        tags: Mapping[str, str],
        stages: Mapping[str, Sequence[Artifact]],
        models: Mapping[str, Artifact],
        status: str = "FINISHED",
        flow_run: FlowRunLink | None = None,
    ) -> LoggedRun:
        """Log a pipeline run, and of its stages what MLflow does not have or has wrong.

        Args:
            stages: the artefacts of every stage, in the order of the pipeline.
            models: registered name to artefact; each gets the alias ``champion``.
            flow_run: what the run, and the stages that are logged with it, link to.

        Raises:
            ArtifactError: the record of something a stage read is gone from the store.
        """
        links = flow_run.tags if flow_run else {}
        here = fact_tags([machine_facts()])
        parent = self.client.create_run(
            self.experiment, run_name=name, tags={**here, **tags, **links}
        )
        parent_id = str(parent.info.run_id)
        names = {(a.key, a.digest): model for model, a in models.items()}
        logged: dict[str, tuple[str, str]] = {}
        for stage, artifacts in stages.items():
            entry = describe_stage(self.catalogue, artifacts)
            below = {"mlflow.parentRunId": parent_id, **links}
            model_name = names.get(_name(artifacts[0]), stage)
            logged[stage] = (self.experiment, self._link_or_log(entry, below, model_name))
        self._tag(parent_id, {f"stage.{stage}": run for stage, (_, run) in logged.items()})
        for model_name, artifact in models.items():
            model = self._model(artifact)
            if model:
                register(self.client, self.catalogue, model_name, artifact, model)
        self.client.set_terminated(parent_id, status)
        return LoggedRun(self.experiment, parent_id, logged)

    def _link_or_log(self, entry: Entry, tags: Mapping[str, str], model_name: str) -> str:
        """The run of a stage's result: one that agrees with the store, or made here."""
        found = find_runs(self.client, self.experiment, entry)
        for run in found:
            if next(differences(self.client, entry, run), None) is None:
                return str(run.info.run_id)
        run_id = self._log_stage(entry, tags, model_name)
        for wrong in found:
            self.client.set_tag(wrong.info.run_id, REPLACED, run_id)
        return run_id

    def _log_stage(self, entry: Entry, tags: Mapping[str, str], model_name: str) -> str:
        started, ended = _times(entry.artifacts)
        run = self.client.create_run(
            self.experiment, started, {**tags, **entry.tags}, run_name=entry.stage
        )
        run_id = str(run.info.run_id)
        self._log_files(run_id, entry)  # first: the client then reads the run, with all its inputs
        known = [model for parent in entry.models if (model := self._model(parent))]
        models = [LoggedModelInput(model.model_id) for model in known]
        data = [_dataset_input(row) for row in entry.data]
        for some in in_chunks(data, ITEMS_PER_CALL) or [[]]:
            self.client.log_inputs(run_id, datasets=some, models=models)
            models = []
        if entry.makes_model:
            model_id = log_model(
                self.client, self.catalogue, self.experiment, run_id, model_name, entry
            )
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
            self._models[_name(entry.artifacts[0])] = self.client.get_logged_model(model_id)
        self._log_numbers(run_id, entry, ended)
        self.client.set_terminated(run_id, end_time=ended)
        return run_id

    def _log_numbers(self, run_id: str, entry: Entry, ended: int) -> None:
        model = self._model(entry.subject) if entry.subject else None
        model_id = model.model_id if model else None
        metrics = [_metric(number, ended, model_id) for number in entry.numbers]
        for artifact in entry.artifacts:
            metrics += _curve(artifact, ended)
        params = [Param(name, value) for name, value in entry.params.items()]
        some_metrics = in_chunks(metrics, ITEMS_PER_CALL - PARAMS_PER_CALL)
        some_params = in_chunks(params, PARAMS_PER_CALL)
        for batch in zip_longest(some_metrics, some_params, fillvalue=()):
            self.client.log_batch(run_id, *batch)

    def _log_files(self, run_id: str, entry: Entry) -> None:
        """The shards with their digests, and the page that the stage may have left for people."""
        listing = [{"shard": a.shard, "key": a.key, "digest": a.digest} for a in entry.artifacts]
        self.client.log_dict(run_id, {"artifacts": listing}, LISTING)
        for artifact in entry.artifacts:
            if any(file.path == REPORT for file in artifact.files):
                local = self.catalogue.store.fetch(artifact)
                self.client.log_artifact(run_id, str(local.path(REPORT)))

    def _model(self, artifact: Artifact) -> LoggedModel | None:
        """The logged model of an artefact, if MLflow has it."""
        name = _name(artifact)
        if name not in self._models:
            found = find_models(self.client, self.experiment, artifact.key)
            same = [model for model in found if model.tags.get("digest") == artifact.digest]
            if not same:
                return None
            self._models[name] = same[0]
        return self._models[name]

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _name(artifact: Artifact) -> tuple[str, str]:
    return (artifact.key, artifact.digest)


def _dataset_input(data: Data) -> DatasetInput:
    dataset = Dataset(
        name=data.name,
        digest=data.short_digest,
        source_type="headwater",
        source=data.source,
        profile=json.dumps(data.profile),
    )
    tags = [InputTag("mlflow.data.context", data.role), InputTag("sha256", data.digest)]
    return DatasetInput(dataset, tags)


def _metric(number: Number, time_ms: int, model_id: str | None) -> Metric:
    data = number.data
    return Metric(
        number.name,
        number.value,
        time_ms,
        0,
        model_id=model_id if number.of_subject else None,
        dataset_name=data.name if data else None,
        dataset_digest=data.short_digest if data else None,
    )


def _curve(artifact: Artifact, time_ms: int) -> list[Metric]:
    """The training curve that a stage left beside its checkpoint."""
    path = artifact.directory / "provenance" / "metrics.jsonl"
    if not path.is_file():
        return []
    return [
        Metric(metric_name(f"train/{name}"), value, time_ms, int(row["step"]))
        for row in read_jsonl(path)
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float)
    ]


def _times(artifacts: Sequence[Artifact]) -> tuple[int, int]:
    """When the first of them was begun and the last was done, in milliseconds since 1970."""
    now = time.time()
    spans = []
    for artifact in artifacts:
        created = artifact.facts.get("created")
        done = datetime.fromisoformat(created).timestamp() if created else now
        spans.append((done - float(artifact.facts.get("seconds") or 0.0), done))
    return int(min(s for s, _ in spans) * 1000), int(max(d for _, d in spans) * 1000)
