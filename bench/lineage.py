"""What questions about lineage cost on a large store, in time and memory.

    python bench/lineage.py [--quick] [--json] [--home FOLDER]

A store of 1,000 shards of 10,000 documents and 100 models is made up (``--quick``: of 2,500
documents), by the flows' own graph and with the real layout, tables and training orders, and
deleted afterwards. Then, each in a fresh process, import and all:

- the catalogue of records and the index of documents are built from nothing, and catch up when
  one shard has changed;
- the command answers: a page, a model, and what a domain touches (by function, since
  ``forget --dry-run`` also plans the whole pipeline);
- MLflow is told of a stage result that reads 1,000 shards;
- answers to random URLs are compared with those of a scan of all shards and training orders,
  which is also the rival in time;
- the same question is asked among ever more models that have nothing to do with it.

Targets are held against the CPU seconds of a process from its start to its end, the least of
several runs: on an idle machine that is the time one waits, or more, and on a busy one wall time
tells of the others. The middle of the wall times is in the table. Files are in the system's memory.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs as a file, too

from bench.lineage_growth import measure_growth
from bench.lineage_pages import host_name, page_urls
from bench.lineage_store import Scale, change_shard, make_store, raw_file
from bench.measure import (
    Report,
    Table,
    Target,
    Usage,
    describe_machine,
    open_process,
    parse_arguments,
    print_report,
    say,
)
from bench.servers import clean_environment
from pipeline_data.errors import HeadwaterError

ROOT = Path(__file__).resolve().parents[1]
FULL = Scale()
QUICK = Scale(num_documents=2500)
REPEATS, QUICK_REPEATS = 5, 3
NUM_COMPARED = 20
GIGABYTE = 1e9


@dataclass(frozen=True)
class Timing:
    """Several runs of one question: the middle wall time, least CPU time, most memory."""

    name: str
    usages: Sequence[Usage]
    answer: Any = None

    @property
    def seconds(self) -> float:
        return statistics.median(usage.wall_seconds for usage in self.usages)

    @property
    def cpu_seconds(self) -> float:
        return min(usage.cpu_seconds for usage in self.usages)

    @property
    def gigabytes(self) -> float:
        return max(usage.peak_bytes for usage in self.usages) / GIGABYTE


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the store, ask, print what it took, delete the store."""
    options = _parse(arguments)
    scale = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=options.folder) as scratch:
        home = Path(scratch) / "home"
        report = measure_lineage(home, scale, QUICK_REPEATS if options.quick else REPEATS)
        print_report(report, as_json=options.json)
        say("deleting the store")
    return 0


def measure_lineage(home: Path, scale: Scale, repeats: int) -> Report:
    """Everything there is to measure at one scale."""
    before = describe_machine()
    say(f"making {scale}")
    with open_process() as call:  # whose memory is not taken for that of the processes started here
        _, making = call(make_store, home, scale)
    num_bytes = _folder_bytes(home)
    say("building the index")
    builds = [_ask(home, "build_catalogue"), _ask(home, "build_index")]
    index_bytes = _folder_bytes(home / "cache" / "lineage")
    say("comparing answers with a scan")
    urls = _choose_urls(home, scale, NUM_COMPARED)
    by_index, by_scan = _ask(home, "find", *urls), _ask(home, "scan", *urls)
    num_different = sum(
        by_index.answer["answers"][url] != by_scan.answer["answers"][url] for url in urls
    )
    say("asking")
    pages, models, impacts = _ask_all(home, scale, urls[0], repeats)
    alone = _ask(home, "scan", urls[0])
    say("logging to MLflow")
    mirrored = _ask(home, "mirror")
    say("among more models")
    with open_process() as call:
        growth, _ = call(measure_growth, home, urls[0], repeats)
    say("changing a shard")
    change_shard(home, scale)
    caught_up = _ask(home, "build_index")
    queries = [*pages, *models, *impacts]
    million = scale.num_shards * scale.num_documents / 1e6
    targets = [
        *(Target(f"{t.name}, seconds", t.cpu_seconds, 1, "lower") for t in [*pages, *models]),
        *(Target(f"{t.name}, seconds", t.cpu_seconds, 2, "lower") for t in impacts),
        Target("MLflow, 1,000 inputs, seconds", mirrored.answer["cpu_seconds"], 3, "lower"),
        Target("memory of a question, GB", max(t.gigabytes for t in queries), 1, "lower"),
        Target("memory of building, GB", max(t.gigabytes for t in builds), 1, "lower"),
        Target("answers unlike a scan's", num_different, 0, "lower"),
        Target("times the cost, with the most other models", growth.ratio, 1.25, "lower"),
    ]
    tables = [
        Table(
            "Questions, each in a fresh process",
            ("", "seconds", "CPU seconds", "GB"),
            [_row(t) for t in [*queries, mirrored, *builds, caught_up, by_scan, alone]],
        ),
        growth.table,
        Table(
            "Store and index",
            ("", "MB", "seconds", "CPU seconds"),
            [
                ("store, made up", num_bytes / 1e6, making.wall_seconds, making.cpu_seconds),
                (
                    "index, of a million documents",
                    index_bytes / 1e6 / million,
                    builds[1].answer["index"] / million,
                    builds[1].cpu_seconds / million,
                ),
            ],
        ),
    ]
    notes = [
        f"{scale}; {before['load']} processes wanted a core before it began",
        f"{NUM_COMPARED} random URLs: {num_different} answers unlike those of the scan; one URL "
        f"alone costs a scan {alone.cpu_seconds / pages[0].cpu_seconds:.1f} times the CPU of trace",
        f"MLflow: {mirrored.answer['num_inputs']:,} inputs; its imports are not counted",
    ]
    return Report("lineage", targets, tables, notes, machine=describe_machine())


def _ask_all(
    home: Path, scale: Scale, url: str, repeats: int
) -> tuple[list[Timing], list[Timing], list[Timing]]:
    """Pages, models and domains: questions that have a target."""
    largest, smallest = (host_name(rank).partition(".")[2] for rank in (0, scale.num_hosts - 1))
    pages = [
        _trace(home, "trace --url", repeats, "--url", url),
        _trace(home, "trace --url, no such page", repeats, "--url", f"{url}.other"),
    ]
    models = [
        _trace(home, "trace MODEL, of all shards", repeats, "assistant"),
        _trace(home, "trace MODEL, of some shards", repeats, "assistant@1"),
    ]
    impacts = [
        _ask(home, "assess", smallest, name="impact of the smallest domain", repeats=repeats),
        _ask(home, "assess", largest, name="impact of the largest domain", repeats=repeats),
    ]
    return pages, models, impacts


def _trace(home: Path, name: str, repeats: int, *arguments: str) -> Timing:
    command = [sys.executable, "-m", "flows.cli", "trace", "--json", *arguments]
    return _repeat(home, name, command, repeats)


def _ask(home: Path, question: str, *arguments: str, name: str = "", repeats: int = 1) -> Timing:
    command = [sys.executable, "-m", "bench.lineage_questions", question, *arguments]
    return _repeat(home, name or question.replace("_", " "), command, repeats)


def _repeat(home: Path, name: str, command: Sequence[str], repeats: int) -> Timing:
    runs = [run_command(command, home) for _ in range(repeats)]
    return Timing(name, [usage for _, usage in runs], runs[-1][0])


def run_command(command: Sequence[str], home: Path) -> tuple[Any, Usage]:
    """What a command answers in JSON, and what it took with all it started.

    Raises:
        HeadwaterError: it failed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=clean_environment(home), cwd=ROOT, stdout=output, stderr=errors
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise HeadwaterError(f"{' '.join(command)}: {errors.read().decode()[-400:]}")
        usage = Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        return json.load(output), usage


def _choose_urls(home: Path, scale: Scale, number: int) -> list[str]:
    """Random pages of the store."""
    draw = random.Random(0)
    urls = []
    for _ in range(number):
        raw = raw_file(home, scale, draw.randrange(scale.num_shards))
        about = json.loads(raw.read_text(encoding="utf-8"))
        num_pages = about.pop("num_documents")
        urls.append(draw.choice(page_urls(num_pages=num_pages, **about)))
    return urls


def _row(timing: Timing) -> tuple[str, float, float, float]:
    return (timing.name, timing.seconds, timing.cpu_seconds, timing.gigabytes)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench/lineage.py", description="what lineage costs")
    parser.add_argument("--folder", type=Path, help="where the store is made (a temporary one)")
    options = parse_arguments(parser, arguments)
    if options.folder and shutil.disk_usage(options.folder).free < 6 * GIGABYTE:
        parser.error(f"{options.folder} has less than 6 GB left")
    return options


if __name__ == "__main__":
    sys.exit(main())
