"""Speed: both pipelines on the same shards in turn, one worker each, then on all cores."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench import own_pipeline as own
from bench import stock_pipeline as stock
from bench.agreement import DIFFERENCES, compare_shard
from bench.measure import (
    Call,
    Cell,
    Ratio,
    Report,
    Table,
    Target,
    busy_seconds,
    cpu_seconds,
    interleave,
    open_process,
    ratio,
    say,
)
from bench.own_pipeline import PAGE_STAGES, Build, shard_name
from bench.probes import Trace
from pipeline_data.formats import DOCUMENTS, read_rows, write_table
from tasks.launch import Workers

STAGES = (*PAGE_STAGES, "dedup", "tokenize")
STOCK, OURS, FAST = "stock", "ours", "ours, fast"
"""The rivals: ours with trafilatura, whose text is the stock pipeline's, and with its own rules."""


@dataclass
class Seconds:
    """CPU seconds of one rival by stage, a value a shard (dedup: one), and its peak of memory."""

    by_stage: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: int = 0

    def add(self, stage: str, seconds: float) -> None:
        self.by_stage.setdefault(stage, []).append(seconds)

    def total(self, *stages: str) -> float:
        return sum(sum(self.by_stage[stage]) for stage in stages)

    def per_shard(self) -> list[float]:
        """End to end, with dedup in equal shares."""
        shards = range(len(self.by_stage["extract"]))
        share = self.total("dedup") / len(shards)
        per_shard = [stage for stage in STAGES if stage != "dedup"]
        return [share + sum(self.by_stage[stage][rank] for stage in per_shard) for rank in shards]


def measure_speed(builds: Mapping[str, Build], warm: Path, scratch: Path) -> Report:
    """CPU seconds of every stage with one worker, and whether the results agree.

    Args:
        builds: our rivals; the first is compared with the stock pipeline page by page.
        warm: a small WARC that every process reads first.
    """
    first = next(iter(builds.values()))
    theirs = replace(first, out=scratch / STOCK)
    ranks = range(len(first.warcs))
    seconds = {name: Seconds() for name in (STOCK, *builds)}
    rules: list[float] = []
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        calls = {name: stack.enter_context(open_process()) for name in (*seconds, "rules")}
        _warm_up(calls, builds, theirs, warm, scratch)
        rivals = _bind(calls, builds, stock.run_pages, own.run_pages, theirs)
        traces: list[Trace] = []
        for rank, answers in enumerate(interleave(rivals, ranks)):
            traces.append(answers[STOCK][0])
            for name, (answer, usage) in answers.items():
                for stage in PAGE_STAGES:
                    found = answer.seconds[f"stage {stage}"] if name == STOCK else answer[stage]
                    seconds[name].add(stage, found)
                seconds[name].peak_bytes = usage.peak_bytes
            rules.append(_run_rules(calls["rules"], first, rank, scratch))
            say(f"  shard {rank + 1} of {len(ranks)}")
        dedup = _bind(calls, builds, _stock_dedup, _own_dedup, theirs)
        for answers in interleave(dedup, [0]):
            for name, (_, usage) in answers.items():
                seconds[name].add("dedup", usage.cpu_seconds)
        tokens = _bind(calls, builds, stock.run_tokens, _own_tokens, theirs)
        for rank, answers in enumerate(interleave(tokens, ranks)):
            for name, (_, usage) in answers.items():
                seconds[name].add("tokenize", usage.cpu_seconds)
                seconds[name].peak_bytes = usage.peak_bytes
            counts += compare_shard(first, rank, theirs.out, traces[rank], answers[STOCK][0])
    return _report_speed(seconds, rules, traces, counts)


def _bind(
    calls: Mapping[str, Call],
    builds: Mapping[str, Build],
    stock_function: Callable[[Build, int], Any],
    own_function: Callable[[Build, int], Any],
    theirs: Build,
) -> dict[str, Callable[[int], Any]]:
    """What each rival does with a shard."""

    def bind(call: Call, function: Callable[[Build, int], Any], build: Build) -> Any:
        return lambda rank: call(function, build, rank)

    bound = {name: bind(calls[name], own_function, build) for name, build in builds.items()}
    return {STOCK: bind(calls[STOCK], stock_function, theirs)} | bound


def _own_dedup(build: Build, _: int) -> None:
    own.run_stage(build, "dedup")


def _stock_dedup(build: Build, _: int) -> None:
    stock.run_dedup(build)


def _own_tokens(build: Build, rank: int) -> None:
    own.run_stage(build, "tokenize", rank)


def _warm_up(
    calls: Mapping[str, Call],
    builds: Mapping[str, Build],
    theirs: Build,
    warm: Path,
    scratch: Path,
) -> None:
    """Let every process import and run everything once."""
    warmed = {name: replace(b, warcs=(warm,), out=scratch / "warm" / name) for name, b in
              {STOCK: theirs, **builds, "rules": next(iter(builds.values()))}.items()}  # fmt: skip
    calls[STOCK](stock.prepare)
    calls[STOCK](stock.run_pages, warmed[STOCK], 0)
    calls[STOCK](stock.run_dedup, warmed[STOCK])
    calls[STOCK](stock.run_tokens, warmed[STOCK], 0)
    for name in (*builds, "rules"):
        calls[name](own.run_pages, warmed[name], 0)
        calls[name](own.run_stage, warmed[name], "dedup")
        calls[name](own.run_stage, warmed[name], "tokenize")


def _run_rules(call: Call, build: Build, rank: int, scratch: Path) -> float:
    """CPU seconds of the filter stage with the quality rules alone.

    It gets the documents that datatrove's blocks were given: those of a wanted language.
    """
    shard = shard_name(rank)
    foreign = {
        row["doc_id"]
        for row in read_rows(build.out / "filter" / shard / "dropped.parquet", ["doc_id", "rule"])
        if row["rule"] == "language"
    }
    documents = read_rows(build.out / "extract" / shard / "documents.parquet")
    rows = (row for row in documents if row["doc_id"] not in foreign)
    only = replace(build, settings=own.rules_only(build.settings), out=scratch / "rules")
    write_table(only.out / "extract" / shard / "documents.parquet", DOCUMENTS, rows)
    seconds, _ = call(own.run_stage, only, "filter", rank)
    return seconds


def _report_speed(
    seconds: Mapping[str, Seconds],
    rules: Sequence[float],
    traces: Sequence[Trace],
    counts: Counter[str],
) -> Report:
    stock_rules = [sum(trace.seconds[rule] for rule in stock.RULES) for trace in traces]
    by_rule = {STOCK: stock_rules, OURS: rules}
    times = {name: ratio(seconds[STOCK].per_shard(), s.per_shard()) for name, s in seconds.items()}
    del times[STOCK]
    rules_times, half = ratio(stock_rules, rules), len(rules) // 2
    warm_times = ratio(stock_rules[half:], rules[half:])
    peaks: list[list[Cell]] = [[name, s.peak_bytes / 1e6] for name, s in seconds.items()]
    return Report(
        "speed",
        targets=[*_speed_targets(times, rules_times), _agreement_target(counts)],
        tables=[
            _speed_table(seconds, by_rule, counts),
            Table("Peak memory of that worker", ("pipeline", "MB"), peaks),
            _agreement_table(counts),
        ],
        notes=[f"{name}, end to end: {value} times stock" for name, value in times.items()]
        + [
            *([] if FAST in times else ["there is no fast extractor: its rows are left out"]),
            f"quality rules: {rules_times} times stock; on the second half of the shards, when "
            f"most words have been met before: {warm_times.value:.2f}",
            _explain_reading(counts),
        ],
    )


def _speed_table(
    seconds: Mapping[str, Seconds], by_rule: Mapping[str, Sequence[float]], counts: Counter[str]
) -> Table:
    """Pages and megabytes of the whole input by the seconds of each stage."""
    num_pages, megabytes = counts["pages"], counts["html bytes"] / 1e6
    parts = {stage: {name: s.total(stage) for name, s in seconds.items()} for stage in STAGES}
    parts["all"] = {name: s.total(*STAGES) for name, s in seconds.items()}
    parts["quality rules"] = {name: sum(values) for name, values in by_rule.items()}
    rows: list[list[Cell]] = [
        [part, name, num_pages / value, megabytes / value, f"{by_rival[STOCK] / value:.2f}"]
        for part, by_rival in parts.items()
        for name, value in by_rival.items()
    ]
    header = ("stage", "pipeline", "pages/s", "MB of HTML/s", "times stock")
    title = f"One worker, CPU seconds, {num_pages} pages, {megabytes:.0f} MB of HTML"
    return Table(title, header, rows)


def _speed_targets(end_to_end: Mapping[str, Ratio], rules: Ratio) -> list[Target]:
    targets = [Target("end to end over stock, same text", end_to_end[OURS].value, 2.0)]
    if FAST in end_to_end:
        fast = end_to_end[FAST].value
        targets.append(Target("end to end over stock, fast extractor", fast, 6.0))
    return [*targets, Target("quality rules over stock", rules.value, 8.0)]


def _agreement_target(counts: Counter[str]) -> Target:
    return Target(
        "differences from stock", sum(counts[kind] for kind in DIFFERENCES), 0, better="lower"
    )


def _agreement_table(counts: Counter[str]) -> Table:
    compared = {"final texts": "decisions"}
    rows: list[list[Cell]] = [
        [kind, counts[f"compared {compared.get(kind, kind)}"], counts[kind]] for kind in DIFFERENCES
    ]
    return Table("Agreement with stock", ("what", "pages compared", "different"), rows)


def _explain_reading(counts: Counter[str]) -> str:
    kinds = ("decoded differently", "read by ours alone", "read by stock alone")
    found = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    kept = (
        f"dedup kept {counts['kept by ours']} pages of ours and {counts['kept by stock']} of stock"
    )
    return f"not compared: {found}; {kept}"


def measure_cores(
    builds: Mapping[str, Build], warm: Path, scratch: Path, num_cores: int, num_rounds: int
) -> Report:
    """Wall time of the whole pipeline on all cores by each side's executor, and of ours on one."""
    first = next(iter(builds.values()))
    theirs = replace(first, out=scratch / "stock on all cores")
    warmed = replace(first, warcs=(warm,), out=scratch / "warm workers")
    walls: dict[str, list[float]] = {}
    disturbances: list[float] = []
    with ExitStack() as stack:
        stock_process = stack.enter_context(open_process())
        stock_process(stock.prepare)
        single = stack.enter_context(own.open_workers(warmed, 1))
        workers = stack.enter_context(own.open_workers(warmed, num_cores))

        def run_stock(_: int) -> float:
            shutil.rmtree(theirs.out, ignore_errors=True)
            return stock_process(stock.run_all, theirs, num_cores)[0]

        def run_own(pool: Workers, build: Build, _: int) -> float:
            busy, here = busy_seconds(), cpu_seconds()
            wall, cpu = own.run_all(pool, build)
            others = busy_seconds() - busy - cpu - (cpu_seconds() - here)
            disturbances.append(max(0.0, others) / (wall * workers.cores.total))
            return wall

        rivals: dict[str, Callable[[int], float]] = {STOCK: run_stock}
        for name, build in builds.items():
            rivals[name] = partial(run_own, workers, build)
        rivals[_ONE_CORE] = partial(run_own, single, first)
        for number, answers in enumerate(interleave(rivals, range(num_rounds))):
            for name, wall in answers.items():
                walls.setdefault(name, []).append(wall)
            say(f"  round {number + 1} of {num_rounds}")
    return _report_cores(first, walls, num_cores, max(disturbances))


def _report_cores(
    build: Build, walls: Mapping[str, Sequence[float]], num_cores: int, disturbance: float
) -> Report:
    num_pages = sum(
        pq.read_metadata(build.out / "extract" / shard_name(rank) / f"{table}.parquet").num_rows
        for rank in range(len(build.warcs))
        for table in ("documents", "dropped")
    )
    rows = [
        [name, 1 if name == _ONE_CORE else num_cores, num_pages * len(wall) / sum(wall),
         f"{sum(walls[STOCK]) / sum(wall):.2f}"]
        for name, wall in walls.items()
    ]  # fmt: skip
    table = Table(
        "End to end by executor, wall time", ("pipeline", "cores", "pages/s", "times stock"), rows
    )
    notes = [f"others kept up to {disturbance:.0%} of the cores busy while ours ran on all cores"]
    if num_cores == 1:
        return Report("cores", [], [table], [*notes, "one core: nothing to say about scaling"])
    efficiency = sum(walls[_ONE_CORE]) / sum(walls[OURS]) / num_cores
    target = Target(f"speed-up on {num_cores} cores, of linear", efficiency, 0.85)
    return Report("cores", [target], [table], notes)


_ONE_CORE = "ours, one core"
