"""One run of the pipeline: what its tasks share, and what is told to whoever watches."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.errors import ArtifactError, HeadwaterError
from pipeline_data.faults import explain_fault
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Progress
from tasks.checkpoint_folders import checkpoint_folder
from tasks.claims import claim
from tasks.decision import Decision, explain_miss
from tasks.launch import Workers
from tasks.limits import NO_LIMITS, StageLimits
from tasks.machine import machine_facts
from tasks.observer import Observer, Position, log_path
from tasks.past_results import PastResults, Slot
from tasks.prefect_task import as_task, name_work
from tasks.progress_artifact import ProgressArtifact
from tasks.runner import Job as Asked
from tasks.runner import Runner
from tasks.selection import Selection
from tasks.stage import (
    Input,
    Ref,
    Refs,
    Result,
    Stage,
    Work,
    build_request,
    narrow,
    results_in,
    scope_config,
)
from tasks.store import Request, Store
from tasks.worker_process import Job

NOT_SELECTED = object()
"""Stands for the result of a stage that this run was not asked for."""
MAX_TASK_RUNS = 100
"""Most Prefect task runs of a stage; where there are more shards, several share one."""


class PipelineRun(Runner):
    """Walks the graph with Prefect: a task run for each stage result, or for some shards of it.

    Args:
        home: folder of this installation; logs go to ``home/logs/<run>``.
        past: what earlier runs of the recipe made, to say what differs.
        selection: stages to force.
        wanted: the results to ask for; ``None`` for all.
        limits: by stage, what one run of it may use.
        max_task_runs: most task runs of a stage.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        num_cores: int,
        past: PastResults | None = None,
        selection: Selection | None = None,
        wanted: frozenset[Slot] | None = None,
        limits: Mapping[str, StageLimits] | None = None,
        observers: Sequence[Observer] = (),
        max_task_runs: int = MAX_TASK_RUNS,
    ) -> None:
        self.name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.store = store
        self.home = home
        self.workers = Workers(num_cores)
        self.past = past or PastResults(store, {})
        self.selection = selection or Selection()
        self.wanted = wanted
        self.observers = observers
        self.max_task_runs = max_task_runs
        self.logs = home / "logs" / self.name
        self.limits = limits or {}
        self.decisions: dict[Slot, Decision] = {}
        self._futures: list[Any] = []
        self._optional: set[int] = set()
        self._needed: set[int] = set()
        for observer in observers:
            observer.opened(self.name, self.logs)

    @property
    def has_ended(self) -> bool:
        """Whether the run was closed, so that what its tasks meet since is no failure."""
        return self.workers.closed

    @property
    def num_task_runs(self) -> int:
        """How many task runs were submitted to Prefect."""
        return len(self._futures)

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Any:
        """Submit a stage to Prefect; returns its :class:`Result` to come."""
        if not self._is_wanted(stage, shard):
            return NOT_SELECTED
        return Result(self._submit(stage, [Work(config, dict(inputs or {}), shard)]), shard)

    def map(self, stage: Stage, jobs: Mapping[str, Asked]) -> dict[str, Any]:
        """Submit a stage for many shards, several to a task run where there are too many."""
        work = [
            Work(config, dict(inputs), shard)
            for shard, (config, inputs) in jobs.items()
            if self._is_wanted(stage, shard)
        ]
        results: dict[str, Any] = dict.fromkeys(jobs, NOT_SELECTED)
        size = -(-len(work) // self.max_task_runs)
        for start in range(0, len(work), max(1, size)):
            group = work[start : start + size]
            future = self._submit(stage, group)
            results |= {item.shard: Result(future, item.shard) for item in group if item.shard}
        return results

    def succeeded(self, result: Any) -> bool:
        """Wait for a result that the run can do without; whether it came.

        One that another stage was given is not one of those, whoever asks.
        """
        if result is NOT_SELECTED:
            return True
        self._optional.add(id(result.task))
        result.task.wait()
        return bool(result.task.state.is_completed())

    def skip(self, what: str, why: str) -> None:
        """Go on without something, and say so."""
        for observer in self.observers:
            observer.skipped(what, why)

    def wait(self) -> None:
        """Wait for everything that was submitted.

        Raises:
            HeadwaterError: of the first stage that failed by itself.
        """
        for future in self._futures:
            future.wait()
        dispensable = self._optional - self._needed
        for future in self._futures:
            failed = future.state.is_failed() or future.state.is_crashed()
            if failed and id(future) not in dispensable:
                future.state.result(raise_on_failure=True)

    def artifact(self, result: Result) -> Artifact:
        """What came of a stage, once its task has ended.

        Raises:
            ArtifactError: its record is gone.
        """
        return self._load(replace(result, task=result.task.result()).ref())

    def close(self) -> None:
        """End the worker processes, and the wait for what another run is making."""
        self.workers.close()

    def look_up(self, stage: Stage, work: Sequence[Work]) -> tuple[list[str], Refs | None]:
        """The keys of what a task is to make; and the results, if the store has all of them."""
        requests = [self._request(stage, item) for item in work]
        found: list[Artifact] = []
        for request in requests:
            forced = self.selection.forces(stage.name, request.shard)
            artifact = None if forced else self.store.find(request)
            if artifact is None:
                return [request.key for request in requests], None
            found.append(artifact)
        for artifact in found:
            self._reuse(artifact)
        return [request.key for request in requests], _refs(found)

    def make(self, stage: Stage, work: Sequence[Work], progress: ProgressArtifact) -> Refs:
        """The results of a task, each from the store or made in a worker.

        Raises:
            HeadwaterError: as a stage raised it.
        """
        try:
            return _refs([self._make(stage, item, progress) for item in work])
        except HeadwaterError:
            raise
        except Exception as error:
            fault = explain_fault(error, self.home)
            if fault is None:
                raise
            raise fault from error

    def _is_wanted(self, stage: Stage, shard: str | None) -> bool:
        wanted = self.wanted is None or (stage.name, shard) in self.wanted
        for observer in self.observers if wanted else ():
            observer.planned(stage.name, shard)
        return wanted

    def _submit(self, stage: Stage, work: Sequence[Work]) -> Any:
        results = (r for item in work for value in item.inputs.values() for r in results_in(value))
        self._needed.update(id(result.task) for result in results)
        forced = any(self.selection.forces(stage.name, item.shard) for item in work)
        task = as_task(stage, self).with_options(
            task_run_name=name_work(stage, work), refresh_cache=forced
        )
        future = task.submit(work)
        self._futures.append(future)
        return future

    def _make(self, stage: Stage, work: Work, progress: ProgressArtifact) -> Artifact:
        request = self._request(stage, work)
        with claim(self.store.claims, request.key, lambda: self.has_ended):
            forced = self.selection.forces(stage.name, work.shard)
            artifact = None if forced else self.store.find(request)
            if artifact is not None:
                progress.reuse()
                self._reuse(artifact)
                return artifact
            previous = self.past.artifact(stage.name, work.shard)
            reason = "forced" if forced else explain_miss(self.store, request, previous)
            decision = Decision(stage.name, work.shard, "run", reason)
            self._decide(decision)
            get_run_logger().info("%s: %s", work.shard or stage.name, reason)
            try:
                artifact = self._produce(stage, work, request, progress.of(work.shard))
            except Exception as error:
                known = isinstance(error, HeadwaterError)
                told = error if known else explain_fault(error, self.home) or error
                for observer in () if self.has_ended else self.observers:
                    observer.failed(stage.name, work.shard, told)
                raise
        progress.execute(work.shard)
        self._decide(_completed(decision, artifact))
        for observer in self.observers:
            observer.executed(stage.name, work.shard, artifact)
        return artifact

    def _produce(self, stage: Stage, work: Work, request: Request, progress: Progress) -> Artifact:
        roles = {role: narrow(value, self._open) for role, value in work.inputs.items()}
        config = self._scope(stage, work)
        checkpoints = checkpoint_folder(self.home, request)
        facts: dict[str, Any] = {"run": self.name, **machine_facts()}

        def write(out: Path) -> Counts:
            counts, seconds = self.workers.run(
                Job(
                    stage=stage.name,
                    function=stage.function,
                    config=config,
                    inputs=roles,
                    out=out,
                    log=log_path(self.logs, stage.name, request.shard),
                    threads=self.workers.cores.total if stage.all_cores else 1,
                    checkpoints=checkpoints,
                    limits=self.limits.get(stage.name, NO_LIMITS),
                ),
                lambda: self._tell_started(stage, request.shard),
                self._progress(stage, request.shard, progress),
            )
            facts.update(seconds)
            facts["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            return counts

        self.store.clear_attempts(request)
        artifact = self.store.produce(request, write, facts)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return artifact

    def _reuse(self, artifact: Artifact) -> None:
        row = self.past.rows.get((artifact.stage, artifact.shard))
        same = row is None or row.key == artifact.key
        reason = "unchanged" if same else "the store has it from an earlier run"
        decision = Decision(artifact.stage, artifact.shard, "reuse", reason)
        self._decide(_completed(decision, artifact))
        for observer in self.observers:
            observer.reused(artifact.stage, artifact.shard, artifact)

    def _decide(self, decision: Decision) -> None:
        self.decisions[decision.stage, decision.shard] = decision

    def _request(self, stage: Stage, work: Work) -> Request:
        roles = {role: narrow(value, self._load) for role, value in work.inputs.items()}
        return build_request(stage, self._scope(stage, work), roles, work.shard)

    def _scope(self, stage: Stage, work: Work) -> Settings:
        def open_input(role: str) -> Artifact:
            artifact = narrow(work.inputs[role], self._open)
            assert isinstance(artifact, Artifact)
            return artifact

        return scope_config(stage, work.config, open_input)

    def _load(self, ref: Ref) -> Artifact:
        artifact = self.store.load(ref.stage, ref.key)
        if artifact is None:
            raise ArtifactError(f"the record of {ref.stage} is gone from the store: run again")
        return artifact

    def _open(self, ref: Ref) -> Artifact:
        return self.store.fetch(self._load(ref))

    def _tell_started(self, stage: Stage, shard: str | None) -> None:
        for observer in self.observers:
            observer.started(stage.name, shard)

    def _progress(self, stage: Stage, shard: str | None, progress: Progress) -> Progress:
        def report(
            done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
        ) -> None:
            progress(done, total, unit, metrics)
            position = Position(done, total, unit, metrics or {})
            for observer in self.observers:
                observer.progressed(stage.name, shard, position)

        return report


def _completed(decision: Decision, artifact: Artifact) -> Decision:
    return replace(decision, key=artifact.key, seconds=artifact.facts.get("seconds"))


def _refs(artifacts: Sequence[Artifact]) -> Refs:
    return Refs(shards={a.shard or "": Ref(stage=a.stage, key=a.key) for a in artifacts})
