"""Makes a Prefect task of any stage: the only ``@task`` of the project."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from uuid import UUID

from prefect import Task, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import get_result_store
from prefect.tasks import exponential_backoff

from pipeline_data.artifact import Artifact
from pipeline_data.errors import TransientError
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Progress
from tasks.stage import Input, Ref, Stage
from tasks.store import Request, Store

PROGRESS_SECONDS = 4.0


class Runner(Protocol):
    """What a task needs of the run it is part of."""

    store: Store

    def request(
        self, stage: Stage, config: Settings, inputs: Mapping[str, Input], shard: str | None
    ) -> Request: ...

    def is_forced(self, stage: Stage) -> bool: ...

    def reused(self, stage: Stage, shard: str | None, artifact: Artifact) -> None: ...

    def execute(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input],
        shard: str | None,
        progress: Progress,
    ) -> Artifact: ...


@dataclass
class StoreDecides(CachePolicy):
    """Makes Prefect's cache say what the store says.

    The key is the artefact's. Before Prefect looks, the result record is written when the store
    has the artefact sound, and dropped when it has not, so that a hit is always a
    checked one and Prefect's own records can be lost without harm.
    """

    stage: Stage = field(kw_only=True)
    run: Runner = field(kw_only=True)

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        request = self.run.request(self.stage, inputs["config"], inputs["inputs"], inputs["shard"])
        results = get_result_store()
        artifact = None if self.run.is_forced(self.stage) else self.run.store.find(request)
        if artifact is None:
            self._forget(results, request.key)
        else:
            self.run.reused(self.stage, request.shard, artifact)
            results.write(key=request.key, obj=Ref(stage=request.stage, key=request.key))
        return request.key

    @staticmethod
    def _forget(results: Any, key: str) -> None:
        if results.exists(key):
            path = results._resolved_key_path(key)
            storage = results.metadata_storage or results.result_storage
            storage._resolve_path(path).unlink(missing_ok=True)


class ProgressArtifact:
    """Shows the progress of a stage that lasts some seconds on the page of its run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._artifact: UUID | None = None
        self._due = time.monotonic() + PROGRESS_SECONDS

    def __call__(
        self, done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Create or move the artifact, every few seconds at most."""
        now = time.monotonic()
        if total is None or now < self._due:
            return
        self._due = now + PROGRESS_SECONDS
        percent = min(100.0, 100.0 * done / max(1, total))
        shown = "".join(f", {name} {value:.3g}" for name, value in (metrics or {}).items())
        text = f"{self.name}: {done:,}/{total:,} {unit}{shown}"
        if self._artifact is None:
            created = create_progress_artifact(progress=percent, description=text)
            self._artifact = cast(UUID, created)
        else:
            update_progress_artifact(self._artifact, progress=percent, description=text)


def as_task(stage: Stage, run: Runner) -> "Task[..., Ref]":
    """The Prefect task of a stage within one pipeline run."""

    @task(
        name=stage.name,
        version=str(stage.version),
        cache_policy=StoreDecides(stage=stage, run=run),
        cache_result_in_memory=False,
        persist_result=True,
        result_serializer="json",
        retries=stage.retries,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_jitter_factor=0.5,
        retry_condition_fn=_is_transient,
    )
    def produce(config: Settings, inputs: Mapping[str, Input], shard: str | None) -> Ref:
        progress = ProgressArtifact(f"{stage.name} {shard}" if shard else stage.name)
        artifact = run.execute(stage, config, inputs, shard, progress)
        return Ref(stage=artifact.stage, key=artifact.key)

    return produce


def _is_transient(task: "Task[..., Any]", task_run: TaskRun, state: State) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError)
