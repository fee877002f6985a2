"""The same stages as plain functions and as a flow: CPU seconds of each."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.measure import Report, Table, Target, Usage, interleave, measure, ratio, say
from bench.servers import ROOT, Server, clean_environment, open_server
from pipeline_data.errors import HeadwaterError
from tasks.worker_process import worker_environment

RECIPE = "smoke"
STEPS, QUICK_STEPS = 3000, 600
"""Of pretraining: what makes the recipe last."""
NUM_ROUNDS, NUM_QUICK_ROUNDS = 3, 2
GOAL = 5.0
PLAIN, FLOW = "plain functions", "flow"
KINDS = {
    "all stages": ("whole", "whole"),
    "all cached": ("whole", "whole"),
    "one stage": ("one", "one"),
    "no stages": ("none", "none"),
}
"""What is measured of a rival: the graph, and the home it works in."""


@dataclass(frozen=True)
class Round:
    """One rival's runs, each kind once."""

    usages: Mapping[str, Usage]
    server_seconds: Mapping[str, float]
    digest: str

    def cpu_seconds(self, kind: str) -> float:
        return self.usages[kind].cpu_seconds


def measure_overhead(scratch: Path, quick: bool) -> Report:
    """Interleaved rounds of both, with one server for all flow runs."""
    overrides = [f"pretrain.steps={QUICK_STEPS if quick else STEPS}", "compute.cores=1"]
    num_rounds = NUM_QUICK_ROUNDS if quick else NUM_ROUNDS
    with open_server(scratch / "server") as server:
        one_thread = worker_environment(1)
        with_server = {"PREFECT_API_URL": server.url}
        rivals: dict[str, Callable[[int], Round]] = {
            PLAIN: lambda n: _run("plain", scratch / f"plain-{n}", overrides, one_thread, server),
            FLOW: lambda n: _run("flow", scratch / f"flow-{n}", overrides, with_server, server),
        }
        rounds = list(interleave(rivals, range(num_rounds)))
    return report_overhead([found[PLAIN] for found in rounds], [found[FLOW] for found in rounds])


def _run(
    rival: str, home: Path, overrides: Sequence[str], settings: Mapping[str, str], server: Server
) -> Round:
    answers, usages, server_seconds = {}, {}, {}
    for kind, (graph, folder) in KINDS.items():
        environment = clean_environment(home / folder, **settings)
        module = [sys.executable, "-m", "bench.orchestration_runs", rival, graph]
        before = server.settle()
        answers[kind], usages[kind] = run_json([*module, RECIPE, *overrides], environment)
        server_seconds[kind] = server.settle() - before
    return Round(usages, server_seconds, answers["all stages"]["model_digest"])


def run_json(
    command: Sequence[str], environment: Mapping[str, str]
) -> tuple[dict[str, Any], Usage]:
    """What a program answers, and what it and its workers took.

    Raises:
        HeadwaterError: it failed.
    """
    say("  " + " ".join(part for part in command[2:8] if not part.startswith("/")))
    done, usage = measure(
        lambda: subprocess.run(
            command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )
    )  # fmt: skip
    if done.returncode:
        raise HeadwaterError(f"{' '.join(command[1:])} failed: {done.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer, usage


def report_overhead(plain: Sequence[Round], flow: Sequence[Round]) -> Report:
    """The flow's CPU seconds beyond the plain functions', by what counts as start-up."""
    work = [found.cpu_seconds("all stages") for found in plain]
    rows: list[list[str | float]] = []
    overheads = {}
    for how, kind in {
        "nothing taken off": None,
        "start-up: a flow run without stages": "no stages",
        "start-up: a flow run of one stage": "one stage",
        "start-up: everything cached": "all cached",
    }.items():
        fixed = 0.0
        if kind:
            fixed = fmean(found.cpu_seconds(kind) for found in flow) - fmean(
                found.cpu_seconds(kind) for found in plain
            )
        extra = [f.cpu_seconds("all stages") - w - fixed for f, w in zip(flow, work, strict=True)]
        share = ratio(extra, work)
        overheads[kind] = 100 * share.value
        rows.append([how, fixed, 100 * share.value, 100 * share.low, 100 * share.high])
    different = len({found.digest for found in (*plain, *flow)}) - 1
    return Report(
        "overhead",
        targets=[
            Target("overhead beyond the start-up, %", overheads["one stage"], GOAL, "lower"),
            Target("other results than plain functions", different, 0, "lower"),
        ],
        tables=[
            _table_of_seconds(plain, flow),
            Table(
                "Overhead of the flow, % of the plain functions' CPU seconds",
                ("what is taken off", "CPU seconds", "overhead", "lowest round", "highest"),
                rows,
            ),
        ],
        notes=[
            "the flow's CPU seconds are those of its process and its workers; the server's apart",
        ],
    )


def _table_of_seconds(plain: Sequence[Round], flow: Sequence[Round]) -> Table:
    rows: list[list[str | float]] = []
    for name, rounds in {PLAIN: plain, FLOW: flow}.items():
        rows.append([name, *(fmean(r.cpu_seconds(kind) for r in rounds) for kind in KINDS)])
    rows.append(["flow's server", *(fmean(r.server_seconds[kind] for r in flow) for kind in KINDS)])
    for name, rounds in {PLAIN: plain, FLOW: flow}.items():
        walls = (fmean(r.usages[kind].wall_seconds for r in rounds) for kind in KINDS)
        rows.append([f"{name}, wall", *walls])
    title = f"CPU seconds on one core, recipe {RECIPE}, mean of {len(plain)} rounds"
    return Table(title, ("", *KINDS), rows)
