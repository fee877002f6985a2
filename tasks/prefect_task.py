"""Makes a Prefect task of any stage: the only ``@task`` of the project."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from prefect import Task, task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import get_result_store
from prefect.states import Cancelled
from prefect.tasks import exponential_backoff
from prefect.transactions import get_transaction

from pipeline_data.faults import is_transient
from pipeline_data.settings import fingerprint
from tasks.progress_artifact import ProgressArtifact
from tasks.stage import Refs, Stage, Work


class TaskRunner(Protocol):
    """What a task needs of the run it is part of."""

    @property
    def has_ended(self) -> bool: ...

    def look_up(self, stage: Stage, work: Sequence[Work]) -> tuple[list[str], Refs | None]: ...

    def make(self, stage: Stage, work: Sequence[Work], progress: ProgressArtifact) -> Refs: ...


@dataclass
class StoreDecides(CachePolicy):
    """Makes Prefect's cache say what the store says.

    The key is made of the artefacts'. Before Prefect looks, the result record is written when the
    store has all of them sound, and dropped when it has not, so that a hit is always a
    checked one and Prefect's own records can be lost without harm.
    """

    stage: Stage = field(kw_only=True)
    run: TaskRunner = field(kw_only=True)

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        keys, refs = self.run.look_up(self.stage, inputs["work"])
        key = keys[0] if len(keys) == 1 else fingerprint(keys)
        results = get_result_store()
        if refs is None:
            self._forget(results, key)
        else:
            results.write(key=key, obj=refs)
        return key

    @staticmethod
    def _forget(results: Any, key: str) -> None:
        if results.exists(key):
            path = results._resolved_key_path(key)
            storage = results.metadata_storage or results.result_storage
            storage._resolve_path(path).unlink(missing_ok=True)


def as_task(stage: Stage, run: TaskRunner) -> "Task[..., Refs]":
    """The Prefect task of a stage within one pipeline run; it makes the results of some shards."""

    @task(
        name=stage.name,
        version=str(stage.version),
        cache_policy=StoreDecides(stage=stage, run=run),
        cache_result_in_memory=False,
        persist_result=True,
        result_serializer="json",
        retries=stage.retries,
        retry_delay_seconds=exponential_backoff(backoff_factor=stage.retry_seconds),
        retry_jitter_factor=0.5,
        retry_condition_fn=_may_pass,
    )
    def produce(work: Sequence[Work]) -> Refs:
        try:
            with ProgressArtifact(name_work(stage, work), len(work)) as progress:
                return run.make(stage, work, progress)
        except BaseException:
            if not run.has_ended:
                raise
            transaction = get_transaction()
            assert transaction
            transaction.write_on_commit = False  # a cancelled task has nothing to cache
            return cast(Refs, Cancelled(message="the run was ended"))

    return produce


def name_work(stage: Stage, work: Sequence[Work]) -> str:
    """What a task run is called: its stage and shards."""
    first, last = work[0].shard, work[-1].shard
    if first is None:
        return stage.name
    shards = first if len(work) == 1 else f"{first} to {last} ({len(work)} shards)"
    return f"{stage.name} {shards}"


def _may_pass(task: "Task[..., Any]", task_run: TaskRun, state: State) -> bool:
    return is_transient(state.result(raise_on_failure=False))
