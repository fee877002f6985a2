"""A run of the default recipe that has nothing to do: how long, and where the time goes."""

import json
import sqlite3
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Report, Table, Target, Usage, interleave, say
from bench.orchestration_overhead import run_json
from bench.servers import clean_environment, open_server
from pipeline_data.errors import HeadwaterError

RECIPE = "default"
NUM_RUNS, NUM_QUICK_RUNS = 5, 3
SERVER_GOAL, ALONE_GOAL = 15.0, 30.0
SERVER, ALONE, FIRST = "server running", "no server", "no server, first time in a home"
BRIEF_TRAINING = (
    "pretrain.steps=20",
    "sft.steps=10",
    "ppo.iterations=2",
    "practice.steps=2",
    "practice.samples=2",
    "practice.anchors=20",
    "evaluate.max_documents=20",
    "evaluate.bootstrap=100",
)
"""Makes other models of the same corpus, so as many stage results, in a fraction of the time."""


@dataclass(frozen=True)
class CachedRun:
    """One run from the start of its process to its end."""

    usage: Usage
    num_stage_results: int
    num_recorded: int | None = None
    """Task runs that the temporary server has written down; not known of another."""


def measure_cached(scratch: Path, home: Path, quick: bool) -> Report:
    """Runs with and without a server in turn, then one of each under a sampling profiler."""
    overrides = BRIEF_TRAINING if quick else ()
    command = _command(overrides)
    say(f"  making what is missing of recipe {RECIPE} in {home}")
    run_json(command, clean_environment(home))
    num_runs = NUM_QUICK_RUNS if quick else NUM_RUNS
    with open_server(scratch / "server") as server:
        beside = clean_environment(home, PREFECT_API_URL=server.url)
        rivals: dict[str, Callable[[int], CachedRun]] = {
            SERVER: lambda _: _run(command, beside),
            ALONE: lambda _: _run_alone(command, home, home / "prefect"),
        }
        rounds = list(interleave(rivals, range(num_runs)))
        phases = {SERVER: _profile(overrides, beside, scratch / "beside.json")}
    phases[ALONE] = _profile(overrides, clean_environment(home), scratch / "alone.json")
    runs = {name: [found[name] for found in rounds] for name in rivals}
    runs[FIRST] = [_run_alone(command, home, scratch / "prefect")]
    return _report(runs, phases, quick)


def _command(overrides: Sequence[str]) -> list[str]:
    settings = [part for override in overrides for part in ("--set", override)]
    return [sys.executable, "-m", "flows.cli", "run", RECIPE, *settings, "--json"]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> CachedRun:
    record, usage = run_json(command, environment)
    if record["executed"]:
        raise HeadwaterError(f"{record['executed']} stage results were made: not a cached run")
    return CachedRun(usage, record["cached"])


def _run_alone(command: Sequence[str], home: Path, prefect_home: Path) -> CachedRun:
    found = _run(command, clean_environment(home, PREFECT_HOME=str(prefect_home)))
    return CachedRun(found.usage, found.num_stage_results, _num_recorded(prefect_home))


def _num_recorded(prefect_home: Path) -> int:
    """Task runs of the last flow run that Prefect's database has as completed."""
    query = """
        SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED' AND flow_run_id =
        (SELECT id FROM flow_run ORDER BY created DESC LIMIT 1)
    """
    with closing(sqlite3.connect(prefect_home / "prefect.db")) as database:
        return int(database.execute(query).fetchone()[0])


def _profile(
    overrides: Sequence[str], environment: Mapping[str, str], out: Path
) -> dict[str, float]:
    """Seconds by phase of one run, from the main thread's stack every few milliseconds."""
    command = _command(overrides)
    profiled = [*command[:2], "bench.run_phases", str(out), *command[3:]]
    _, usage = run_json(profiled, environment)
    phases: dict[str, float] = json.loads(out.read_text())
    phases["start and end of Python"] = usage.wall_seconds - sum(phases.values())
    return phases


def _report(
    runs: Mapping[str, Sequence[CachedRun]],
    phases: Mapping[str, Mapping[str, float]],
    quick: bool,
) -> Report:
    medians = {name: _median_wall(found) for name, found in runs.items()}
    lost = [
        run.num_stage_results - run.num_recorded
        for found in runs.values()
        for run in found
        if run.num_recorded is not None
    ]
    names = sorted(
        {phase for found in phases.values() for phase in found},
        key=lambda phase: -sum(found.get(phase, 0.0) for found in phases.values()),
    )
    return Report(
        "cached",
        targets=[
            Target(f"seconds of a cached run, {SERVER}", medians[SERVER], SERVER_GOAL, "lower"),
            Target(f"seconds of a cached run, {ALONE}", medians[ALONE], ALONE_GOAL, "lower"),
            Target("task runs a temporary server lost", max(lost), 0, "lower"),
        ],
        tables=[
            Table(
                f"Cached runs of recipe {RECIPE}, {runs[SERVER][0].num_stage_results} results",
                ("", "runs", "least seconds", "median seconds", "CPU seconds"),
                [_row(name, found) for name, found in runs.items()],
            ),
            Table(
                "Where the main thread's seconds go, one run each",
                ("", *phases),
                [[p, *(round(found.get(p, 0.0), 2) for found in phases.values())] for p in names],
            ),
        ],
        notes=[
            *(["the models were trained for a few steps only"] if quick else []),
            "CPU seconds are those of the run's process, and of the temporary server it starts",
        ],
    )


def _median_wall(runs: Sequence[CachedRun]) -> float:
    return statistics.median(run.usage.wall_seconds for run in runs)


def _row(name: str, runs: Sequence[CachedRun]) -> list[str | float]:
    return [
        name,
        len(runs),
        min(run.usage.wall_seconds for run in runs),
        _median_wall(runs),
        statistics.median(run.usage.cpu_seconds for run in runs),
    ]
