"""The plots of the corpus report, as SVG to be set into a page.

Colours are drawn as placeholders and left to the page's style sheet, so that one drawing serves
light and dark. Same numbers, same bytes.
"""

import io
import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005")
INK, GRID = "#0b0001", "#0b0002"
_VARIABLES = {
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
    INK: "currentColor",
    GRID: "var(--line)",
}
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
}
_WIDTH = 9.2


def plot_fates(sources: Sequence[Mapping[str, Any]]) -> str:
    """A bar a source: the share of its records lost at each stage, and the share that is kept."""
    stages = ("num_records", "num_documents", "num_filtered", "num_deduplicated", "num_kept")
    labels = ("kept", "extraction", "filters", "duplicates", "evaluation items")

    def draw(axes: Axes) -> None:
        names = [source["source"] for source in sources]
        left = [0.0] * len(sources)
        for series, label in enumerate(labels):
            shares = []
            for source in sources:
                counts = [source[stage] or 0 for stage in stages]
                part = counts[-1] if series == 0 else counts[series - 1] - counts[series]
                shares.append(100 * part / counts[0] if counts[0] else 0.0)
            axes.barh(names, shares, left=left, label=label, color=SERIES[series], height=0.62)
            left = [start + share for start, share in zip(left, shares, strict=True)]
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of the records read")
        axes.legend(ncols=5, loc="lower left", bbox_to_anchor=(0, 1), handlelength=1)

    return _draw(draw, "What became of the records of each source", 1.1 + 0.36 * len(sources))


def plot_lengths(lengths: Sequence[Mapping[str, Any]]) -> str:
    """How many documents, and how many tokens, lie in documents of each length."""

    def draw(axes: Axes) -> None:
        places = [row["log2_bytes"] for row in lengths]
        for series, (name, offset) in enumerate({"documents": -0.2, "tokens": 0.2}.items()):
            total = sum(row[f"num_{name}"] for row in lengths) or 1
            shares = [100 * row[f"num_{name}"] / total for row in lengths]
            axes.bar(
                [place + offset for place in places],
                shares,
                width=0.38,
                label=f"% of {name}",
                color=SERIES[series],
            )
        axes.set_xticks(places, [_round_bytes(2**place) for place in places])
        axes.set_xlabel("length of the text, from this up to twice this")
        axes.set_ylabel("%")
        axes.legend()

    return _draw(draw, "Lengths of the documents of the corpus", 2.9)


def plot_similarities(similarities: Sequence[Mapping[str, Any]]) -> str:
    """How many near duplicates have each similarity to the document that is kept."""

    def draw(axes: Axes) -> None:
        axes.bar(
            [row["percent"] / 100 for row in similarities],
            [row["num_documents"] for row in similarities],
            width=0.008,
            align="edge",
            color=SERIES[0],
        )
        axes.set_xlim(right=1.005)
        axes.set_xlabel("Jaccard similarity to the document that is kept")
        axes.set_ylabel("documents")
        axes.locator_params(axis="y", integer=True)

    return _draw(draw, "Similarity of near duplicates", 2.5)


def _round_bytes(number: int) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1024:
            return f"{number} {unit}"
        number //= 1024
    return f"{number} GB"


def _draw(draw: Callable[[Axes], None], title: str, height: float) -> str:
    """One figure as an ``<svg>`` element without size, font or colours of its own."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    ours = {**_STYLE, "svg.hashsalt": title}
    with style.context(["default", ours]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's browser has the letter
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(True, axis="x" if axes.yaxis_inverted() else "y", color=GRID, linewidth=0.6)
        file = io.StringIO()
        no_facts = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=no_facts, transparent=True)
    return _set_into_page(file.getvalue(), title)


def _set_into_page(svg: str, title: str) -> str:
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would be the whole page's
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # every figure has the same
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = svg.replace("'DejaVu Sans'", "inherit")
    opening, _, rest = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box is not None, "matplotlib gives every figure a view box"
    name = escape(title)
    return f'<svg role="img" aria-label="{name}" {box[0]}><title>{name}</title>{rest}'
