"""What orchestration costs: the real flow against plain functions, cached runs, many shards.

    python bench/orchestration.py [--quick] [--json] [--parts overhead cached shards]

- ``overhead``: one recipe, its stages called as plain functions in one process, and as the flow
  with its workers and a Prefect server; both on one core, from nothing, in turn. CPU seconds are
  compared, of the worker processes too; the server's are told apart. The start-up, which does not
  grow with the work, is taken to be what a flow run of a single stage costs more than that
  stage: it imports all there is, makes MLflow's database and starts a worker. What a flow
  run without stages costs, and one that finds everything in the store, is shown as well.
- ``cached``: ``headwater run`` of the default recipe when nothing is left to do, from the start of
  the process to its end, with a server and without; and where that time goes.
- ``shards``: a thousand shards through five stages that do next to nothing, on SQLite and on
  PostgreSQL, with many shards to a task run and with one: time, errors, and whether Prefect
  has every task run on record. PostgreSQL is started for it where its programs are installed.

Every run works in a fresh process. The first ``cached`` makes the default recipe (in the
benchmark's own home, where the next one finds it); with ``--quick`` its models are trained for
a few steps, which changes nothing of what a cached run has to look at.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs as a file, too

from bench.measure import Report, default_cache, parse_arguments, print_report, say
from bench.orchestration_cached import measure_cached
from bench.orchestration_overhead import measure_overhead
from bench.orchestration_shards import measure_shards
from pipeline_data.errors import HeadwaterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for and print what they found; 1 if one could not run."""
    options = _parse(arguments)
    reports, failures = [], []
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as scratch:
        for name in options.parts:
            say(f"measuring {name}")
            try:
                reports.append(PARTS[name](options, Path(scratch) / name))
            except HeadwaterError as error:
                failures.append(f"{name} could not be measured: {error}")
        report = Report(
            "orchestration",
            targets=[target for report in reports for target in report.targets],
            tables=[table for report in reports for table in report.tables],
            notes=[*failures, *(note for report in reports for note in report.notes)],
        )
        print_report(report, as_json=options.json)
        say("deleting what was made")
    return 1 if failures else 0


PARTS: dict[str, Callable[[argparse.Namespace, Path], Report]] = {
    "overhead": lambda options, scratch: measure_overhead(scratch, options.quick),
    "cached": lambda options, scratch: measure_cached(scratch, options.home, options.quick),
    "shards": lambda options, scratch: measure_shards(scratch, options.quick),
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench/orchestration.py", description="what it costs")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument(
        "--home",
        type=Path,
        default=default_cache() / "orchestration",
        help="home of the cached runs; one with a finished run of the default recipe saves time",
    )
    return parse_arguments(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
