"""Many small shards through the real flow: on which database, and how many to a task run."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Cell, Report, Table, Target, Usage, say
from bench.orchestration_overhead import run_json
from bench.servers import Server, clean_environment, open_postgres, open_server
from bench.small_stages import NUM_STAGES
from pipeline_data.errors import HeadwaterError

NUM_SHARDS = 1000
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
UNGROUPED, QUICK_UNGROUPED = (200, 1000, 2000), (200,)
"""Shards that get a task run each, in each stage."""
STALL_SECONDS = 30.0
"""After so long without another task run on record, no more are expected."""


@dataclass(frozen=True)
class ShardRun:
    """One flow run over many shards, and what its server says of it afterwards."""

    database: str
    num_shards: int
    num_task_runs: int
    num_results: int
    seconds: float
    usage: Usage
    server_seconds: float
    num_recorded: int
    late_seconds: float
    num_retries: int
    num_locked: int
    num_dropped: int
    num_errors: int

    @property
    def num_lost(self) -> int:
        return self.num_shards - self.num_results + self.num_task_runs - self.num_recorded


def measure_shards(scratch: Path, quick: bool) -> Report:
    """A server with a database of its own for each run, so that none has another's backlog."""
    plan: list[tuple[int, int | None]] = [(NUM_SHARDS, None)]
    plan += [(number, number) for number in (QUICK_UNGROUPED if quick else UNGROUPED)]
    notes = [
        "recorded late: seconds from the flow's end until the last task run was on record",
        "locked: 'database is locked' in the server's log; dropped: events thrown away because "
        "10,000 of them waited in the server's memory, which loses history with any database",
    ]
    runs: list[ShardRun] = []
    plain_usage = _run_plain(scratch / "plain")
    for number, (num_shards, max_task_runs) in enumerate(plan):
        for database in (SQLITE, POSTGRES):
            folder = scratch / f"{database}-{number}"
            grouping = "a task run each" if max_task_runs else "grouped as in any run"
            say(f"  {num_shards:,} shards, {grouping}, {database}")
            try:
                runs.append(run_shards(folder, database, num_shards, max_task_runs))
            except HeadwaterError as error:
                notes.append(f"{database}, {num_shards} shards: {error}")
    return report_shards(runs, plain_usage, notes)


def _run_plain(home: Path) -> Usage:
    command = [sys.executable, "-m", "bench.orchestration_runs", "plain-shards", str(NUM_SHARDS)]
    return run_json(command, clean_environment(home))[1]


def run_shards(folder: Path, database: str, num_shards: int, max_task_runs: int | None) -> ShardRun:
    """One flow run with a server and a database of its own.

    Raises:
        HeadwaterError: the database or the server cannot be had, or the flow failed.
    """
    with ExitStack() as stack:
        where = stack.enter_context(open_postgres()) if database == POSTGRES else (None, None)
        server = stack.enter_context(open_server(folder / "server", *where))
        before = server.settle()
        answer, usage = run_json(
            [sys.executable, "-m", "bench.orchestration_runs", "flow-shards",
             *(str(number) for number in (num_shards, max_task_runs) if number)],
            clean_environment(folder / "home", PREFECT_API_URL=server.url),
        )  # fmt: skip
        num_task_runs = answer["task_runs"]
        num_recorded, late_seconds = _wait_for_records(server, num_task_runs)
        errors = server.errors()
        return ShardRun(
            database=database,
            num_shards=num_shards,
            num_task_runs=num_task_runs,
            num_results=answer["results"],
            seconds=answer["seconds"],
            usage=usage,
            server_seconds=server.settle() - before,
            num_recorded=num_recorded,
            late_seconds=late_seconds,
            num_retries=answer["complaints"].get("requests tried again", 0),
            num_locked=errors["database is locked"],
            num_dropped=errors["events dropped"],
            num_errors=errors["other errors"] + answer["complaints"].get("errors", 0),
        )


def _wait_for_records(server: Server, num_task_runs: int) -> tuple[int, float]:
    """How many task runs are on record in the end, and when the last one came."""
    start = changed = time.monotonic()
    num_recorded = server.num_task_runs()
    while num_recorded < num_task_runs and time.monotonic() - changed < STALL_SECONDS:
        time.sleep(1.0)
        before, num_recorded = num_recorded, server.num_task_runs()
        if num_recorded != before:
            changed = time.monotonic()
    return num_recorded, changed - start


def report_shards(runs: Sequence[ShardRun], plain: Usage, notes: Sequence[str]) -> Report:
    """Errors and losses of the runs that share task runs are targets; the others say why."""
    grouped = [run for run in runs if run.num_shards > run.num_task_runs // NUM_STAGES]
    targets = []
    for run in grouped:
        of = f"{run.num_shards:,} x {NUM_STAGES} on {run.database}"
        num_errors = run.num_locked + run.num_dropped + run.num_errors
        targets += [
            Target(f"errors of Prefect's server, {of}", num_errors, 0, "lower"),
            Target(f"results and task runs lost, {of}", run.num_lost, 0, "lower"),
        ]
    rows = [_row(run) for run in runs]
    rows.append(_plain_row(plain))
    return Report(
        "shards",
        targets=targets,
        tables=[
            Table(
                f"Shards through {NUM_STAGES} small stages",
                (
                    "",
                    "task runs",
                    "seconds",
                    "recorded late",
                    "CPU seconds",
                    "of the server",
                    "lost",
                    "tried again",
                    "locked",
                    "dropped",
                    "other errors",
                ),
                rows,
            )
        ],
        notes=notes,
    )


def _row(run: ShardRun) -> list[Cell]:
    return [
        f"{run.database}, {run.num_shards:,} shards",
        run.num_task_runs,
        run.seconds,
        run.late_seconds,
        run.usage.cpu_seconds,
        run.server_seconds,
        run.num_task_runs - run.num_recorded,
        run.num_retries,
        run.num_locked,
        run.num_dropped,
        run.num_errors,
    ]


def _plain_row(usage: Usage) -> list[Cell]:
    name = f"plain functions, {NUM_SHARDS:,} shards"
    return [name, 0, usage.wall_seconds, "", usage.cpu_seconds, *[""] * 6]
