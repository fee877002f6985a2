"""Mirrors the store's lineage to MLflow; the only file that imports mlflow.

One parent run a pipeline run; below it one run a stage whose result MLflow has not seen yet.
What it has seen is linked from the parent, never logged twice. Because the question is
what MLflow has, not what just ran, a database that was lost, or a run that was killed before it
could log, is made up for by the next run.

    run 'default ...'                        tags: recipe, model digest, stage.<name> = run id
    │                                        description: a link to the Prefect flow run
    └── run 'pretrain'                       params: config; tags: key, digest, commit
        ├── dataset inputs, one a shard      digest: SHA-256 (36 characters), whole in the profile
        ├── metrics                          the loss curve, counts, held-out measures
        └── logged model 'base'              parents as model inputs of the run
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
)
from mlflow.exceptions import MlflowException

from pipeline_data.artifact import Artifact, Parent
from pipeline_data.formats import read_jsonl
from pipeline_data.settings import fingerprint
from tasks.store import Store
from tasks.trace import lineage_tree, render_tree

EXPERIMENT = "headwater"
MODEL_FOLDER = "model"
DIGEST_CHARACTERS = 36
INPUTS_PER_CALL = 1000
BATCH = {"metrics": 1000, "params": 100}
VALUE_CHARACTERS = 6000
CHAMPION = "champion"


@dataclass(frozen=True)
class Measure:
    """A held-out number of a stage, as MLflow's metric."""

    name: str
    value: float


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


class Lineage:
    """Writes one finished pipeline run to MLflow.

    Args:
        uri: tracking URI, a SQLite file or a server.
        artifacts: folder for MLflow's artefacts, used when the experiment is made.
    """

    def __init__(self, store: Store, uri: str, artifacts: Path) -> None:
        self.store = store
        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self._experiment(artifacts)
        self._run_of: dict[tuple[str, str], str] = {}
        self._model_of: dict[str, str] = {}

    def record(
        self,
        name: str,
        tags: Mapping[str, str],
        stages: Mapping[str, Sequence[Artifact]],
        measures: Mapping[str, Sequence[Measure]],
        models: Mapping[str, Artifact],
        status: str = "FINISHED",
        flow_run: FlowRunLink | None = None,
    ) -> LoggedRun:
        """Log a pipeline run.

        Args:
            stages: the artefacts of every stage, in the order of the pipeline.
            measures: held-out numbers by stage.
            models: registered name to artefact; 'assistant' gets the alias ``champion``.
            flow_run: what the run, and the stages that are logged with it, link to.
        """
        links = flow_run.tags if flow_run else {}
        parent = self.client.create_run(self.experiment, run_name=name, tags={**tags, **links})
        parent_id = str(parent.info.run_id)
        names = {artifact.key: model for model, artifact in models.items()}
        logged: dict[str, tuple[str, str]] = {}
        for stage, artifacts in stages.items():
            run_id = self._find_run(artifacts) or self._log_stage(
                {"mlflow.parentRunId": parent_id, **links},
                artifacts,
                measures.get(stage, ()),
                names,
            )
            model = names.get(artifacts[0].key)
            if model and not self._find_model(artifacts[0].key):  # it failed before it was named
                self._log_model(run_id, model, artifacts[0])
            self.client.set_tag(parent_id, f"stage.{stage}", run_id)
            logged[stage] = (self.experiment, run_id)
        for model, artifact in models.items():
            self._register(model, artifact)
        self.client.set_terminated(parent_id, status)
        return LoggedRun(self.experiment, parent_id, logged)

    def _experiment(self, artifacts: Path) -> str:
        known = self.client.get_experiment_by_name(EXPERIMENT)
        if known:
            return str(known.experiment_id)
        try:
            return str(self.client.create_experiment(EXPERIMENT, artifacts.resolve().as_uri()))
        except MlflowException:  # another run made it meanwhile
            known = self.client.get_experiment_by_name(EXPERIMENT)
            assert known
            return str(known.experiment_id)

    def _find_run(self, artifacts: Sequence[Artifact]) -> str | None:
        found = self.client.search_runs(
            [self.experiment],
            filter_string=f"tags.content = '{_group_digest(artifacts)}' "
            "and attributes.status = 'FINISHED'",
            max_results=1,
        )
        return str(found[0].info.run_id) if found else None

    def _log_stage(
        self,
        tags: Mapping[str, str],
        artifacts: Sequence[Artifact],
        measures: Sequence[Measure],
        names: Mapping[str, str],
    ) -> str:
        first = artifacts[0]
        facts = {
            "stage": first.stage,
            "version": str(first.version),
            "shards": str(len(artifacts)),
            "content": _group_digest(artifacts),
            "commit": str(first.facts.get("commit", "")),
            "machine": str(first.facts.get("machine", "")),
        }
        if len(artifacts) == 1:
            facts |= {"key": first.key, "digest": first.digest}
        run = self.client.create_run(self.experiment, run_name=first.stage, tags={**tags, **facts})
        run_id = str(run.info.run_id)
        parents = {(p.stage, p.key, p.shard): p for a in artifacts for p in a.parents}
        self._log_inputs(run_id, list(parents.values()))
        model_id = None
        if first.key in names:
            model_id = self._log_model(run_id, names[first.key], first)
        self._log_numbers(run_id, artifacts, measures, model_id)
        self._log_config(run_id, first.config)
        listing = [{"shard": a.shard, "key": a.key, "digest": a.digest} for a in artifacts]
        self.client.log_dict(run_id, {"artifacts": listing}, "artifacts.json")
        self.client.set_terminated(run_id)
        return run_id

    def _log_inputs(self, run_id: str, parents: Sequence[Parent]) -> None:
        datasets = [_dataset(p, self.store.load(p.stage, p.key)) for p in parents]
        for start in range(0, len(datasets), INPUTS_PER_CALL):
            self.client.log_inputs(run_id, datasets=datasets[start : start + INPUTS_PER_CALL])
        models = [
            LoggedModelInput(model_id=model_id)
            for parent in parents
            if (model_id := self._find_model(parent.key))
        ]
        if models:
            self.client.log_inputs(run_id, models=models)

    def _log_config(self, run_id: str, config: Mapping[str, Any]) -> None:
        params = [Param(k, str(v)[:VALUE_CHARACTERS]) for k, v in _flatten(config)]
        for start in range(0, len(params), BATCH["params"]):
            self.client.log_batch(run_id, params=params[start : start + BATCH["params"]])

    def _log_numbers(
        self,
        run_id: str,
        artifacts: Sequence[Artifact],
        measures: Sequence[Measure],
        model_id: str | None,
    ) -> None:
        now = int(time.time() * 1000)
        totals: dict[str, float] = {}
        for artifact in artifacts:
            seconds = {"seconds": artifact.facts.get("seconds", 0.0)}
            for name, value in {**artifact.counts, **seconds}.items():
                if isinstance(value, int | float):
                    totals[name] = totals.get(name, 0.0) + value
        metrics = [Metric(_metric_name(n), v, now, 0, model_id=model_id) for n, v in totals.items()]
        metrics += [
            Metric(_metric_name(f"heldout/{m.name}"), m.value, now, 0, model_id=model_id)
            for m in measures
        ]
        for artifact in artifacts:
            metrics += _curve(artifact, now)
        for start in range(0, len(metrics), BATCH["metrics"]):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH["metrics"]])

    def _log_model(self, run_id: str, name: str, artifact: Artifact) -> str:
        model = self.client.create_logged_model(
            self.experiment,
            name=name,
            source_run_id=run_id,
            tags={"key": artifact.key, "digest": artifact.digest, "stage": artifact.stage},
            model_type="transformers",
        )
        local = self.store.fetch(artifact)
        self.client.log_model_artifacts(model.model_id, str(local.path(MODEL_FOLDER)))
        self.client.finalize_logged_model(model.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        self._model_of[artifact.key] = model.model_id
        return str(model.model_id)

    def _find_model(self, key: str) -> str | None:
        if key not in self._model_of:
            found = self.client.search_logged_models(
                [self.experiment], filter_string=f"tags.key = '{key}'", max_results=1
            )
            if not found:
                return None
            self._model_of[key] = found[0].model_id
        return self._model_of[key]

    def _register(self, name: str, artifact: Artifact) -> None:
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = self.client.search_model_versions(f"name = '{name}'")
        version = next((v for v in versions if v.tags.get("key") == artifact.key), None)
        if version is None:
            model_id = self._find_model(artifact.key)
            model = self.client.get_logged_model(model_id)
            version = self.client.create_model_version(
                name,
                source=model.artifact_location,
                run_id=model.source_run_id,
                model_id=model_id,
                tags={"key": artifact.key, "digest": artifact.digest},
                description=self._description(artifact),
            )
        if name == "assistant":
            self.client.set_registered_model_alias(name, CHAMPION, version.version)

    def _description(self, artifact: Artifact) -> str:
        lines = "\n".join(render_tree(lineage_tree(self.store, artifact)))
        return f"Content digest `{artifact.digest}`\n\n```\n{lines}\n```"


def _dataset(parent: Parent, artifact: Artifact | None) -> DatasetInput:
    counts = dict(artifact.counts) if artifact else {}
    source = f"{parent.stage}/{parent.key[:24]}" + (f"/{parent.shard}" if parent.shard else "")
    return DatasetInput(
        dataset=Dataset(
            name=f"{parent.stage}/{parent.shard}" if parent.shard else parent.stage,
            digest=parent.digest[:DIGEST_CHARACTERS],
            source_type="headwater",
            source=json.dumps({"artifact": source}),
            profile=json.dumps({"sha256": parent.digest, **counts}),
        ),
        tags=[InputTag("mlflow.data.context", parent.role), InputTag("sha256", parent.digest)],
    )


def _curve(artifact: Artifact, now: int) -> list[Metric]:
    """The training curve that a stage left beside its checkpoint."""
    path = artifact.directory / "provenance" / "metrics.jsonl"
    if not path.is_file():
        return []
    return [
        Metric(_metric_name(name), value, now, int(row["step"]))
        for row in read_jsonl(path)
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float)
    ]


def _group_digest(artifacts: Sequence[Artifact]) -> str:
    return fingerprint([[a.key, a.digest] for a in artifacts])


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows


def _metric_name(name: str) -> str:
    """MLflow's alphabet: letters, digits, ``_ - . / : space``."""
    return "".join(c if c.isalnum() or c in "_-./: " else "_" for c in name)
