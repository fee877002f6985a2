"""The runs that ``orchestration.py`` measures, each in a process of its own.

    python -m bench.orchestration_runs plain GRAPH RECIPE [KEY=VALUE...]   as plain functions
    python -m bench.orchestration_runs flow GRAPH RECIPE [KEY=VALUE...]    as a flow
    python -m bench.orchestration_runs plain-shards SHARDS
    python -m bench.orchestration_runs flow-shards SHARDS [TASK_RUNS]      at most so many a stage

GRAPH is ``whole``, ``one`` for a single stage, or ``none`` for no stage at all.
What a run has to say it prints as one JSON object. The environment says where: ``HEADWATER_HOME``
and, for a flow, ``PREFECT_API_URL``.
"""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bench.measure import num_cores
from bench.small_stages import walk_shards
from flows.home import open_home
from tasks.runner import Runner

Answer = Mapping[str, Any]


def run_plain(graph: str, recipe: str, *overrides: str) -> Answer:
    """A graph as plain functions."""
    from flows.recipe import load_recipe
    from tasks.direct_run import DirectRun

    run = DirectRun(open_home().open_store())
    products = _find_graph(graph)(run, load_recipe(recipe, overrides))
    assistant = products.models.get("assistant")
    return {"model_digest": assistant and assistant.digest, "executed": run.executed.total()}


def run_flow(graph: str, recipe: str, *overrides: str) -> Answer:
    """A graph as a flow."""
    home = open_home()
    from prefect import flow

    from flows.recipe import load_recipe
    from flows.run_record import last_record
    from flows.session import Order, run_graph
    from tasks.selection import Selection

    order = Order(load_recipe(recipe, overrides), Selection(), dry_run=False, given={})

    @flow(name=graph)
    def walk() -> Any:
        return run_graph(_find_graph(graph), order)

    walk()
    return last_record(home.runs)


def _find_graph(name: str) -> Any:
    from flows.graphs import Products, whole
    from tasks.stages import STAGES

    def ask_for_one(run: Runner, recipe: Any) -> Products:
        run.submit(STAGES["curriculum"], recipe.curriculum)
        return Products()

    return {"whole": whole, "one": ask_for_one, "none": lambda run, recipe: Products()}[name]


def run_plain_shards(num_shards: str) -> Answer:
    """Shards through the toy stages as plain functions."""
    from tasks.direct_run import DirectRun

    results = walk_shards(DirectRun(open_home().open_store()), int(num_shards))
    return {"results": len(results)}


def run_flow_shards(num_shards: str, max_task_runs: str | None = None) -> Answer:
    """Shards through the toy stages as a flow."""
    home = open_home()
    from prefect import flow

    from flows.pipeline import RUNNER
    from tasks.run import MAX_TASK_RUNS, PipelineRun

    complaints = _Complaints()
    run = PipelineRun(
        home.open_store(), home.path, num_cores(), max_task_runs=int(max_task_runs or MAX_TASK_RUNS)
    )

    @flow(name="shards", task_runner=RUNNER)
    def shards() -> tuple[int, int]:
        results = walk_shards(run, int(num_shards))
        run.wait()
        artifacts = {run.artifact(result).key for result in results.values()}
        return len(artifacts), run.num_task_runs

    start = time.perf_counter()
    try:
        num_results, num_task_runs = shards()
    finally:
        run.close()
    return {
        "results": num_results,
        "task_runs": num_task_runs,
        "seconds": time.perf_counter() - start,
        "complaints": complaints.counts,
    }


class _Complaints(logging.Handler):
    """Counts what Prefect's client logs when its server turns requests away."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        for name in ("prefect", "prefect.client"):
            logging.getLogger(name).addHandler(self)
        logging.getLogger("prefect.client").setLevel(logging.DEBUG)  # where retries are told

    def emit(self, record: logging.LogRecord) -> None:
        if "retryable" in record.getMessage():
            self.counts["requests tried again"] += 1
        elif record.levelno >= logging.ERROR:
            self.counts["errors"] += 1


RUNS: Mapping[str, Callable[..., Answer]] = {
    "plain": run_plain,
    "flow": run_flow,
    "plain-shards": run_plain_shards,
    "flow-shards": run_flow_shards,
}

if __name__ == "__main__":
    print(json.dumps(RUNS[sys.argv[1]](*sys.argv[2:])))
