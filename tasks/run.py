"""One run of the pipeline: what its tasks share, and what is told to whoever watches."""

import os
import platform
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import Settings
from pipeline_data.sources import RawFile, list_raw_files
from pipeline_data.sources.settings import FilesSource
from pipeline_data.stage_run import Progress, silent
from tasks.launch import Job, RoleArtifacts, Workers
from tasks.observer import Observer
from tasks.prefect_task import as_task
from tasks.stage import Input, Ref, Stage, build_request, futures_in, narrow, scope_config
from tasks.store import Request, Store


class PipelineRun:
    """Store, workers, forced stages and observers of one run.

    Args:
        home: folder of this installation; logs go to ``home/logs/<run>``.
        force: names of stages that run even when the store has their result.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        num_cores: int,
        force: Sequence[str] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.store = store
        self.workers = Workers(num_cores)
        self.observers = observers
        self.logs = home / "logs" / self.name
        self.force = frozenset(force)
        self._futures: list[Any] = []
        self._optional: set[int] = set()
        self._needed: set[int] = set()

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Any:
        """Submit a stage to Prefect; returns the future of its :class:`Ref`."""
        for observer in self.observers:
            observer.planned(stage.name, shard)
        self._needed.update(id(f) for value in (inputs or {}).values() for f in futures_in(value))
        name = f"{stage.name} {shard}" if shard else stage.name
        task = as_task(stage, self).with_options(
            task_run_name=name, refresh_cache=self.is_forced(stage)
        )
        future = task.submit(config, dict(inputs or {}), shard)
        self._futures.append(future)
        return future

    def list_files(self, source: FilesSource) -> list[RawFile]:
        """The raw files of a source, as they are now."""
        return list_raw_files(source)

    def adopt(self, file: RawFile) -> Artifact:
        """A raw file that lies where its owner put it, as an artefact."""
        return self.store.adopt(Path(file.path), file.relative)

    def adopt_folder(self, folder: str, only: Sequence[str] = ()) -> Artifact:
        """The files of a folder that lies where its owner put it, as one artefact."""
        return self.store.adopt_folder(Path(folder), only)

    def succeeded(self, future: Any) -> bool:
        """Wait for a task that the run can do without; whether it came to a result.

        A task whose result another one was given is not one of those, whoever asks.
        """
        self._optional.add(id(future))
        future.wait()
        return bool(future.state.is_completed())

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

    def is_forced(self, stage: Stage) -> bool:
        """Whether the user asked for this stage to run in any case."""
        return stage.name in self.force

    def request(
        self, stage: Stage, config: Settings, inputs: Mapping[str, Input], shard: str | None
    ) -> Request:
        """What a stage is asked for, its inputs being resolved references."""
        roles = {role: narrow(value, self.load) for role, value in inputs.items()}
        return build_request(stage, self._scope(stage, config, inputs), roles, shard)

    def reused(self, stage: Stage, shard: str | None, artifact: Artifact) -> None:
        """Tell the observers of a hit."""
        for observer in self.observers:
            observer.reused(stage.name, shard, artifact)

    def execute(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input],
        shard: str | None,
        progress: Progress = silent,
    ) -> Artifact:
        """Run a stage function in a worker and commit what it made; ``progress`` hears of it too.

        Raises:
            HeadwaterError: as the stage raised it.
        """
        roles = {role: narrow(value, self._open) for role, value in inputs.items()}
        config = self._scope(stage, config, inputs)
        request = build_request(stage, config, roles, shard)
        try:
            artifact = self._produce(stage, config, roles, request, progress)
        except BaseException as error:
            for observer in self.observers:
                observer.failed(stage.name, shard, error)
            raise
        for observer in self.observers:
            observer.executed(stage.name, shard, artifact)
        return artifact

    def load(self, ref: Ref) -> Artifact:
        """The artefact behind a task's result.

        Raises:
            ArtifactError: its record is gone.
        """
        artifact = self.store.load(ref.stage, ref.key)
        if artifact is None:
            raise ArtifactError(f"the record of {ref.stage} is gone from the store: run again")
        return artifact

    def _open(self, ref: Ref) -> Artifact:
        return self.store.fetch(self.load(ref))

    def _scope(self, stage: Stage, config: Settings, inputs: Mapping[str, Input]) -> Settings:
        def open_input(role: str) -> Artifact:
            artifact = narrow(inputs[role], self._open)
            assert isinstance(artifact, Artifact)
            return artifact

        return scope_config(stage, config, open_input)

    def close(self) -> None:
        """End the worker processes."""
        self.workers.close()

    def _produce(
        self,
        stage: Stage,
        config: Settings,
        roles: RoleArtifacts,
        request: Request,
        progress: Progress,
    ) -> Artifact:
        facts: dict[str, Any] = {"run": self.name, **machine_facts()}

        def write(out: Path) -> Counts:
            job = Job(
                function=stage.function,
                config=config,
                inputs=roles,
                out=out,
                log=self.logs / f"{stage.name}{'-' + request.shard if request.shard else ''}.log",
                threads=self.workers.cores.total if stage.all_cores else 1,
            )
            counts, seconds = self.workers.run(
                job,
                lambda: self._tell_started(stage, request.shard),
                self._progress(stage, request.shard, progress),
            )
            facts.update(seconds)
            facts["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            return counts

        return self.store.produce(request, write, facts)

    def _tell_started(self, stage: Stage, shard: str | None) -> None:
        for observer in self.observers:
            observer.started(stage.name, shard)

    def _progress(self, stage: Stage, shard: str | None, progress: Progress) -> Progress:
        def report(
            done: int, total: int | None, unit: str, metrics: Mapping[str, float] | None = None
        ) -> None:
            progress(done, total, unit, metrics)
            for observer in self.observers:
                observer.progressed(stage.name, shard, done, total, unit, metrics or {})

        return report


@cache
def machine_facts() -> dict[str, Any]:
    """What made a result besides its inputs: code, machine, cores."""
    return {
        "commit": _code_commit(),
        "machine": platform.platform(),
        "cores": os.cpu_count() or 1,
    }


def _code_commit() -> str:
    """The commit of the code that runs, with ``+dirty`` when it was changed; or ``unknown``."""
    root = Path(__file__).resolve().parent.parent
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+dirty" if changes else commit
