"""The flows' graph in this process, one stage after another: no Prefect, no worker processes."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime
from tasks.machine import machine_facts
from tasks.runner import Runner
from tasks.stage import Input, Ref, Stage, build_request, narrow, scope_config
from tasks.store import Store
from tasks.worker import import_name


@dataclass
class DirectRun(Runner):
    """Calls stage functions as plain functions; results are artefacts at once, same as ever."""

    store: Store
    executed: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    results: list[Artifact] = field(default_factory=list)
    """In the order they were asked for."""

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Artifact:
        """The artefact of a stage, from the store or made here."""
        roles = {role: narrow(value, _load) for role, value in (inputs or {}).items()}
        scoped = scope_config(stage, config, Inputs(roles).one)
        request = build_request(stage, scoped, roles, shard)
        artifact = self.store.find(request)
        if artifact is None:
            run = import_name(stage.function)
            facts: dict[str, Any] = dict(machine_facts())

            def write(out: Path) -> Counts:
                started = time.monotonic()
                counts: Counts = run(scoped, Inputs(roles), out, Runtime())
                facts["seconds"] = round(time.monotonic() - started, 3)
                facts["created"] = datetime.now(UTC).isoformat(timespec="seconds")
                return counts

            artifact = self.store.produce(request, write, facts)
            self.executed[stage.name] += 1
        self.results.append(artifact)
        return artifact

    def skip(self, what: str, why: str) -> None:
        """Keep the note."""
        self.skipped.append(f"{what}: {why}")


def _load(ref: Ref) -> Artifact:
    raise AssertionError(f"{ref} stands for an artefact that is here")
