"""``headwater trace``: lineage both ways, from the store alone.

A model down to its raw files; a page, a domain or a document up to every model that saw it, and at
which steps; a step to the documents in its batch.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.commands import add_command
from flows.forget.forgotten import read_forgotten
from flows.home import Home, open_home
from flows.lineage import open_catalogue, open_index
from pipeline_data.errors import HeadwaterError
from tasks.lineage.catalogue import Catalogue

Answer = dict[str, Any]
Lines = Iterator[str]
SHOWN = 10
"""Rows of one kind that are shown without ``--all``."""


def add_trace(commands: Any) -> None:
    """The subcommand."""
    trace = add_command(
        commands, "trace", show_trace, "a model down to raw files, or a page up to every model"
    )
    model = "a model: its name, name@version or the start of its digest (assistant)"
    trace.add_argument("model", nargs="?", default="assistant", help=model)
    asked = trace.add_mutually_exclusive_group()
    asked.add_argument("--url", help="a page: its life, the steps and the models that saw it")
    asked.add_argument("--domain", help="all pages of a host and its subdomains")
    asked.add_argument("--document", metavar="ID", help="the same for a document by its id")
    asked.add_argument("--step", type=int, metavar="N", help="the documents in a training step")
    asked.add_argument("--html", type=Path, metavar="FILE", help="write the lineage as a page")
    trace.add_argument("--order", metavar="NAME", help="the order that --step counts in")
    trace.add_argument("--all", action="store_true", help="every shard, document and step")
    trace.add_argument("--mlflow", action="store_true", help="compare with MLflow's record, too")


def show_trace(options: argparse.Namespace) -> int:
    """``headwater trace``."""
    home = open_home()
    catalogue = open_catalogue(home.open_store())
    if options.html:
        return _write_page(catalogue, options)
    answer, lines = _answer(home, catalogue, options)
    disagreements = _compare(home, catalogue, options.model) if options.mlflow else []
    if options.mlflow:
        answer |= {"disagreements": disagreements}
    if options.json:
        print(json.dumps(answer))
        return 1 if disagreements else 0
    for line in [*lines, *disagreements]:
        print(line)
    if options.mlflow and not disagreements:
        print("MLflow's record agrees")
    return 1 if disagreements else 0


def _answer(
    home: Home, catalogue: Catalogue, options: argparse.Namespace
) -> tuple[Answer, Sequence[str] | Lines]:
    shown = None if options.all else SHOWN
    if options.url is not None:
        return _trace_page(home, catalogue, "url", options.url, shown)
    if options.document is not None:
        return _trace_page(home, catalogue, "document", options.document, shown)
    if options.domain is not None:
        return _trace_domain(home, catalogue, options.domain, shown)
    if options.step is not None:
        from tasks.lineage.trace import trace_step

        model = catalogue.named(options.model)
        answer = trace_step(catalogue, model, options.step, options.order)
        return {"model": options.model, **answer}, _step_lines(answer, shown)
    from tasks.lineage.tree import FOLDED, lineage_tree, render_tree

    tree = lineage_tree(catalogue, catalogue.named(options.model))
    folded = len(catalogue.ancestry(catalogue.named(options.model))) if options.all else FOLDED
    return {"model": options.model, "tree": tree}, render_tree(tree, folded)


def _write_page(catalogue: Catalogue, options: argparse.Namespace) -> int:
    from tasks.lineage.page.page import render_lineage

    page = render_lineage(catalogue, catalogue.named(options.model))
    try:
        options.html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise HeadwaterError(f"--html {options.html}: {error.strerror}") from None
    path = str(options.html.resolve())
    print(json.dumps({"model": options.model, "page": path}) if options.json else path)
    return 0


def _compare(home: Home, catalogue: Catalogue, model: str) -> list[str]:
    from tasks.tracking.check import disagreements

    return disagreements(catalogue, catalogue.named(model), home.tracking_uri)


def _trace_page(
    home: Home, catalogue: Catalogue, kind: str, wanted: str, shown: int | None
) -> tuple[Answer, Lines]:
    from tasks.lineage.trace import trace_places

    index = open_index(catalogue)
    places = index.find_url(wanted) if kind == "url" else index.find_document(wanted)
    answer: Answer = {kind: wanted, **trace_places(catalogue, places)}
    if kind == "url" and not places and (host := urlsplit(wanted).hostname):
        pages = [p for p in index.find_domain(host) if p.artifact.stage == "extract"]
        if num_documents := sum(p.num_documents for p in pages):
            answer["near"] = {"host": host, "num_documents": num_documents}
    addresses = [wanted] if kind == "url" else [d["url"] for d in answer["documents"]]
    answer["forgotten"] = [asdict(e) for e in read_forgotten(home.path) if e.concerns(addresses)]
    return answer, _page_lines(wanted, answer, shown)


def _trace_domain(
    home: Home, catalogue: Catalogue, domain: str, shown: int | None
) -> tuple[Answer, Lines]:
    from tasks.lineage.trace import trace_domain

    answer = trace_domain(open_index(catalogue), domain, num_counted=shown)
    hosts = [f"//{host}/" for host in (domain, *(row["host"] for row in answer["hosts"]))]
    answer["forgotten"] = [asdict(e) for e in read_forgotten(home.path) if e.concerns(hosts)]
    return answer, _domain_lines(domain, answer, shown)


def _forgotten_lines(answer: Answer) -> Lines:
    for entry in answer["forgotten"]:
        since = f"{entry['target']} is forgotten since {entry['date'][:10]}"
        erased = f"; its bytes were erased on {entry['erased'][:10]}" if entry["erased"] else ""
        yield f"{since}: {entry['reason']}{erased}"


def _page_lines(wanted: str, answer: Answer, shown: int | None) -> Lines:
    yield from _forgotten_lines(answer)
    if not answer["places"]:
        yield f"{wanted}: no artefact of the store holds it"
        if near := answer.get("near"):
            yield f"of {near['host']} it has {_count(near['num_documents'], 'page')}: --domain"
        return
    if not answer["documents"]:
        yield wanted
    for document in answer["documents"]:
        state = "" if document["current"] else "  (not in the present corpus)"
        named = f"source {document['source']}, document {document['doc_id']}"
        yield f"{document['url']}  {named}{state}"
        raw = document["raw"]
        fetched = f", fetched {raw['fetched']}" if raw["fetched"] else ""
        yield f"  raw            {raw['raw_shard'] or raw['path']} at {raw['offset']:,}{fetched}"
        for event in document["events"]:
            yield f"  {event['stage']:14} {event['digest'][:12]} {_show_event(event)}"
    yield ""
    if not answer["trainings"]:
        yield "no training saw it"
    for training in answer["trainings"]:
        names = ", ".join(training["names"]) or "no name"
        yield f"seen by {training['stage']} {training['digest'][:12]} ({names})"
        for exposure in training["exposures"]:
            yield f"  {_show_exposure(exposure, shown)}"
    yield from _model_lines(answer["models"], shown)


def _show_event(event: Answer) -> str:
    facts = {
        name: value
        for name, value in event.items()
        if name not in {"stage", "shard", "digest", "key", "outcome", "url"} and value is not None
    }
    told = ", ".join(f"{name.replace('_', ' ')} {_show(value)}" for name, value in facts.items())
    return f"{event['outcome']:8} {told}".rstrip()


def _show_exposure(exposure: Answer, shown: int | None) -> str:
    steps = exposure["steps"]
    first = ", ".join(map(str, steps[:shown]))
    more = f" and {len(steps) - shown:,} more" if shown and len(steps) > shown else ""
    often = f", up to {exposure['times']} times" if exposure["times"] > 1 else ""
    return (
        f"{exposure['order']}: {exposure['num_tokens']:,} tokens in "
        f"{_count(len(steps), exposure['step'])}{often}: {first}{more}"
    )


def _model_lines(models: Sequence[Answer], shown: int | None) -> Lines:
    if not models:
        return
    yield f"models made of it: {len(models):,}"
    for model in models[:shown]:
        names = ", ".join(model["names"]) or "no name"
        state = f"  in use as {', '.join(model['in_use'])}" if model["in_use"] else ""
        if model["erased"]:
            state = f"  erased {model['erased']['date'][:10]}: {model['erased']['reason']}"
        yield f"  {model['stage']} {model['digest'][:12]} ({names}){state}"
    if shown and len(models) > shown:
        yield f"  and {len(models) - shown:,} more: --all"


def _domain_lines(domain: str, answer: Answer, shown: int | None) -> Lines:
    yield from _forgotten_lines(answer)
    hosts = answer["hosts"]
    if not hosts:
        yield f"{domain}: no artefact of the store holds a page of it"
        return
    yield f"{'host':40} {'pages read':>12} {'kept':>12} {'tokens':>14} {'shards':>8}"
    for host in sorted(hosts, key=lambda host: -int(host["num_documents"]))[:shown]:
        yield (
            f"{host['host']:40} {host['num_documents']:12,} {host['num_kept']:12,} "
            f"{host['num_tokens']:14,} {host['num_shards']:8,}"
        )
    if shown and len(hosts) > shown:
        yield f"and {len(hosts) - shown:,} more hosts: --all"
    yield ""
    if not answer["trainings"]:
        yield "no training saw any of it"
    for training in answer["trainings"][:shown]:
        names = ", ".join(training["names"]) or "no name"
        yield f"seen by {training['stage']} {training['digest'][:12]} ({names})"
        for c in training["coverage"]:
            yield (
                f"  {c['order']}: {c['num_tokens']:,} tokens of "
                f"{_count(c['num_documents'], 'document')} in {_count(c['num_steps'], c['step'])}, "
                f"from {c['first']:,} to {c['last']:,}"
            )
    if shown and len(answer["trainings"]) > shown:
        yield f"and by {len(answer['trainings']) - shown:,} more trainings: --all"
    yield from _model_lines(answer["models"], shown)


def _step_lines(answer: Answer, shown: int | None) -> Lines:
    documents = answer["documents"]
    yield (
        f"{answer['step_is']} {answer['step']:,} of {answer['steps']:,} in the {answer['order']} "
        f"of {answer['stage']} {answer['digest'][:12]}: "
        f"{sum(d['num_tokens'] for d in documents):,} tokens of {len(documents):,} documents"
    )
    for document in documents[:shown]:
        named = f"{document['source']:14} {document['doc_id']}  {document['url'] or ''}"
        yield f"  {document['num_tokens']:6,}  {named}".rstrip()
    if shown and len(documents) > shown:
        yield f"  and {len(documents) - shown:,} more: --all"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
