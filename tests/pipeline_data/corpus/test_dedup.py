"""Deduplication: against a plain loop over all pairs, and what a new shard may not change."""

import random
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests
from pipeline_data.corpus import dedup, signature
from pipeline_data.corpus.settings import DedupConfig, SignatureConfig
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import SIGNATURES, write_table
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import (
    as_artifact,
    documents_artifact,
    make_documents,
    make_text,
)

Shard = list[dict[str, Any]]

document = st.fixed_dictionaries(
    {
        "spelling": st.sampled_from("ab"),
        "bands": st.lists(st.integers(0, 1), min_size=2, max_size=2) | st.just([]),
        "shingles": st.sets(st.integers(0, 4), min_size=1, max_size=4).map(sorted),
    }
)
corpora = st.lists(st.lists(document, max_size=6), min_size=1, max_size=4)


def name_documents(corpus: Sequence[Shard]) -> list[Shard]:
    """Ids, and a text hash that is equal only where the signature is."""
    return [
        [
            {
                "doc_id": f"{shard}-{number}",
                "text_sha256": f"{row['spelling']} {row['bands']} {row['shingles']}",
                "bands": row["bands"],
                "shingles": row["shingles"],
            }
            for number, row in enumerate(rows)
        ]
        for shard, rows in enumerate(corpus)
    ]


def run_dedup(
    folder: Path, corpus: Sequence[Shard], runtime: Runtime | None = None, threshold: float = 0.5
) -> Path:
    shards = []
    for number, rows in enumerate(corpus):
        write_table(folder / f"in-{number}" / "signatures.parquet", SIGNATURES, rows)
        shards.append(as_artifact(folder / f"in-{number}", f"shard-{number}"))
    out = folder / "run" / "out"
    out.mkdir(parents=True)
    config = DedupConfig(threshold=threshold)
    dedup.run(config, Inputs({"signatures": shards}), out, runtime or Runtime())
    assert list(out.parent.iterdir()) == [out]  # the spilled files are gone
    return out


def read_out(out: Path, name: str) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(out.glob(f"*/{name}.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


Fate = tuple[str, str, float]


def decide_by_all_pairs(corpus: Sequence[Shard], threshold: float) -> dict[str, Fate]:
    """Each document's survivor, rule and similarity, by a look at every survivor before it."""
    survivors: list[dict[str, Any]] = []
    fates: dict[str, Fate] = {}
    first_of_text: dict[str, str] = {}
    for row in (row for rows in corpus for row in rows):
        doc_id = row["doc_id"]
        first = first_of_text.setdefault(row["text_sha256"], doc_id)
        near = [kept for kept in survivors if is_near(kept, row, threshold)]
        if first != doc_id:
            survivor, rule, similarity = fates[first]
            fates[doc_id] = (survivor, "exact" if rule == "kept" else "near", similarity)
        elif near:
            fates[doc_id] = (near[0]["doc_id"], "near", jaccard(near[0], row))
        else:
            survivors.append(row)
            fates[doc_id] = (doc_id, "kept", 1.0)
    return fates


def is_near(left: dict[str, Any], right: dict[str, Any], threshold: float) -> bool:
    shares_band = any(a == b for a, b in zip(left["bands"], right["bands"], strict=False))
    return shares_band and jaccard(left, right) >= threshold


def jaccard(left: dict[str, Any], right: dict[str, Any]) -> float:
    a, b = set(left["shingles"]), set(right["shingles"])
    return len(a & b) / len(a | b)


def make_row(*shingles: int) -> dict[str, Any]:
    return {"spelling": "a", "bands": [0, 0], "shingles": list(shingles)}


CHAIN = name_documents([[make_row(1, 2, 3), make_row(2, 3, 4)], [make_row(3, 4, 5)]])
"""The second is near the first and the third near the second, but not the third near the first."""
BRIDGE = name_documents([[make_row(1, 2, 3), make_row(3, 4, 5)], [make_row(2, 3, 4)]])
"""The last is near both that came before and survived."""
COPY_OF_NEAR = name_documents([[make_row(1, 2, 3)], [make_row(2, 3, 4)] * 2])


@settings(max_examples=40, deadline=None)
@example(corpus=CHAIN, threshold=0.5)
@example(corpus=BRIDGE, threshold=0.5)
@example(corpus=COPY_OF_NEAR, threshold=0.5)
@given(corpus=corpora.map(name_documents), threshold=st.sampled_from([0.0, 0.5, 0.8, 1.0]))
def test_fates_are_those_of_all_pairs(corpus: list[Shard], threshold: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = run_dedup(Path(folder), corpus, threshold=threshold)
        kept = {row["doc_id"]: (row["doc_id"], "kept", 1.0) for row in read_out(out, "kept")}
        dropped = {
            row["doc_id"]: (row["duplicate_of"], row["rule"], row["similarity"])
            for row in read_out(out, "duplicates")
        }
        assert kept | dropped == decide_by_all_pairs(corpus, threshold)
        assert not kept.keys() & dropped.keys()
        assert set(part_digests(describe(out))) == {f"shard-{i}" for i in range(len(corpus))}


@settings(max_examples=20, deadline=None)
@example(corpus=BRIDGE)
@given(corpus=corpora.map(name_documents))
def test_a_later_shard_changes_no_earlier_one(corpus: list[Shard]) -> None:
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
        old = part_digests(describe(run_dedup(Path(before), corpus[:-1])))
        new = part_digests(describe(run_dedup(Path(after), corpus)))
        assert {shard: new[shard] for shard in old} == old


def generated_corpus() -> list[Shard]:
    rng = random.Random(4)
    return name_documents(
        [
            [
                {
                    "spelling": "a",
                    "bands": [rng.randrange(400) for _ in range(4)] if rng.random() < 0.8 else [],
                    "shingles": sorted(rng.sample(range(14), 9)),
                }
                for _ in range(300)
            ]
            for _ in range(4)
        ]
    )


def test_threads_and_memory_change_nothing(tmp_path: Path) -> None:
    digests = {
        content_digest(
            describe(
                run_dedup(
                    tmp_path / f"{threads}-{memory}",
                    generated_corpus(),
                    Runtime(threads=threads, memory_mb=memory),
                )
            )
        )
        for threads, memory in product((1, 4), (64, 1024))
    }
    assert len(digests) == 1
    out = tmp_path / "1-64" / "run" / "out"
    rules = [row["rule"] for row in read_out(out, "duplicates")]
    assert min(rules.count("exact"), rules.count("near")) > 10


def sign(folder: Path, texts: Sequence[str], shard: str) -> Artifact:
    documents = documents_artifact(folder / f"{shard}-in", make_documents(texts, shard), shard)
    signature.run(SignatureConfig(), Inputs({"documents": documents}), folder / shard, Runtime())
    return as_artifact(folder / shard, shard)


def test_exact_near_and_different_texts(tmp_path: Path) -> None:
    text = make_text(1, 40)
    shards = [
        sign(tmp_path, [text, make_text(2, 40)], "first"),
        sign(tmp_path, [], "empty"),
        sign(tmp_path, [text.replace(" ", "  "), text.replace("winter", "summer", 1)], "second"),
    ]
    out = tmp_path / "out"
    counts = dedup.run(DedupConfig(), Inputs({"signatures": shards}), out, Runtime())
    assert counts == {"num_documents": 4, "num_kept": 2, "num_exact": 1, "num_near": 1}
    assert pq.read_table(out / "second/kept.parquet").num_rows == 0
    assert pq.read_table(out / "empty/kept.parquet").num_rows == 0
    exact, near = pq.read_table(out / "second/duplicates.parquet").to_pylist()
    original = make_documents([text], "first")[0]["doc_id"]
    for row in (exact, near):
        assert (row["duplicate_of"], row["shard_of"]) == (original, "first")
    assert (exact["rule"], exact["similarity"]) == ("exact", 1.0)
    assert near["rule"] == "near"
    assert 0.8 <= near["similarity"] < 1.0


def test_no_shards_no_files(tmp_path: Path) -> None:
    counts = dedup.run(DedupConfig(), Inputs({}), tmp_path / "out", Runtime())
    assert counts["num_documents"] == 0


def test_two_shards_of_one_name_are_refused(tmp_path: Path) -> None:
    shard = sign(tmp_path, [make_text(1)], "first")
    with pytest.raises(ArtifactError, match="first"):
        dedup.run(DedupConfig(), Inputs({"signatures": [shard, shard]}), tmp_path / "o", Runtime())
