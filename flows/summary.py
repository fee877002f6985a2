"""The table that a run ends with, and where to look next."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.pace import show_duration

NUM_SHOWN = 3
NUMBER_HEADINGS = ("value", "baseline", "95% interval")


def print_summary(console: Console, record: dict[str, Any]) -> None:
    """Stages with their held-out measures; then what the run as a whole did."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("stage", no_wrap=True)
    gives_way = Text("held-out measure", no_wrap=True, overflow="ellipsis")
    table.add_column(gives_way)
    for heading in (*NUMBER_HEADINGS, "seconds", "cached"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in record["stages"]:
        for name, measure, *numbers in _rows(stage):
            table.add_row(name, Text(measure, no_wrap=True, overflow="ellipsis"), *numbers)
    console.print(table)
    for note in record["notes"]:
        console.print(f"note: {note}", style="yellow", highlight=False)
    console.print(summarise_record(record), highlight=False)


def summarise_record(record: dict[str, Any]) -> str:
    """One line: what the run as a whole did."""
    total = record["executed"] + record["cached"]
    if record["executed"] == 0:
        line = f"nothing to do: all {total} stage results were in the store"
    else:
        line = f"{record['executed']} of {total} stage results made, {record['cached']} reused"
    return f"{line}; {show_duration(record['seconds'])}"


def _rows(stage: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    name = f"{stage['name']} x{stage['shards']}" if stage["shards"] > 1 else stage["name"]
    cached = "all" if stage["cached"] == stage["shards"] else str(stage["cached"] or "")
    seconds = f"{stage['seconds']:.1f}"
    measures: Sequence[dict[str, Any]] = stage["measures"]
    if not measures:
        yield name, "", "", "", "", seconds, cached
    for index, measure in enumerate(measures):
        head = (name, seconds, cached) if index == 0 else ("", "", "")
        yield head[0], measure["name"], *show_numbers(measure), head[1], head[2]


def show_numbers(measure: dict[str, Any]) -> tuple[str, str, str]:
    """A measure's value, what it has to beat, and its interval."""

    def show(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    interval = ""
    if measure["low"] is not None and measure["high"] is not None:
        interval = f"[{measure['low']:.3f}, {measure['high']:.3f}]"
    return show(measure["value"]), show(measure["baseline"]), interval


def print_samples(console: Console, samples: Sequence[dict[str, Any]]) -> None:
    """A few questions as each model answers them."""
    for sample in samples[:NUM_SHOWN]:
        console.print(f"\n{sample['prompt']}", style="bold", highlight=False)
        for model, text in sample["answers"].items():
            console.print(
                f"  {model:<10} {json.dumps(text, ensure_ascii=False)}",
                highlight=False,
                markup=False,
            )
