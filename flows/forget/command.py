"""``headwater forget``: takes a page, a host or a raw file out of all that was learnt from it.

What is to be forgotten goes on the home's list, which is part of the blocklist of every recipe.
Then the recipe that made the models in use runs again: shards without the page are not touched, and
where the tokens come out the same, so are the models. The names move to the new models once no
held-out measure is worse than chance explains. With ``--erase`` the page's bytes go, too.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.commands import add_command
from flows.home import open_home
from pipeline_data.errors import HeadwaterError
from tasks.claims import claim

if TYPE_CHECKING:
    from flows.forget.forgetting import Outcome
    from flows.forget.forgotten import Forgotten
    from flows.forget.target import Target
    from flows.graphs import GraphPlan
    from tasks.lineage.impact import Impact, TouchedModel

NO_REASON = "no reason was given"
NUM_SHOWN = 10


def add_forget(commands: Any) -> None:
    """The subcommand."""
    forget = add_command(
        commands, "forget", forget_target, "take a page, host or raw file out of corpus and models"
    )
    forget.add_argument(
        "target", help="an address as the corpus spells it, a host, or a raw file or its shard"
    )
    forget.add_argument("--kind", choices=("url", "domain", "file"), help="what the target is")
    forget.add_argument("--reason", default=NO_REASON, help="why; it is kept with the date")
    forget.add_argument("--dry-run", action="store_true", help="say what it means, and do nothing")
    forget.add_argument("--erase", action="store_true", help="delete its bytes from the store, too")
    forget.add_argument(
        "--accept-worse", action="store_true", help="use the new models even if a measure got worse"
    )
    forget.add_argument("--yes", action="store_true", help="do not ask")


def forget_target(options: argparse.Namespace) -> int:
    """``headwater forget``."""
    home = open_home()
    from flows.forget.forgetting import Forgetting, Outcome, check_no_run, entries_of, open_index
    from flows.forget.forgotten import read_forgotten
    from flows.forget.remaking import find_remaking, rerun_in_foreground
    from flows.forget.target import find_target

    store = home.open_store()
    index = open_index(store)
    forgotten = read_forgotten(home.path)
    target = find_target(index, options.target, options.kind, forgotten)
    impact = target.assess(index)
    remaking = find_remaking(home, store, impact.names, forgotten)
    plan = remaking.plan([*forgotten, *entries_of(target, options.reason, "")])
    if not options.json:
        lines = [
            *_describe_entries(target, forgotten),
            *_describe_impact(target, impact),
            *_describe_plan(options, plan),
        ]
        print("\n".join(lines), flush=True)
    if options.dry_run:
        _print_json(options, target, impact, plan, Outcome())
        return 0
    if options.erase:
        check_no_run(home.path)
    _confirm(options)
    forgetting = Forgetting(
        home,
        store,
        target,
        options.reason,
        remaking,
        rerun_in_foreground,
        options.accept_worse,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    with claim(store.claims, "forget"):
        outcome = forgetting.forget(impact)
        if options.erase:
            forgetting.erase(outcome)
    _print_json(options, target, impact, plan, outcome)
    if not options.json:
        print("\n".join(_describe_outcome(options, target, outcome)))
    return 0


def _confirm(options: argparse.Namespace) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise HeadwaterError("forget asks before it acts and there is no terminal: give --yes")
    what = "forget it and erase its bytes" if options.erase else "forget it"
    print(f"{what}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise HeadwaterError("nothing was done")


def _print_json(
    options: argparse.Namespace,
    target: "Target",
    impact: "Impact",
    plan: "GraphPlan",
    outcome: "Outcome",
) -> None:
    if not options.json:
        return
    from flows.plan import plan_as_json

    answer = {
        "target": target.text,
        "kind": target.kind,
        "entries": list(target.entries),
        "dry_run": options.dry_run,
        "impact": {
            "shards": [asdict(shard) for shard in impact.shards],
            "documents": impact.num_documents,
            "tokens": impact.num_tokens,
            "names": impact.names,
            "models": [_model_as_json(model) for model in impact.models],
        },
        **plan_as_json(plan),
        "runs": outcome.runs,
        "gates": [asdict(c) | {"passes": c.passes} for c in outcome.comparisons],
        "superseded": [
            {"name": name, "version": old, "by": new} for name, old, new in outcome.superseded
        ],
        "redacted_records": outcome.num_redacted,
        "erased": [
            {"stage": a.stage, "shard": a.shard, "digest": a.digest} for a in outcome.erased
        ],
        "erased_bytes": outcome.num_bytes,
        "left": [asdict(left) for left in outcome.left],
        "outcome_notes": outcome.notes,
    }
    print(json.dumps(answer))


def _model_as_json(model: "TouchedModel") -> dict[str, Any]:
    return {
        "stage": model.artifact.stage,
        "digest": model.artifact.digest,
        "versions": list(model.versions),
        "in_use_as": list(model.names),
        "orders": [asdict(coverage) for coverage in model.coverage],
    }


def _describe_entries(target: "Target", forgotten: "Sequence[Forgotten]") -> Iterator[str]:
    wanted = {(target.kind, entry) for entry in target.entries}
    for entry in [e for e in forgotten if (e.kind, e.target) in wanted][:1]:
        erased = f", its bytes erased on {entry.erased[:10]}" if entry.erased else ""
        yield f"on the list since {entry.date[:10]}: {entry.reason}{erased}"


def _describe_impact(target: "Target", impact: "Impact") -> Iterator[str]:
    what = {"url": "page", "domain": "host", "file": "raw file"}[target.kind]
    pages = f" ({_count(len(target.entries), 'page')})" if len(target.entries) > 1 else ""
    yield f"{what} {target.text}{pages}"
    documents, tokens = _count(impact.num_documents, "document"), _count(impact.num_tokens, "token")
    yield f"  in {_count(len(impact.shards), 'shard')}: {documents}, {tokens}"
    for shard in impact.shards[:NUM_SHOWN]:
        documents = _count(shard.num_documents, "document")
        yield f"    {shard.shard}: {documents}, {_count(shard.num_tokens, 'token')}"
    yield from _more(len(impact.shards), "shards")
    if not impact.models:
        yield "  no model has seen it"
    for model in impact.models[:NUM_SHOWN]:
        named = ", ".join(model.versions) or "no name"
        used = f", in use as {', '.join(model.names)}" if model.names else ""
        yield f"  {model.artifact.label} ({named}{used})"
        for c in model.coverage:
            yield (
                f"    {c.order}: {_count(c.num_steps, c.step)} saw it, from {c.first:,} to "
                f"{c.last:,}; {_count(c.num_tokens, 'token')}, repeats included"
            )
    yield from _more(len(impact.models), "models")


def _describe_plan(options: argparse.Namespace, plan: "GraphPlan") -> Iterator[str]:
    from flows.plan import describe_plan, summarise_plan

    yield "then:"
    for line in describe_plan(plan.decisions, plan.cores):
        if not line.startswith("reuse"):
            yield f"  {line}"
    yield from (f"  note: {note}" for note in plan.notes)
    yield f"  {summarise_plan(plan)}"
    if options.erase:
        yield (
            "  its records are taken out of the store's raw shards, which are extracted again; "
            "what was made of them before is erased, models included"
        )


def _describe_outcome(
    options: argparse.Namespace, target: "Target", outcome: "Outcome"
) -> Iterator[str]:
    from flows.forget.gates import explain_failure

    if outcome.comparisons:
        num_passed = sum(c.passes for c in outcome.comparisons)
        yield f"gates: {num_passed:,} of {len(outcome.comparisons):,} measures are no worse"
        yield from (f"  {explain_failure(c)}" for c in outcome.comparisons if not c.passes)
    for name, old, new in outcome.superseded:
        yield f"{name}@{old} is superseded by {name}@{new}"
    if options.erase:
        yield (
            f"erased: {_count(outcome.num_redacted, 'raw record')}, "
            f"{_count(len(outcome.erased), 'artefact')}, {outcome.num_bytes / 1e6:,.1f} MB; "
            "tombstones keep what they were"
        )
        yield from _describe_left(outcome)
    yield from (f"note: {note}" for note in outcome.notes)
    option = {"url": "--url ", "domain": "--domain "}.get(target.kind)
    if option and len(target.entries) == 1:
        yield f"next: headwater trace {option}{target.entries[0]}"


def _describe_left(outcome: "Outcome") -> Iterator[str]:
    if outcome.left:
        yield "not the store's to change, so still there:"
    for left in outcome.left[:NUM_SHOWN]:
        at = f" at {left.offset:,}" if left.offset is not None else ""
        yield f"  {left.place}{at}{f': {left.url}' if left.url else ''}"
    yield from _more(len(outcome.left), "places")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _more(number: int, what: str) -> Iterator[str]:
    if number > NUM_SHOWN:
        yield f"  and {number - NUM_SHOWN:,} {what} more (--json names all)"
