"""Deduplication: against a plain loop over all pairs, and what a new shard may not change."""

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests
from pipeline_data.corpus.deduplication import dedup, signature, survivors
from pipeline_data.corpus.settings import DedupConfig, SignatureConfig
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import DUPLICATES, KEPT
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.deduplication.signature_material import (
    Answer,
    Corpus,
    Signed,
    decide_by_all_pairs,
    shard_name,
    signatures_artifact,
)
from tests.pipeline_data.corpus.material import (
    as_artifact,
    documents_artifact,
    make_documents,
    make_text,
)

documents = st.builds(
    Signed,
    doc_id=st.integers(0, 12).map(str),
    text=st.integers(0, 12).map(str),
    bands=st.just(()) | st.tuples(st.integers(0, 1), st.integers(2, 3)),
    shingles=st.frozensets(st.integers(0, 4), min_size=1, max_size=4),
)
corpora = st.lists(st.lists(documents, max_size=6), min_size=1, max_size=4)
configs = st.builds(
    DedupConfig,
    threshold=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    max_bucket_survivors=st.sampled_from([1, 2, 256]),
)
HALF = DedupConfig(threshold=0.5)


def run_dedup(
    folder: Path, corpus: Corpus, config: DedupConfig = HALF, runtime: Runtime | None = None
) -> Path:
    shards = [
        signatures_artifact(folder / f"in-{index}", rows, shard_name(index))
        for index, rows in enumerate(corpus)
    ]
    out = folder / "run" / "out"
    counts = dedup.run(config, Inputs({"signatures": shards}), out, runtime or Runtime())
    assert list(out.parent.iterdir()) == [out]  # the spilled files are gone
    assert counts["num_documents"] == sum(map(len, corpus))
    return out


def read_answer(folder: Path) -> Answer:
    kept = pq.read_table(folder / "kept.parquet")
    duplicates = pq.read_table(folder / "duplicates.parquet")
    assert (kept.schema, duplicates.schema) == (KEPT, DUPLICATES)
    return kept["doc_id"].to_pylist(), duplicates.to_pylist()


def read_answers(out: Path) -> list[Answer]:
    return [read_answer(folder) for folder in sorted(out.iterdir())]


def number_documents(*shingle_sets: str) -> list[Signed]:
    return [
        Signed(f"id {number}", f"text {number}", (0,), frozenset(map(ord, shingles)))
        for number, shingles in enumerate(shingle_sets)
    ]


CHAIN = [number_documents("abc", "bcd", "cde")]
"""The second is near the first and the third near the second, but not the third near the first."""
BRIDGE = [number_documents("abc", "cde", "bcd")]
"""The last is near both that came before and survived."""
CROWD = [number_documents("a", "b", "c", "a", "b", "c")]
"""One bucket of documents that are not alike, then copies of them."""
EDITED = [
    [Signed("page", "text", (), frozenset({1})), Signed("copy", "text", (), frozenset({1}))],
    [Signed("page", "edited", (), frozenset({2})), Signed("other", "edited", (), frozenset({2}))],
]
"""A page comes again with another text, which then survives under another id."""


@settings(max_examples=40, deadline=None)
@example(corpus=CHAIN, config=HALF)
@example(corpus=BRIDGE, config=HALF)
@example(corpus=CROWD, config=DedupConfig(max_bucket_survivors=2))
@example(corpus=EDITED, config=HALF)
@given(corpus=corpora, config=configs)
def test_answers_are_those_of_all_pairs(corpus: Corpus, config: DedupConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        answers = read_answers(run_dedup(Path(folder), corpus, config))
    expected = decide_by_all_pairs(corpus, config.threshold, config.max_bucket_survivors)
    assert answers == list(expected)


def template_corpus(num_shards: int, num_documents: int) -> list[list[Signed]]:
    """Pages of a few templates: most pairs of one template are near the threshold of 0.8."""
    rng = np.random.default_rng(4)
    templates = [rng.integers(0, 2**64, 400, np.uint64).tolist() for _ in range(3)]
    corpus = []
    for shard in range(num_shards):
        rows = []
        for number in range(num_documents):
            template = int(rng.integers(3))
            num_own = int(rng.integers(10, 50))
            num_common = 250 + int(rng.integers(0, 30))
            shingles = templates[template][:num_common]
            shingles += rng.integers(0, 2**64, num_own, np.uint64).tolist()
            bands = (template, *rng.integers(10, 400, 3).tolist())
            name = f"{shard}-{number}"
            text = f"{rng.integers(2000)}"
            rows.append(Signed(name, text, bands, frozenset(shingles)))
        corpus.append(rows)
    return corpus


@pytest.mark.parametrize("max_bucket_survivors", [9, 256])
def test_a_crowded_bucket_is_compared_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bucket_survivors: int
) -> None:
    monkeypatch.setattr(dedup, "BATCH_ROWS", 32)  # a shard is read in three batches
    monkeypatch.setattr(survivors, "MAX_SKETCHED", 20)  # sketches of two full buckets of nine
    corpus = template_corpus(3, 80)
    config = DedupConfig(max_bucket_survivors=max_bucket_survivors)
    answers = read_answers(run_dedup(tmp_path, corpus, config))
    assert answers == list(decide_by_all_pairs(corpus, 0.8, max_bucket_survivors))
    num_kept = sum(len(kept) for kept, _ in answers)
    similarities = [row["similarity"] for _, rows in answers for row in rows]
    assert 30 < num_kept < 210
    assert min(similarities) < 0.82


@settings(max_examples=10, deadline=None)
@example(corpus=BRIDGE)
@given(corpus=corpora)
def test_a_later_shard_changes_no_earlier_one(corpus: Corpus) -> None:
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
        old = part_digests(describe(run_dedup(Path(before), corpus[:-1])))
        new = part_digests(describe(run_dedup(Path(after), corpus)))
    assert {shard: new[shard] for shard in old} == old
    assert set(new) == {shard_name(index) for index in range(len(corpus))}


@settings(max_examples=10, deadline=None)
@given(corpus=corpora, removed=st.integers(0, 3))
def test_a_removed_shard_changes_only_later_ones(corpus: Corpus, removed: int) -> None:
    removed %= len(corpus)
    rest = [rows if index != removed else [] for index, rows in enumerate(corpus)]
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
        old = part_digests(describe(run_dedup(Path(before), corpus)))
        new = part_digests(describe(run_dedup(Path(after), rest)))
        answers = read_answers(Path(after) / "run" / "out")
    earlier = {shard_name(index) for index in range(removed)}
    assert {shard: new[shard] for shard in earlier} == {shard: old[shard] for shard in earlier}
    assert answers == list(decide_by_all_pairs(rest, HALF.threshold))


def test_threads_and_memory_change_nothing(tmp_path: Path) -> None:
    corpus = template_corpus(4, 500)
    digests = {
        content_digest(
            describe(
                run_dedup(
                    tmp_path / f"{threads}-{memory}",
                    corpus,
                    DedupConfig(max_bucket_survivors=16),
                    Runtime(threads=threads, memory_mb=memory),
                )
            )
        )
        for threads, memory in product((1, 2), (64, 200, 1024))
    }
    assert len(digests) == 1
    rules = [row["rule"] for _, rows in read_answers(tmp_path / "1-64/run/out") for row in rows]
    assert min(rules.count("exact"), rules.count("near")) > 10


def sign(
    folder: Path, texts: Sequence[str], shard: str, source: str, near: bool = True
) -> Artifact:
    rows = make_documents(texts, source)
    inputs = Inputs({"documents": documents_artifact(folder / f"{shard}-in", rows, shard)})
    signature.run(SignatureConfig(near=near), inputs, folder / shard, Runtime())
    return as_artifact(folder / shard, shard)


def test_texts_of_several_sources(tmp_path: Path) -> None:
    text = make_text(1, 40)
    like = text.replace("winter", "summer", 1)
    shards = [
        sign(tmp_path, [text, make_text(2, 40)], "first", "web"),
        sign(tmp_path, [], "empty", "web"),
        sign(tmp_path, [text.replace(" ", "  "), like, make_text(3, 40)], "second", "books"),
        sign(tmp_path, [like, text], "generated", "world", near=False),
        sign(tmp_path, [make_text(4, 40)], "again", "web"),
    ]
    out = tmp_path / "out"
    counts = dedup.run(DedupConfig(), Inputs({"signatures": shards}), out, Runtime())
    del counts["num_compared"]
    assert counts == {
        **{"num_documents": 8, "num_kept": 4, "num_repeated_url": 1, "num_exact": 2, "num_near": 1},
        "num_partly_compared": 0,
    }
    original = make_documents([text], "web")[0]["doc_id"]
    duplicates = {name: read_answer(out / name)[1] for name in ("second", "generated", "again")}
    for row in (*duplicates["second"], *duplicates["generated"], *duplicates["again"]):
        assert (row["duplicate_of"], row["shard_of"]) == (original, "first")
    exact, near = duplicates["second"]
    assert (exact["rule"], exact["similarity"]) == ("exact", 1.0)
    assert near["rule"] == "near"
    assert 0.8 <= near["similarity"] < 1.0
    [copy] = duplicates["generated"]  # which is not compared with what is merely like it
    assert copy["rule"] == "exact"
    [repeated] = duplicates["again"]
    assert (repeated["rule"], repeated["similarity"]) == ("repeated_url", None)
    assert read_answer(out / "empty") == ([], [])


def test_what_a_full_bucket_leaves_out_is_counted(tmp_path: Path) -> None:
    [rows] = CROWD
    artifact = signatures_artifact(tmp_path / "in", rows, "crowd")
    config = DedupConfig(max_bucket_survivors=2)
    inputs = Inputs({"signatures": artifact})
    counts = dedup.run(config, inputs, tmp_path / "out", Runtime())
    assert (counts["num_near"], counts["num_kept"]) == (2, 4)
    assert counts["num_partly_compared"] == 1  # the second "c"


def test_no_shards_no_files(tmp_path: Path) -> None:
    counts = dedup.run(DedupConfig(), Inputs({}), tmp_path / "out", Runtime())
    assert counts["num_documents"] == 0
    assert not list((tmp_path / "out").iterdir())


def test_two_shards_of_one_name_are_refused(tmp_path: Path) -> None:
    shard = sign(tmp_path, [make_text(1)], "first", "web")
    with pytest.raises(ArtifactError, match="first"):
        dedup.run(DedupConfig(), Inputs({"signatures": [shard, shard]}), tmp_path / "o", Runtime())


def test_shingles_that_are_cut_short_are_named(tmp_path: Path) -> None:
    shard = sign(tmp_path, [make_text(1), make_text(1) + " End."], "first", "web")
    path = shard.path("shingles.npy")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=r"shingles\.npy"):
        dedup.run(DedupConfig(), Inputs({"signatures": shard}), tmp_path / "o", Runtime())
