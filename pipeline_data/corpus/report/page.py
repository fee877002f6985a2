"""The corpus report for people: a page that opens without a network, and a short summary."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline_data.corpus.report.plots import plot_fates, plot_lengths, plot_similarities
from pipeline_data.corpus.report.queries import Answer
from pipeline_data.corpus.report.views import VIEWS

Rows = Sequence[Mapping[str, Any]]

TEMPLATE = "report.html.jinja"
STAGES = {
    "extract": "Extraction",
    "filter": "Filters",
    "dedup": "Deduplication",
    "decontaminate": "Decontamination",
}
COUNTS = ("num_records", "num_documents", "num_filtered", "num_deduplicated", "num_kept")
NUM_RULES_IN_SUMMARY = 10


def render_page(answers: Mapping[str, Answer], texts: Mapping[tuple[str, str], str]) -> str:
    """The report as HTML.

    Args:
        answers: one for each of ``report_queries.QUERIES``.
        texts: the start of a sample document's text by shard and id.
    """
    rows = {name: list(answer.records()) for name, answer in answers.items()}
    sources, total = sum_up(answers)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(number=format_number, percent=format_percent)
    template = environment.from_string(
        resources.files("pipeline_data.corpus.report")
        .joinpath(TEMPLATE)
        .read_text(encoding="utf-8")
    )
    plots = {
        "fates": plot_fates(sources),
        "lengths": plot_lengths(rows["lengths"]),
        "similarities": plot_similarities(rows["similarities"]),
    }
    return template.render(
        {name: rows[name] for name in rows if name not in ("samples", "details")}
        | {
            "answers": answers,
            "sources": sources,
            "total": total,
            "tiles": [(label, format_short(value)) for label, value in _tiles(total)],
            "rules": list(_group_rules(rows, texts)),
            "largest_rule": max((row["num_documents"] for row in rows["rules"]), default=0),
            "plots": {
                name: Markup(svg) for name, svg in plots.items()
            },  # made by us, escaped there
            "views": VIEWS,
        }
    )


def render_summary(answers: Mapping[str, Answer]) -> str:
    """The report in a few lines of Markdown."""
    sources, total = sum_up(answers)
    lines = ["# Corpus report", ""]
    lines += [", ".join(f"{format_number(v)} {label}" for label, v in _tiles(total)) + ".", ""]
    lines += ["| source | records | extracted | filtered | deduplicated | kept | tokens |"]
    lines += ["|:--|--:|--:|--:|--:|--:|--:|"]
    for row in [*sources, {**total, "source": "**all**"}]:
        numbers = " | ".join(format_number(row[name]) for name in (*COUNTS, "num_tokens"))
        lines.append(f"| {_escape_markdown(row['source'])} | {numbers} |")
    rules = sorted(answers["rules"].records(), key=lambda row: -row["num_documents"])
    if rules:
        lines += ["", "| removed by | documents | of all records |", "|:--|--:|--:|"]
    for row in rules[:NUM_RULES_IN_SUMMARY]:
        name = _escape_markdown(f"{row['stage']}: {row['rule']}")
        share = format_percent(row["num_documents"], total["num_records"])
        lines.append(f"| {name} | {format_number(row['num_documents'])} | {share} |")
    return "\n".join([*lines, "", 'More: report.html, or `headwater sql "FROM sources"`.', ""])


def sum_up(answers: Mapping[str, Answer]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The sources with their tokens, and the sums over all of them."""
    tokens = list(answers["tokens"].records())
    sources = [dict(row) for row in answers["sources"].records()]
    for source in sources:
        own = [row for row in tokens if row["source"] == source["source"]]
        source["num_tokens"] = sum(row["num_tokens"] for row in own)
    total = {
        name: sum(source[name] or 0 for source in sources)
        for name in ("num_shards", *COUNTS, "num_tokens")
    }
    total["num_sources"] = len(sources)
    total["num_bytes"] = sum(row["num_bytes"] for row in tokens)
    total["num_removed"] = total["num_records"] - total["num_kept"]
    return sources, total


def format_number(value: int | None) -> str:
    """Whole numbers with commas; nothing where there is none."""
    return "" if value is None else f"{value:,}"


def format_percent(part: int, whole: int) -> str:
    """A share with the digits that matter."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.1:
        return "<0.1%"
    return f"{share:.1f}%"


def format_short(value: int) -> str:
    """A number in three or four digits: 12,345, 1.23 M, 45.6 G."""
    if value < 100_000:
        return f"{value:,}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)):
        if value < 999.5 * size or unit == "T":
            return f"{value / size:.3g} {unit}"
    raise AssertionError("the last unit takes all")


def _tiles(total: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    yield "sources", total["num_sources"]
    yield "records read", total["num_records"]
    yield "documents extracted", total["num_documents"]
    yield "documents in the corpus", total["num_kept"]
    yield "tokens", total["num_tokens"]
    yield "bytes of text", total["num_bytes"]


def _group_rules(
    rows: Mapping[str, Rows], texts: Mapping[tuple[str, str], str]
) -> Iterator[dict[str, Any]]:
    """The rules of each stage, with what crossed their lines and sample documents."""
    for stage, title in STAGES.items():
        rules = [
            {
                **rule,
                "details": [
                    row
                    for row in rows["details"]
                    if stage == "filter" and row["rule"] == rule["rule"] and row["limit_crossed"]
                ],
                "samples": [
                    {**row, "text": texts.get((row["shard"], row["doc_id"]), "")}
                    for row in rows["samples"]
                    if (row["stage"], row["rule"]) == (stage, rule["rule"])
                ],
            }
            for rule in rows["rules"]
            if rule["stage"] == stage
        ]
        if rules:
            yield {"title": title, "rules": rules}


def _escape_markdown(text: str) -> str:
    """A name as plain text in a table's cell, whatever is in it."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\|<>[]`_*" else char for char in line)
