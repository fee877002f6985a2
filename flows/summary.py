"""The table that a run ends with, and where to look next."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

NUM_SHOWN = 3


def print_summary(console: Console, record: dict[str, Any]) -> None:
    """Stages with their held-out measures; then what the run as a whole did."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("stage")
    table.add_column("held-out measure")
    for heading in ("value", "baseline", "95% interval", "seconds", "cached"):
        table.add_column(heading, justify="right")
    for stage in record["stages"]:
        for cells in _rows(stage):
            table.add_row(*cells)
    console.print(table)
    for note in record["notes"]:
        console.print(f"note: {note}", style="yellow", highlight=False)
    total = record["executed"] + record["cached"]
    if record["executed"] == 0:
        line = f"nothing to do: all {total} stage results were in the store"
    else:
        line = f"{record['executed']} of {total} stage results made, {record['cached']} reused"
    console.print(f"{line}; {record['seconds']:.0f} s", highlight=False)


def _rows(stage: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    name = f"{stage['name']} x{stage['shards']}" if stage["shards"] > 1 else stage["name"]
    cached = "all" if stage["cached"] == stage["shards"] else str(stage["cached"] or "")
    seconds = f"{stage['seconds']:.1f}"
    measures: Sequence[dict[str, Any]] = stage["measures"]
    if not measures:
        yield name, "", "", "", "", seconds, cached
    for index, measure in enumerate(measures):
        head = (name, seconds, cached) if index == 0 else ("", "", "")
        yield head[0], measure["name"], *_numbers(measure), head[1], head[2]


def _numbers(measure: dict[str, Any]) -> tuple[str, str, str]:
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
