"""The training curves of a run as one picture of small panels."""

import io
import logging
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_data.artifact import PROVENANCE, Artifact
from pipeline_data.formats import read_jsonl

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = "metrics.jsonl"
NUM_COLUMNS = 3
PANEL_INCHES = (2.5, 1.9)
DOTS_PER_INCH = 150
LINE, INK, GRID = "#2b7f99", "#33363d", "#dfe1e6"
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Curve:
    """A number of a training stage, step by step."""

    stage: str
    metric: str
    steps: Sequence[int]
    values: Sequence[float]


def read_curves(artifacts: Iterable[Artifact]) -> list[Curve]:
    """The curves that training stages left beside their models; rates are left out."""
    curves = []
    for artifact in artifacts:
        path = artifact.directory / PROVENANCE / METRICS
        rows = list(read_jsonl(path)) if path.is_file() else []
        names = dict.fromkeys(name for row in rows for name in row)
        curves += [
            _read_curve(artifact.stage, name, rows)
            for name in names
            if name != "step" and not name.endswith("_per_second")
        ]
    return [curve for curve in curves if curve.steps]


def _read_curve(stage: str, name: str, rows: Sequence[Mapping[str, Any]]) -> Curve:
    known = [row for row in rows if math.isfinite(row.get(name, math.nan))]
    return Curve(stage, name, [row["step"] for row in known], [row[name] for row in known])


def draw_curves(curves: Sequence[Curve]) -> str:
    """A panel a curve, as the data URI of a PNG picture."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    num_columns = min(NUM_COLUMNS, len(curves))
    num_rows = -(-len(curves) // num_columns)
    width, height = PANEL_INCHES
    with style.context(["default", _STYLE]):
        figure = Figure(
            (width * num_columns, height * num_rows), dpi=DOTS_PER_INCH, layout="constrained"
        )
        FigureCanvasAgg(figure)
        for number, curve in enumerate(curves, 1):
            _draw_panel(figure.add_subplot(num_rows, num_columns, number), curve)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"


def _draw_panel(axes: "Axes", curve: Curve) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "." if len(curve.steps) < 2 else ""
    axes.plot(curve.steps, curve.values, color=LINE, linewidth=1.2, marker=marker)
    axes.set_title(f"{curve.stage}: {curve.metric.replace('_', ' ')}", fontweight="bold")
    axes.set_title(f"{curve.values[-1]:.3g}", loc="right", color=LINE)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
