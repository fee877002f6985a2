"""Stages that do next to nothing, so that what they cost is what orchestrating them costs."""

from pathlib import Path
from typing import Any

from pipeline_data.artifact import Counts
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime
from tasks.runner import Runner
from tasks.stage import Stage

NUM_STAGES = 5


class IndexConfig(Settings):
    """Which shard it is."""

    index: int
    """Its number."""


def count_on(config: IndexConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """One more than the stage before has written, or the shard's number."""
    before = inputs.optional("before")
    number = int(before.path("number.txt").read_text()) + 1 if before else config.index
    (out / "number.txt").write_text(str(number))
    return {"number": number}


STAGES = [Stage(f"count-{n}", f"{__name__}:count_on") for n in range(NUM_STAGES)]


def walk_shards(run: Runner, num_shards: int) -> dict[str, Any]:
    """Every shard through all stages; the last results by shard."""
    results: dict[str, Any] = {}
    for stage in STAGES:
        jobs = {
            f"{index:05d}": (IndexConfig(index=index), _inputs(results, f"{index:05d}"))
            for index in range(num_shards)
        }
        results = run.map(stage, jobs)
    return results


def _inputs(results: dict[str, Any], shard: str) -> dict[str, Any]:
    return {"before": results[shard]} if shard in results else {}
