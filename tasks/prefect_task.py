"""Makes a Prefect task of any stage: the only ``@task`` of the project."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import get_result_store
from prefect.tasks import exponential_backoff

from pipeline_data.errors import TransientError
from pipeline_data.settings import Settings
from tasks.stage import Input, Ref, Stage

if TYPE_CHECKING:
    from tasks.run import PipelineRun


@dataclass
class StoreDecides(CachePolicy):
    """Makes Prefect's cache say what the store says.

    The key is the artefact's. Before Prefect looks, the result record is written when the store
    has the artefact sound, and dropped when it has not, so that a hit is always a
    checked one and Prefect's own records can be lost without harm.
    """

    stage: Stage = field(kw_only=True)
    run: "PipelineRun" = field(kw_only=True)

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


def as_task(stage: Stage, run: "PipelineRun") -> "Task[..., Ref]":
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
        artifact = run.execute(stage, config, inputs, shard)
        return Ref(stage=artifact.stage, key=artifact.key)

    return produce


def _is_transient(task: "Task[..., Any]", task_run: TaskRun, state: State) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError)
