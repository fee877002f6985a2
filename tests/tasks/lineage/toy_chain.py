"""Artefacts made by hand, under the names of real stages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from model_code.statistics import Measure
from pipeline_data.artifact import Artifact, Counts, Parent
from pipeline_data.corpus.deduplication.signature import text_digest
from pipeline_data.formats import (
    CONTAMINATED,
    DROPPED,
    DUPLICATES,
    FILTERED,
    KEPT,
    PASSED,
    SIGNATURES,
    TOKENS,
    document_id,
    read_rows,
    write_table,
)
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.difference import Difference, compare_sides
from tasks.lineage.difference.sides import open_side
from tasks.store import Request, Store

Texts = Mapping[str, str]
"""URL to text."""
_CLOCK = count()
"""Each artefact is made later than those before."""
Inputs = Mapping[str, Artifact | Sequence[Artifact]]


def make(
    store: Store,
    stage: str,
    shard: str | None = None,
    inputs: Inputs | None = None,
    *,
    text: str = "",
    parts: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    version: int = 1,
    facts: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Artifact:
    """An artefact with a text, or with one a part; made again if it is there and forced."""

    def write(out: Path) -> Counts:
        for name, content in (parts or {"": text}).items():
            (out / name).mkdir(exist_ok=True)
            (out / name / "it.txt").write_text(content)
        return {}

    sharded = parts is not None
    return _produce(store, stage, shard, inputs, write, sharded, config, version, facts, force)


def compare(store: Store, *models: Artifact, limit: int | None = None) -> Difference:
    """What differs between two models."""
    catalogue = Catalogue.open(store)
    a, b = (open_side(catalogue, store.cache / "runs", model.digest) for model in models)
    return compare_sides(catalogue, a, b, limit)


def model_of(store: Store, tokens: Sequence[Artifact], **config: object) -> Artifact:
    """A base model of token shards."""
    text = " ".join([token.digest for token in tokens] + [str(config)])
    return make(store, "pretrain", None, {"tokens": tokens}, text=text, config=config)


def make_chain(store: Store, raw: str, limit: int, seed: int, effect: bool = True) -> Artifact:
    """crawl > filter > pretrain; the limit reaches the bytes only if it is to have an effect."""
    crawl = make(store, "crawl", "web", text=raw, config={"url": raw})
    passed = f"{raw} {limit}" if effect else raw
    filtered = make(store, "filter", "web", {"raw": crawl}, text=passed, config={"limit": limit})
    text = f"{passed} {seed}"
    return make(store, "pretrain", None, {"tokens": filtered}, text=text, config={"seed": seed})


def make_evaluation(
    store: Store, stage: str, inputs: Inputs, measures: Sequence[Measure], **config: Any
) -> Artifact:
    """An evaluation with these measures."""

    def write(out: Path) -> Counts:
        (out / "measures.json").write_text(json.dumps([asdict(m) for m in measures]))
        return {}

    return _produce(store, stage, None, inputs, write, False, config)


def make_corpus(
    store: Store,
    shards: Mapping[str, Texts],
    *,
    min_chars: int = 0,
    tokenizer: str = "tokenizer",
    heldout: Sequence[str] = (),
) -> list[Artifact]:
    """Token shards of texts that have so many characters and are no copy of an earlier one.

    A character is a token, two with the tokenizer ``halves``.
    """
    words = make(store, "tokenizer", text=tokenizer, config={"kind": tokenizer})
    filtered = {name: _filter(store, name, texts, min_chars) for name, texts in shards.items()}
    signatures = {name: _sign(store, name, filtered[name], shards[name]) for name in shards}
    dedup = _deduplicate(store, shards, filtered, signatures)
    tokens = []
    for name, texts in shards.items():
        kept = _decontaminate(store, name, filtered[name], dedup.part(name))
        rows = {url: texts[url] for url in texts if _id(url) in _ids(kept, "kept.parquet")}
        inputs = {"documents": filtered[name], "kept": kept, "tokenizer": words}
        size = 2 if tokenizer == "halves" else 1
        tokens.append(_tokenize(store, name, inputs, rows, size, heldout))
    return tokens


def _filter(store: Store, shard: str, texts: Texts, min_chars: int) -> Artifact:
    raw = make(store, "crawl", shard, text=repr(texts), config={"pages": list(texts.items())})

    def extract(out: Path) -> Counts:
        write_table(out / "documents.parquet", FILTERED, _rows(texts))
        write_table(out / "dropped.parquet", DROPPED, [])
        write_table(out / "passed.parquet", PASSED, [])
        return {"num_documents": len(texts)}

    extracted = _produce(
        store, "extract", shard, {"raw": raw}, extract, False, {"source": shard.partition("-")[0]}
    )

    def write(out: Path) -> Counts:
        kept = {url: text for url, text in texts.items() if len(text) >= min_chars}
        dropped = [
            {"doc_id": _id(url), "url": url, "stage": "filter", "rule": "length"}
            | {"detail": "chars", "value": float(len(texts[url])), "threshold": float(min_chars)}
            for url in texts.keys() - kept.keys()
        ]
        write_table(out / "documents.parquet", FILTERED, _rows(kept))
        write_table(out / "dropped.parquet", DROPPED, sorted(dropped, key=lambda r: r["url"]))
        return {}

    config = {"min_chars": min_chars}
    return _produce(store, "filter", shard, {"documents": extracted}, write, False, config)


def _sign(store: Store, shard: str, filtered: Artifact, texts: Texts) -> Artifact:
    ids = _ids(filtered, "documents.parquet")
    rows = [
        {"doc_id": _id(url), "text_sha256": text_digest(text), "bands": [], "num_shingles": 0}
        for url, text in texts.items()
        if _id(url) in ids
    ]

    def write(out: Path) -> Counts:
        write_table(out / "signatures.parquet", SIGNATURES, rows)
        return {}

    return _produce(store, "signature", shard, {"documents": filtered}, write, False)


def _deduplicate(
    store: Store,
    shards: Mapping[str, Texts],
    filtered: Mapping[str, Artifact],
    signatures: Mapping[str, Artifact],
) -> Artifact:
    def write(out: Path) -> Counts:
        first: dict[str, tuple[str, str]] = {}
        for shard, texts in shards.items():
            ids = _ids(filtered[shard], "documents.parquet")
            kept, duplicates = [], []
            for url, text in texts.items():
                if _id(url) not in ids:
                    continue
                original, of = first.setdefault(text, (_id(url), shard))
                if original == _id(url):
                    kept.append({"doc_id": original})
                else:
                    row = {"rule": "exact", "duplicate_of": original, "shard_of": of}
                    duplicates.append({"doc_id": _id(url), "similarity": 1.0, **row})
            write_table(out / shard / "kept.parquet", KEPT, kept)
            write_table(out / shard / "duplicates.parquet", DUPLICATES, duplicates)
        return {}

    return _produce(store, "dedup", None, {"signatures": list(signatures.values())}, write, True)


def _decontaminate(store: Store, shard: str, filtered: Artifact, part: Artifact) -> Artifact:
    def write(out: Path) -> Counts:
        ids = sorted(_ids(part, "kept.parquet"))
        write_table(out / "kept.parquet", KEPT, [{"doc_id": i} for i in ids])
        write_table(out / "contaminated.parquet", CONTAMINATED, [])
        return {}

    inputs = {"documents": filtered, "kept": part}
    return _produce(store, "decontaminate", shard, inputs, write, False)


def _tokenize(
    store: Store,
    shard: str,
    inputs: Inputs,
    texts: Texts,
    size: int,
    heldout: Sequence[str],
) -> Artifact:
    rows = [
        {key: row[key] for key in ("doc_id", "url", "source")}
        | {"split": "heldout" if row["url"] in heldout else "train"}
        | {"num_bytes": len(row["text"]), "num_tokens": size * len(row["text"])}
        | {"tokens": [ord(char) for char in row["text"]] * size}
        for row in _rows(texts)
    ]

    def write(out: Path) -> Counts:
        write_table(out / "tokens.parquet", TOKENS, rows)
        return {"num_documents": len(rows), "num_tokens": sum(row["num_tokens"] for row in rows)}

    config = {"heldout": [url for url in heldout if url in texts]}
    return _produce(store, "tokenize", shard, inputs, write, False, config)


def _rows(texts: Texts) -> list[dict[str, Any]]:
    return [
        {"doc_id": _id(url), "url": url, "source": "web", "text": text, "language": ""}
        for url, text in texts.items()
    ]


def _id(url: str) -> str:
    return document_id("web", url)


def _ids(artifact: Artifact, name: str) -> set[str]:
    return {row["doc_id"] for row in read_rows(artifact.path(name), ["doc_id"])}


def _produce(
    store: Store,
    stage: str,
    shard: str | None,
    inputs: Inputs | None,
    write: Any,
    sharded: bool,
    config: Mapping[str, Any] | None = None,
    version: int = 1,
    facts: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Artifact:
    parents = [
        Parent(role, a.stage, a.key, a.digest, a.shard)
        for role, given in (inputs or {}).items()
        for a in ([given] if isinstance(given, Artifact) else given)
    ]
    request = Request(stage, version, config or {}, parents, shard, sharded)
    told = {"created": f"{next(_CLOCK):08}", **(facts or {})}
    found = None if force else store.find(request)
    return found or store.produce(request, write, told)
