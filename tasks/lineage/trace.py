"""Answers about single documents, domains and steps, as JSON values.

Every answer names artefacts as ``{"stage", "shard", "digest", "key"}`` and models by the names they
have had (``assistant@2``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex, HostPlace, Place
from tasks.lineage.exposure import (
    documents_of,
    read_orders,
    steps_of,
    steps_of_all,
    which_saw,
)
from tasks.lineage.life import Life, trace_lives
from tasks.lineage.query import ask
from tasks.lineage.reach import (
    ReachedModel,
    find_models,
    find_trainings,
    name_artifacts,
)

Answer = dict[str, Any]


def trace_places(catalogue: Catalogue, places: Sequence[Place]) -> Answer:
    """What became of the documents at these places, and which steps and models they reached."""
    doc_ids = sorted({place.doc_id for place in places})
    seen = {
        training.key: (training, found)
        for training in find_trainings(catalogue, places)
        if (found := steps_of(catalogue.store.fetch(training), doc_ids))
    }
    names, _ = name_artifacts(catalogue)
    lives = [
        life
        for doc_id in doc_ids
        for life in trace_lives(
            catalogue,
            [p.artifact for p in places if p.artifact.stage == "extract" and p.doc_id == doc_id],
            doc_id,
        )
    ]
    return {
        "documents": [_describe_life(life) for life in lives],
        "places": [
            {**name(p.artifact), "doc_id": p.doc_id, "num_tokens": p.num_tokens} for p in places
        ],
        "trainings": [
            {
                **name(training),
                "names": names.get(training.key, []),
                "exposures": [
                    {**asdict(exposure), "num_steps": len(exposure.steps)} for exposure in exposures
                ],
            }
            for training, exposures in seen.values()
        ],
        "models": _describe_models(find_models(catalogue, [t for t, _ in seen.values()])),
    }


def trace_domain(index: DocumentIndex, domain: str, num_counted: int | None = None) -> Answer:
    """What of a domain is in the store, and which steps and models it reached.

    Args:
        num_counted: count the steps of so many trainings at most, those in use first.
    """
    catalogue, places = index.catalogue, index.find_domain(domain)
    trainings = find_trainings(catalogue, places)
    doc_ids = index.find_domain_documents(domain)
    saw = which_saw([catalogue.store.fetch(t) for t in trainings], doc_ids)
    names, in_use = name_artifacts(catalogue)
    saw.sort(key=lambda training: training.key not in in_use)
    counted = {training.key for training in saw[:num_counted]}
    return {
        "domain": domain,
        "hosts": _sum_up_hosts(places),
        "shards": [
            {**name(p.artifact), "host": p.host, "num_documents": p.num_documents,
             "num_tokens": p.num_tokens}
            for p in places
        ],
        "trainings": [
            {
                **name(training),
                "names": names.get(training.key, []),
                "coverage": [asdict(c) for c in steps_of_all(training, doc_ids)]
                if training.key in counted
                else None,
            }
            for training in saw
        ],
        "models": _describe_models(find_models(catalogue, saw)),
    }  # fmt: skip


def _sum_up_hosts(places: Sequence[HostPlace]) -> list[Answer]:
    hosts: dict[str, dict[str, int]] = {}
    for place in places:
        counts = hosts.setdefault(
            place.host, {"num_documents": 0, "num_kept": 0, "num_tokens": 0, "num_shards": 0}
        )
        if place.artifact.stage == "extract":
            counts["num_documents"] += place.num_documents
        else:
            counts["num_kept"] += place.num_documents
            counts["num_tokens"] += place.num_tokens
            counts["num_shards"] += 1
    return [{"host": host, **counts} for host, counts in sorted(hosts.items())]


def trace_step(catalogue: Catalogue, model: Artifact, step: int, order: str | None) -> Answer:
    """The documents in a step of a model's training.

    Args:
        order: which order of the training; the first if absent.

    Raises:
        ArtifactError: it is no training, or has no such order or step.
    """
    orders = {o.order: o for o in read_orders(catalogue.store.fetch(model))}
    if not orders:
        raise ArtifactError(f"{model.label} is no training: name a model that was trained")
    if order is not None and order not in orders:
        raise ArtifactError(f"{model.label} has no order '{order}' (it has {', '.join(orders)})")
    asked = orders[order] if order else next(iter(orders.values()))
    seen = documents_of(model, asked, step)
    addresses = find_addresses(
        catalogue, [document.doc_id for document in seen if document.url is None]
    )
    return {
        **name(model),
        "order": asked.order,
        "step_is": asked.step,
        "step": step,
        "steps": asked.steps,
        "documents": [
            {**asdict(document), "url": document.url or addresses.get(document.doc_id)}
            for document in seen
        ],
    }


def find_addresses(catalogue: Catalogue, doc_ids: Sequence[str]) -> dict[str, str]:
    """The URLs of documents that are in some token shard."""
    if not doc_ids:
        return {}
    files: dict[str, set[str]] = {}
    for place in DocumentIndex.open(catalogue).find_documents(doc_ids):
        if place.artifact.stage == "tokenize":
            local = catalogue.store.fetch(place.artifact)
            files.setdefault(str(local.path("tokens.parquet")), set()).add(place.doc_id)
    wanted = pa.table({"doc_id": list(doc_ids)})
    query = "SELECT doc_id, url FROM read_parquet($files) SEMI JOIN wanted USING (doc_id)"
    return dict(ask(query, {"files": list(files)}, {"wanted": wanted})) if files else {}


def name(artifact: Artifact) -> Answer:
    """An artefact as answers name it."""
    return {
        "stage": artifact.stage,
        "shard": artifact.shard,
        "digest": artifact.digest,
        "key": artifact.key,
    }


def _describe_life(life: Life) -> Answer:
    raw = asdict(life.raw) | {"artifact": name(life.raw.artifact)}
    events = [
        {**name(e.artifact), "stage": e.stage, "outcome": e.outcome, **e.facts} for e in life.events
    ]
    return {
        "doc_id": life.doc_id,
        "url": life.url,
        "source": life.source,
        "current": life.is_current,
        "raw": raw,
        "events": events,
    }


def _describe_models(models: Iterable[ReachedModel]) -> list[Answer]:
    return [
        {
            **name(model.artifact),
            "names": list(model.names),
            "in_use": list(model.in_use),
            "trained": model.trained,
            "erased": asdict(model.erasure) if model.erasure else None,
        }
        for model in models
    ]
