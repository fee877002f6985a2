"""What the benchmarks share: measuring work, interleaving rivals, saying what came out.

A benchmark runs as ``python bench/NAME.py`` or ``python -m bench.NAME``. It prints tables for
people, or with ``--json`` one object and nothing else on standard output::

    {"name", "machine", "targets": [{"name", "value", "goal", "better", "met"}], "tables", "notes"}

Progress goes to standard error. How to get numbers that can be trusted on a machine that others
use as well:

- Compare *CPU seconds*, of a process and the children it has waited for (:func:`measure`);
  use wall time only to show how work spreads over cores, and look at the machine's load.
- Give every rival the same input in turn, in an order that turns about (:func:`interleave`), so
  that a slow minute slows them all, and quote ratios of sums.
- Let each rival work in a fresh process of its own (:func:`open_process`), where its peak of
  memory is its own and libraries have one thread. Call once with a small input first, so that
  importing is not measured.

Example::

    with open_process() as ours, open_process() as theirs:
        rivals = {
            "ours": lambda texts: ours(encode, texts),
            "theirs": lambda texts: theirs(encode_with_peer, texts),
        }
        rounds = list(interleave(rivals, batches))
    speedup = ratio([r["theirs"][1].cpu_seconds for r in rounds],
                    [r["ours"][1].cpu_seconds for r in rounds])
    report = Report("tokens", targets=[Target("speed over the peer", speedup.value, 3.0)])
    print_report(report, as_json=arguments.json)
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")

Cell = str | float | int

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
"""The environment of measured processes: a worker is one thread, whatever its libraries prefer."""


@dataclass(frozen=True)
class Usage:
    """What a piece of work took; ``peak_bytes`` is the process's peak so far, not of the work."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


class Call(Protocol):
    """Runs a function somewhere and says what it took."""

    def __call__(self, function: Callable[..., Result], /, *args: Any) -> tuple[Result, Usage]: ...


def measure(function: Callable[..., Result], /, *args: Any) -> tuple[Result, Usage]:
    """Call a function here; its result and what it took, with the children it waited for."""
    start_wall, start_cpu = time.perf_counter(), cpu_seconds()
    result = function(*args)
    return result, Usage(time.perf_counter() - start_wall, cpu_seconds() - start_cpu, peak_bytes())


def children_cpu_seconds() -> float:
    """User and system time of this process's ended children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds() -> float:
    """User and system time of this process, all its threads, and its ended children so far."""
    return time.process_time() + children_cpu_seconds()


def peak_bytes() -> int:
    """Most memory held at once by this process, or by one of its ended children if that is more.

    ``ru_maxrss`` of a process that was spawned also counts what its parent held at that moment,
    so Linux's own high-water mark goes first.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    own = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return max(children, int(own.split()[1]) * 1024)


@contextmanager
def open_process() -> Iterator[Call]:
    """A fresh process with one thread; yields :func:`measure` there.

    It lives until the block ends, so what it has imported and remembers stays. Functions,
    arguments and results are pickled.
    """
    os.environ.update(ONE_THREAD)  # inherited: libraries read it when they are imported
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:

        def call(function: Callable[..., Result], /, *args: Any) -> tuple[Result, Usage]:
            return pool.submit(measure, function, *args).result()

        yield call


def interleave(
    rivals: Mapping[str, Callable[[Input], Result]], inputs: Iterable[Input]
) -> Iterator[dict[str, Result]]:
    """Give each input to every rival; who goes first turns about. Yields results by rival."""
    names = list(rivals)
    for number, value in enumerate(inputs):
        turn = number % len(names)
        yield {name: rivals[name](value) for name in names[turn:] + names[:turn]}


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over rounds, and the lowest and highest ratio of a round."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} (rounds {self.low:.2f} to {self.high:.2f})"


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """How many times the first is the second, from one value of each a round."""
    rounds = [top / bottom for top, bottom in zip(numerators, denominators, strict=True)]
    return Ratio(sum(numerators) / sum(denominators), min(rounds), max(rounds))


@dataclass(frozen=True)
class Target:
    """A measured value and the goal it is held against."""

    name: str
    value: float
    goal: float
    better: Literal["higher", "lower"] = "higher"

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


@dataclass(frozen=True)
class Table:
    """Rows for people; the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Report:
    """What a benchmark found. Notes say what a number means, or why one is missing."""

    name: str
    targets: Sequence[Target]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    machine: Mapping[str, Any] = field(default_factory=lambda: describe_machine())


def parse_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse with the options every benchmark has."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quick", action="store_true", help="less input: under 10 minutes")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_report(report: Report, as_json: bool = False) -> None:
    """Print tables, targets and notes, or the same as one JSON object."""
    print(_as_json(report) if as_json else _as_text(report), flush=True)


def _as_json(report: Report) -> str:
    targets = [
        {
            "name": target.name,
            "value": round(target.value, 4),
            "goal": target.goal,
            "better": target.better,
            "met": target.met,
        }
        for target in report.targets
    ]
    tables = [
        {
            "title": table.title,
            "rows": [
                {name: _round(cell) for name, cell in zip(table.header, row, strict=True)}
                for row in table.rows
            ],
        }
        for table in report.tables
    ]
    return json.dumps(
        {
            "name": report.name,
            "machine": report.machine,
            "targets": targets,
            "tables": tables,
            "notes": list(report.notes),
        },
        indent=1,
    )


def _round(cell: Cell) -> Cell:
    return float(f"{cell:.4g}") if isinstance(cell, float) else cell


def _as_text(report: Report) -> str:
    parts = [format_table(table) for table in report.tables]
    rows = [
        (
            target.name,
            f"{target.value:.2f}",
            f"{'>=' if target.better == 'higher' else '<='} {target.goal:g}",
            "met" if target.met else "MISSED",
        )
        for target in report.targets
    ]
    parts.append(format_table(Table("Targets", ("target", "measured", "goal", ""), rows)))
    parts += [f"- {note}" for note in report.notes]
    parts.append("machine: " + ", ".join(f"{k} {v}" for k, v in report.machine.items()))
    return "\n".join(parts)


def format_table(table: Table) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    cells = [list(map(_format_cell, row)) for row in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return (
        "\n".join([table.title, lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])
        + "\n"
    )


def _format_cell(value: Cell) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def describe_machine() -> dict[str, Any]:
    """The facts a number depends on; the load says whether others were at work as well."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor_name(),
        "cores": num_cores(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def busy_seconds() -> float:
    """Seconds that all cores together were at work so far, for whomever (also stolen ones)."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - counted_twice)


def default_cache() -> Path:
    """Where a benchmark keeps what it downloads or makes: ``bench`` in Headwater's home."""
    home = os.environ.get("HEADWATER_HOME") or Path(__file__).resolve().parents[1] / ".headwater"
    return Path(home) / "bench"


def num_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
