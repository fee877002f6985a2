"""A corpus of two sources and three shards, as its stages leave it, with troublesome contents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_data.artifact import PROVENANCE as PROVENANCE_FOLDER
from pipeline_data.artifact import Artifact
from pipeline_data.formats import (
    CONTAMINATED,
    DOCUMENTS,
    DROPPED,
    DUPLICATES,
    EVALUATION_ITEMS,
    FILTERED,
    KEPT,
    PASSED,
    PROVENANCE,
    TOKENS,
    UNJUDGED,
    document_id,
    write_table,
)
from tests.pipeline_data.corpus.material import as_artifact

HOSTILE = "<script>alert('x')</script> & $x^2$ \u202e \u6f22"
Row = dict[str, Any]
Roles = dict[str, list[Artifact]]


def make_corpus(folder: Path) -> Roles:
    """Artefacts by role. Shards: web-0 (10 records), web-1 (all dropped), books-0 (3 records)."""
    web = [_document("web", f"http://www.a.example:80/{n}", f"Text {n}.\nMore.") for n in range(8)]
    web[6]["url"] = "http://b.example/" + HOSTILE
    web[6]["text"] = HOSTILE
    books = [_document("books", f"file:books/{n}", "word " * 10**n) for n in range(3)]
    damaged = {"doc_id": "", "url": "", "rule": "damaged", "stage": "extract"}
    dropped = [damaged | {"detail": f"{HOSTILE} at offset {n}"} for n in (17, 230)]
    roles: Roles = {"dedup": [], "evaluation": [_evaluation(folder / "evaluation")]}
    shards = {
        "web-0": _shard(web, dropped, filtered=6, kept=5),
        "web-1": _shard([], [damaged | {"detail": "torn"}], 0, 0),
        "books-0": _shard(books, [], filtered=3, kept=3),
    }
    shards["books-0"]["kept"] = shards["books-0"]["kept"][1:]
    shards["books-0"]["contaminated"] = [
        _found(books[0], "quiz#0"),
        _found(books[0], "quiz#1"),
    ]
    for shard, tables in shards.items():
        _write_shard(folder, shard, tables, roles)
    roles["dedup"] = [as_artifact(folder / "dedup")]
    return roles


def _document(source: str, url: str, text: str) -> Row:
    return {"doc_id": document_id(source, url), "url": url, "source": source, "text": text}


def _shard(documents: list[Row], dropped: list[Row], filtered: int, kept: int) -> dict[str, Any]:
    """Tables of a shard: the filter keeps the first documents, dedup the first of these."""
    rules = ("gopher_quality", "c4_quality")
    return {
        "documents": documents,
        "dropped": dropped,
        "filtered": [row | {"language": "en"} for row in documents[:filtered]],
        "filter_dropped": [
            {
                **row,
                "stage": "filter",
                "rule": rules[n % 2],
                "detail": "too_much",
                "value": 0.25 + n,
            }
            | {"threshold": 0.2}
            for n, row in enumerate(documents[filtered:])
        ],
        "deduplicated": documents[:kept],
        "duplicates": [
            {"doc_id": row["doc_id"], "rule": "near", "duplicate_of": documents[0]["doc_id"]}
            | {"shard_of": "web-0", "similarity": 0.85}
            for row in documents[kept:filtered]
        ],
        "kept": documents[:kept],
        "contaminated": [],
    }


def _found(document: Row, item: str) -> Row:
    return {
        "doc_id": document["doc_id"],
        "url": document["url"],
        "evaluation": "quiz",
        "item": item,
        "ngram": f"one two {HOSTILE}",
        "num_matches": 2,
        "num_ngrams": 3,
    }


def _evaluation(folder: Path) -> Artifact:
    items = [
        {"evaluation": "quiz", "item": f"quiz#{n}", "words": "a b", "num_words": 2}
        | {"ngram": 2, "num_ngrams": 1}
        for n in range(4)
    ]
    write_table(folder / "items.parquet", EVALUATION_ITEMS, items)
    short = {"evaluation": "quiz", "item": "quiz#4", "rule": "too_short", "num_words": 1}
    write_table(folder / "unjudged.parquet", UNJUDGED, [short])
    return as_artifact(folder, "quiz")


def _write_shard(folder: Path, shard: str, tables: Mapping[str, Any], roles: Roles) -> None:
    source = shard.partition("-")[0]
    records = [
        {"doc_id": row["doc_id"], "raw_shard": shard}
        for row in [*tables["documents"], *tables["dropped"]]
    ]
    tokens = [
        {**row, "split": "heldout" if n == 1 else "train", "num_bytes": len(row["text"])}
        | {"num_tokens": len(row["text"]) // 2, "tokens": [7] * (len(row["text"]) // 2)}
        for n, row in enumerate(tables["kept"])
    ]
    files: dict[str, dict[str, tuple[pa.Schema, Sequence[Row]]]] = {
        "extracted": {
            "documents": (DOCUMENTS, tables["documents"]),
            "dropped": (DROPPED, tables["dropped"]),
            "passed": (PASSED, [{"reason": "request", "num_records": 4}]),
            f"{PROVENANCE_FOLDER}/provenance": (PROVENANCE, records),
        },
        "filtered": {
            "documents": (FILTERED, tables["filtered"]),
            "dropped": (DROPPED, tables["filter_dropped"]),
        },
        "dedup": {
            "kept": (KEPT, tables["deduplicated"]),
            "duplicates": (DUPLICATES, tables["duplicates"]),
        },
        "decontaminated": {
            "kept": (KEPT, tables["kept"]),
            "contaminated": (CONTAMINATED, tables["contaminated"]),
        },
        "tokens": {"tokens": (TOKENS, tokens)},
    }
    for role, contents in files.items():
        for name, (schema, rows) in contents.items():
            write_table(folder / role / shard / f"{name}.parquet", schema, rows)
        if role != "dedup":
            artifact = as_artifact(folder / role / shard, shard)
            config = {"source": source} if role == "extracted" else {}
            roles.setdefault(role, []).append(replace(artifact, config=config))
