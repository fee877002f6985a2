"""Made-up signatures, and the plain loop that says what must become of their documents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_data.artifact import Artifact
from pipeline_data.corpus.deduplication.shingle_file import open_shingles
from pipeline_data.formats import SIGNATURES, open_table
from tests.pipeline_data.corpus.material import as_artifact


@dataclass(frozen=True)
class Signed:
    """A document as deduplication sees it."""

    doc_id: str
    text: str
    bands: tuple[int, ...]
    shingles: frozenset[int]


Corpus = Sequence[Sequence[Signed]]
Answer = tuple[list[str], list[dict[str, Any]]]
"""Of one shard: the ids it keeps, and the rows of its duplicates."""


def shard_name(index: int) -> str:
    return f"shard-{index:03d}"


def signatures_artifact(folder: Path, documents: Sequence[Signed], shard: str) -> Artifact:
    with (
        open_table(folder / "signatures.parquet", SIGNATURES) as sign,
        open_shingles(folder / "shingles.npy") as append,
    ):
        for document in documents:
            sign(
                {
                    "doc_id": document.doc_id,
                    "text_sha256": document.text,
                    "bands": document.bands,
                    "num_shingles": len(document.shingles),
                }
            )
            append(np.array(sorted(document.shingles), np.uint64))
    return as_artifact(folder, shard)


def jaccard(left: Signed, right: Signed) -> float:
    return len(left.shingles & right.shingles) / len(left.shingles | right.shingles)


def decide_by_all_pairs(
    corpus: Corpus, threshold: float, max_bucket_survivors: int = 256
) -> Iterator[Answer]:
    """Each document against all survivors before it, one after another."""
    survivors: list[tuple[str, Signed]] = []
    buckets: dict[int, list[Signed]] = {}
    for index, documents in enumerate(corpus):
        kept, duplicates = [], []
        for document in documents:
            fate = _find_survivor(document, survivors, buckets, threshold)
            if fate:
                duplicates.append(fate)
                continue
            kept.append(document.doc_id)
            survivors.append((shard_name(index), document))
            for band in document.bands:
                found = buckets.setdefault(band, [])
                if len(found) < max_bucket_survivors:
                    found.append(document)
        yield kept, duplicates


def _find_survivor(
    document: Signed,
    survivors: Sequence[tuple[str, Signed]],
    buckets: dict[int, list[Signed]],
    threshold: float,
) -> dict[str, Any] | None:
    def met(other: Signed) -> bool:
        return any(other is found for band in document.bands for found in buckets.get(band, ()))

    def describe(rule: str, shard: str, other: Signed, similarity: float | None) -> dict[str, Any]:
        return {
            "doc_id": document.doc_id,
            "rule": rule,
            "duplicate_of": other.doc_id,
            "shard_of": shard,
            "similarity": similarity,
        }

    for shard, other in survivors:
        if other.doc_id == document.doc_id:
            similarity = 1.0 if other.text == document.text else None
            return describe("repeated_url", shard, other, similarity)
    for shard, other in survivors:
        if other.text == document.text:
            return describe("exact", shard, other, 1.0)
    for shard, other in survivors:
        if met(other) and jaccard(document, other) >= threshold:
            return describe("near", shard, other, jaccard(document, other))
    return None
