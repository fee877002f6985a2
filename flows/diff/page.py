"""What differs between two models or two runs, as a page that opens without a network."""

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from flows.diff.command import NUM_NAMED
from flows.diff.view import UNCOMMITTED, describe_drop, describe_side
from tasks.decision import show_value
from tasks.lineage.difference.difference import (
    CHANCE,
    Difference,
    describe_reasons,
    summarise,
)
from tasks.lineage.difference.measures import MeasureChange

TEMPLATE = "diff.html.jinja"
KINDS = {
    "removed": "Only in A",
    "added": "Only in B",
    "changed": "In both, with another text",
    "moved": "In both, held out of training in one",
}
TELLING = ("better", "worse")


def render_page(difference: Difference) -> str:
    """The difference as HTML, with nothing from elsewhere; texts of others are escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(number="{:,}".format, value=show_value)
    template = environment.from_string(
        resources.files("flows.diff").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    telling = [m for m in difference.measures if m.verdict in TELLING]
    return template.render(
        difference=difference,
        sides=[(name, describe_side(s)) for name, s in (("A", difference.a), ("B", difference.b))],
        summary=list(summarise(difference)),
        tiles=list(_tiles(difference)),
        origins=[(origin, describe_reasons(origin)) for origin in difference.origins],
        kinds=list(_group_documents(difference)),
        describe_drop=describe_drop,
        measures=[
            ("What stands out", True, [(m, place_interval(m)) for m in telling]),
            (
                "All others",
                not telling,
                [(m, place_interval(m)) for m in difference.measures if m.verdict not in TELLING],
            ),
        ],
        num_judged=sum(m.verdict is not None for m in difference.measures),
        chance=CHANCE,
        uncommitted=UNCOMMITTED,
    )


def place_interval(measure: MeasureChange) -> dict[str, float] | None:
    """Where the difference and its interval lie on a line from -100 to 100, better on the right."""
    if measure.difference is None or measure.low is None or measure.high is None:
        return None
    farthest = max(abs(measure.low), abs(measure.high))
    scale = (100 / farthest if farthest else 0.0) * (1 if measure.better == "higher" else -1)
    low, high = sorted((measure.low * scale, measure.high * scale))
    return {"low": low, "high": high, "middle": measure.difference * scale}


def _tiles(difference: Difference) -> Iterator[tuple[str, int]]:
    documents, verdicts = difference.documents, difference.verdicts
    yield "results differ", difference.num_other
    yield "results are equal", len(difference.pairs) - difference.num_other
    yield "documents only in A", documents.num("removed")
    yield "documents only in B", documents.num("added")
    if difference.measures:
        yield "measures better in B", verdicts["better"]
        yield "measures worse in B", verdicts["worse"]


def _group_documents(
    difference: Difference,
) -> Iterator[tuple[str, int, Sequence[Any], Sequence[Any]]]:
    """Each way in which documents differ: its title, how many, counts by reason, and the first."""
    documents = difference.documents
    for kind, title in KINDS.items():
        counts = [row for row in documents.counts if row.kind == kind]
        if counts:
            named = [document for document in documents.documents if document.kind == kind]
            yield title, sum(row.num_documents for row in counts), counts, named[:NUM_NAMED]
