"""What differs between two models or two runs, for the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console

from tasks.decision import show_value
from tasks.lineage.difference.difference import (
    CHANCE,
    Difference,
    describe_document_counts,
    describe_origin,
    name_some,
    summarise,
)
from tasks.lineage.difference.documents import DocumentChange, Kind
from tasks.lineage.difference.measures import MeasureChange
from tasks.lineage.difference.sides import Side

NUM_SHOWN = 4
"""Lines of a section without --all."""
SIGNS: Mapping[Kind, str] = {"removed": "-", "added": "+", "changed": "~", "moved": ">"}
UNCOMMITTED = "some of it was made by uncommitted code, of which the records keep no more than that"
COLOURS = {"better": "green", "worse": "red"}


def print_difference(console: Console, difference: Difference, *, show_all: bool) -> None:
    """What differs, a section a subject; no more than a screen unless all is asked for."""
    num_shown = None if show_all else NUM_SHOWN
    for name, side in (("A", difference.a), ("B", difference.b)):
        console.print(f"{name}  {describe_side(side)}", soft_wrap=True)
    if difference.num_other == 0 or difference.is_same_model:
        console.print()
        for sentence in summarise(difference):
            console.print(sentence)
    if difference.num_other == 0:
        return
    _print_origins(console, difference, num_shown)
    _print_stages(console, difference, show_all)
    _print_documents(console, difference, num_shown)
    _print_settings(console, difference, num_shown)
    _print_measures(console, difference, show_all)


def describe_side(side: Side) -> str:
    """What a side is, in a line."""
    what = f"{side.model.stage} {side.model.digest[:12]}" if side.model else "run"
    date = (side.date or "").replace("T", " ").partition("+")[0]
    recipe = f"recipe {side.recipe} {(side.recipe_digest or '')[:8]}" if side.recipe else ""
    lost = f"{side.num_lost:,} results are gone from the store" if side.num_lost else ""
    return f"{side.name}: " + ", ".join(part.strip() for part in (what, date, recipe, lost) if part)


def _print_origins(console: Console, difference: Difference, num_shown: int | None) -> None:
    _print_heading(console, "where they part")
    first = [origin for origin in difference.origins if origin.inputs_equal]
    later = [origin for origin in difference.origins if not origin.inputs_equal]
    _print_some(console, [describe_origin(origin) for origin in first], num_shown)
    if later:
        console.print("  and, on inputs that differ already:")
        _print_some(console, [describe_origin(origin) for origin in later], num_shown)
    num_equal = len(difference.pairs) - difference.num_other
    console.print(
        f"  {difference.num_consequences:,} more results differ in consequence; "
        f"{num_equal:,} of {len(difference.pairs):,} are byte for byte equal",
        style="dim",
    )


def _print_stages(console: Console, difference: Difference, show_all: bool) -> None:
    """The shards of each stage; without --all, of the last one that has any which differ."""
    other = [s for s in difference.stages if s.changed or s.added or s.removed]
    sharded = [s for s in other if any((*s.changed, *s.added, *s.removed))]
    shown = other if show_all else [s for s in sharded if s.stage == "tokenize"] or sharded[-1:]
    if not shown:
        return
    _print_heading(console, "shards")
    for stage in shown:
        parts = [f"{stage.num_equal:,} equal"]
        for what in ("changed", "added", "removed"):
            names = getattr(stage, what)
            if names:
                parts.append(
                    f"{len(names):,} {name_some(what, [n for n in names if n])}"
                    if not show_all
                    else f"{len(names):,} {what}" + (f" ({', '.join(names)})" if any(names) else "")
                )
        console.print(f"  {stage.stage}: {', '.join(parts)}")


def _print_documents(console: Console, difference: Difference, num_shown: int | None) -> None:
    documents = difference.documents
    _print_heading(console, "documents")
    console.print(f"  {describe_document_counts(documents)}")
    for source in documents.sources:
        if (source.documents_a, source.tokens_a) != (source.documents_b, source.tokens_b):
            console.print(
                f"  {source.source}: {source.documents_a:,} -> {source.documents_b:,} documents, "
                f"{source.tokens_a:,} -> {source.tokens_b:,} tokens"
            )
    if documents.num_retokenized:
        num = documents.num_retokenized
        console.print(f"  {num:,} shards hold the same documents, in other tokens", style="dim")
    if documents.num_resharded:
        num = documents.num_resharded
        console.print(f"  {num:,} documents of both lie in another shard", style="dim")
    for shard, why in documents.unread.items():
        console.print(f"  {shard}: not compared: {why}", style="yellow")
    for kind in SIGNS:
        named = [d for d in documents.documents if d.kind == kind][:num_shown]
        for document in named:
            console.print(f"  {describe_document(document)}", soft_wrap=True)
        _print_more(console, documents.num(kind) - len(named))


def describe_document(document: DocumentChange) -> str:
    """A document, what became of it, and why."""
    line = f"{SIGNS[document.kind]} {document.url} ({document.source})"
    line = f"{line}  {describe_drop(document)}".rstrip()
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def describe_drop(document: DocumentChange) -> str:
    """Why a side lacks a document; nothing where it has it, or that is not known."""
    side = "A" if document.kind == "added" else "B"
    if document.rule is None:
        return ""
    if document.stage is None:
        return f"{side} did not bring it in"
    numbers = f"{document.value:.6g}" if document.value is not None else ""
    if document.threshold is not None:
        numbers += f", limit {document.threshold:g}"
    detail = " ".join(part for part in (document.detail, numbers) if part)
    return (
        f"{side} dropped it at {document.stage}: {document.rule}{f' ({detail})' if detail else ''}"
    )


def _print_settings(console: Console, difference: Difference, num_shown: int | None) -> None:
    """Settings that changed nothing, as the others are told as causes; then code and machine."""
    idle = [change for change in difference.settings if not change.num_changed]
    _print_heading(console, "settings and code")
    lines = [
        f"{change.stage}: {change.setting}: "
        f"{'absent' if change.only_in == 'b' else show_value(change.a)} -> "
        f"{'absent' if change.only_in == 'a' else show_value(change.b)} (without effect)"
        for change in idle
    ]
    for change in difference.facts:
        sides = (_count_values(values) for values in (change.a, change.b))
        lines.append(f"{change.fact}: {' -> '.join(sides)}")
    _print_some(console, lines or ["no other setting; the same code and machine"], num_shown)
    if difference.has_uncommitted_code:
        console.print(f"  {UNCOMMITTED}", style="dim")


def _count_values(values: Mapping[str, int]) -> str:
    parts = [f"{value[:60]} ({num:,} results)" for value, num in values.items()]
    return ", ".join(parts) or "not recorded"


def _print_measures(console: Console, difference: Difference, show_all: bool) -> None:
    if not difference.measures:
        return
    _print_heading(console, "measures")
    verdicts = difference.verdicts
    console.print("  " + ", ".join(f"{num:,} {word}" for word, num in verdicts.most_common()))
    telling = [m for m in difference.measures if m.verdict in ("better", "worse")]
    for measure in difference.measures if show_all else telling[: 2 * NUM_SHOWN]:
        console.print(
            f"  {describe_measure(measure)}",
            style=COLOURS.get(measure.verdict or ""),
            soft_wrap=True,
        )
    if not show_all:
        _print_more(console, len(telling) - 2 * NUM_SHOWN)
    num_judged = sum(measure.verdict is not None for measure in difference.measures)
    console.print(
        "  better or worse: the 95% interval of the difference leaves out 0; of "
        f"{num_judged:,} measures, up to {num_judged * CHANCE:.0f} may do so by chance",
        style="dim",
    )


def describe_measure(measure: MeasureChange) -> str:
    """A measure of both sides with its verdict."""
    values = " -> ".join("none" if m is None else f"{m.value:.3f}" for m in (measure.a, measure.b))
    line = f"{measure.stage}: {measure.name}: {values}"
    if measure.difference is None:
        return line
    interval = f"{measure.difference:+.3f} [{measure.low:+.3f}, {measure.high:+.3f}]"
    other = f"; measured with other {', '.join(measure.conditions)}" if measure.conditions else ""
    return f"{measure.verdict:<6} {line}, {interval}{other}"


def _print_heading(console: Console, text: str) -> None:
    console.print(f"\n{text}", style="bold")


def _print_some(console: Console, lines: Sequence[str], num_shown: int | None) -> None:
    for line in lines[:num_shown]:
        console.print(f"  {line}", soft_wrap=True)
    if num_shown is not None:
        _print_more(console, len(lines) - num_shown)


def _print_more(console: Console, num_left: int) -> None:
    if num_left > 0:
        console.print(f"  and {num_left:,} more: --all", style="dim")
