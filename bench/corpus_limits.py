"""What must stay small: memory whatever the size of a file, and the work that a change demands."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import own_pipeline as own
from bench.corpus_pages import Page, write_large_warc, write_warc
from bench.measure import Cell, Report, Table, Target, open_process, say
from bench.own_pipeline import PAGE_STAGES, Build
from flows.corpus import build_corpus
from flows.recipe import Recipe, check_recipe, load_recipe
from tasks.direct_run import DirectRun
from tasks.store import Store

NUM_SHARDS = 100
PAGES_PER_SHARD = 2
MAX_SMALL_PAGE_BYTES = 30_000
NUM_SIGNATURES = 1_000_000


def measure_memory(
    builds: Mapping[str, Build], pages: Sequence[Page], megabytes: int, scratch: Path
) -> Report:
    """Peak memory of each stage in a process of its own, for a WARC and one four times as large."""
    sizes = (megabytes // 4, megabytes)
    rows: list[list[Cell]] = []
    worst = 0
    for number, (name, build) in enumerate(builds.items()):
        # Rivals differ in how they extract; what comes after is the same code.
        stages = ("extract",) if number else (*PAGE_STAGES, "dedup", "tokenize")
        peaks = {
            size: _peaks(build, stages, pages, size, scratch / f"{name} {size} MB")
            for size in sizes
        }
        for stage in peaks[megabytes]:
            rows.append([stage, name, *(peaks[size][stage] / 1e6 for size in sizes)])
        worst = max(worst, *peaks[megabytes].values())
    header = ("stage", "pipeline", *(f"MB, WARC of {size} MB" for size in sizes))
    return Report(
        "memory",
        targets=[Target("peak memory of a worker, GB", worst / 1e9, 1.0, better="lower")],
        tables=[Table("Peak memory by stage, one WARC", header, rows)],
    )


def _peaks(
    build: Build, stages: Sequence[str], pages: Sequence[Page], megabytes: int, scratch: Path
) -> dict[str, int]:
    """Bytes by stage."""
    warc = scratch / "raw" / "large.warc.gz"
    num_pages = write_large_warc(warc, pages, megabytes * 1_000_000)
    say(f"  {num_pages} pages, {megabytes} MB of HTML in one WARC")
    large = replace(build, warcs=(warc,), out=scratch)
    peaks = {}
    for stage in stages:
        with open_process() as process:
            _, usage = process(own.run_stage, large, stage)
        peaks[stage] = usage.peak_bytes
    shutil.rmtree(scratch)
    return peaks


def measure_reuse(pages: Sequence[Page], scratch: Path) -> Report:
    """What runs in the real graph, with a real store, when a shard is added to a hundred."""
    folder = scratch / "hundred"
    small = [page for page in pages if len(page[1]) <= MAX_SMALL_PAGE_BYTES]
    for index in range(NUM_SHARDS):
        _write_shard(folder, index, small)
    first = _build(folder, scratch)
    again = _build(folder, scratch)
    _write_shard(folder, NUM_SHARDS, small)
    added = _build(folder, scratch)
    rows: list[list[Cell]] = [[stage, first[stage], again[stage], added[stage]] for stage in first]
    sharded = {stage: added[stage] for stage in first if first[stage] >= NUM_SHARDS}
    return Report(
        "shards",
        targets=[Target("shards done again when one joins 100", max(sharded.values()), 1, "lower")],
        tables=[
            Table(
                f"Stage runs, {NUM_SHARDS} shards",
                ("stage", "first build", "the same again", "one shard more"),
                rows,
            )
        ],
    )


def _write_shard(folder: Path, index: int, pages: Sequence[Page]) -> None:
    start = index * PAGES_PER_SHARD
    chosen = [pages[number % len(pages)] for number in range(start, start + PAGES_PER_SHARD)]
    distinct = [(f"{url}?shard={index}", html) for url, html in chosen]
    write_warc(folder / f"{index:05d}.warc.gz", distinct)


def _build(folder: Path, scratch: Path) -> Counter[str]:
    """How often each stage ran."""
    run: Any = DirectRun(Store(str(scratch / "store"), scratch / "store-cache"))
    build_corpus(run, _recipe(folder))
    executed: Counter[str] = run.executed
    return executed


def _recipe(folder: Path) -> Recipe:
    """A shipped recipe with the WARCs of a folder as its only source.

    The tokenizer's sample is pinned to the first shards, as a corpus that grows needs it:
    another vocabulary is other tokens everywhere.
    """
    recipe = load_recipe("smoke")
    values: dict[str, Any] = recipe.model_dump(mode="json")
    values["sources"] = {"web": {"kind": "warc", "paths": [f"{folder}/*.warc.gz"], "filter": "web"}}
    values["sample"] |= {"shards": ["web-0000*"]}
    values["tokenizer"] |= {"weights": {}}
    values["pretrain"]["mixture"] = {"web": 1.0}
    return check_recipe(values, "the benchmark's recipe")


def measure_dedup(scratch: Path) -> Report:
    """Time and memory of deduplicating made-up signatures of a million documents on two threads."""
    from bench.dedup import run_dedup, write_shards

    say(f"  writing signatures of {NUM_SIGNATURES:,} documents")
    shards = write_shards(scratch / "million", NUM_SIGNATURES)[:-1]
    out = scratch / "million-out" / "dedup"
    out.parent.mkdir()
    with open_process() as process:
        counts, usage = process(run_dedup, shards, out, 2, 1024)
    row = [counts["num_documents"], usage.wall_seconds, usage.cpu_seconds, usage.peak_bytes / 1e6]
    return Report(
        "dedup",
        targets=[
            Target("seconds to dedup 1 M signatures", usage.wall_seconds, 60, "lower"),
            Target("peak memory of it, GB", usage.peak_bytes / 1e9, 2, "lower"),
        ],
        tables=[
            Table("Dedup, 2 threads", ("documents", "seconds", "CPU seconds", "peak MB"), [row])
        ],
    )
