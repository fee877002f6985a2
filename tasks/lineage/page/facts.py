"""What a lineage page tells of each stage beside its artefacts: numbers, curves, what it saw."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from pipeline_data.artifact import PROVENANCE, Artifact
from pipeline_data.formats import read_jsonl
from tasks.lineage.exposure import Order, attribution, read_orders

METRICS = f"{PROVENANCE}/metrics.jsonl"
NUM_POINTS = 120


def read_curves(artifact: Artifact) -> list[dict[str, Any]]:
    """The numbers of a training step by step, thinned out; rates are left out."""
    path = artifact.directory / METRICS
    rows = list(read_jsonl(path)) if path.is_file() else []
    names = dict.fromkeys(name for row in rows for name in row)
    curves = []
    for name in names:
        if name == "step" or name.endswith("_per_second"):
            continue
        points = [[row["step"], row[name]] for row in rows if _is_number(row.get(name))]
        stride = -(-len(points) // NUM_POINTS)
        if len(points) > 1:
            thinned = points[:: max(1, stride)]
            curves.append({"name": name, "points": thinned, "last": points[-1]})
    return curves


def read_exposure(artifact: Artifact) -> list[dict[str, Any]]:
    """For each order of a training: its steps, how much is attributed, and to which source."""
    attributed = {found.order: found for found in attribution(artifact)}
    return [
        {
            "order": order.order,
            "unit": order.unit,
            "step": order.step,
            "steps": order.steps,
            "tokens": attributed[order.order].num_tokens,
            "attributed": attributed[order.order].num_attributed,
            "sources": _share_out(order),
        }
        for order in read_orders(artifact)
    ]


def _share_out(order: Order) -> list[tuple[str, int]]:
    """How many tokens, or records, of an order came of each of its streams, the largest first."""
    rows = pq.read_table(order.folder / "rows.parquet", columns=["stream"])
    counted = {
        found["values"]: found["counts"] for found in rows["stream"].value_counts().to_pylist()
    }
    shares = [(name, counted.get(k, 0) * order.context) for k, name in enumerate(order.streams)]
    return sorted(shares, key=lambda share: -share[1])


def headline(counts: Mapping[str, Any], kind: str) -> str:
    """The one count that says most about a stage, in words."""
    preferred: Sequence[str] = (
        ("steps", "iterations", "tokens", "pairs", "problems")
        if kind == "model"
        else ("num_tokens", "num_documents", "num_pages", "num_records", "num_items", "num_files")
    )
    numbers = {name: value for name, value in counts.items() if isinstance(value, int) and value}
    name = next((n for n in preferred if n in numbers), next(iter(numbers), None))
    if name is None:
        return ""
    return f"{shorten(numbers[name])} {name.removeprefix('num_').replace('_', ' ')}"


def shorten(value: float) -> str:
    """A number in three or four digits: 9,876, 12.3 k, 1.23 M."""
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e12:.3g} T"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
