"""MinHash signatures, against datatrove's."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.deduplication import signature
from pipeline_data.corpus.deduplication.word_shingles import shingle_hashes
from pipeline_data.corpus.settings import SignatureConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import documents_artifact, make_documents, make_text

CONFIG = SignatureConfig(bands=3, rows_per_band=4, ngram=3, seed=7)

words = st.sampled_from(
    [
        *("it's", "U.S.", "e.g.,", "don't", "(a)", "1,234.5", "caf\u00e9", "cafe\u0301", "the"),
        *("x/y", "C++", ":-)", "\u201cso\u201d", "10km", "\ufb01", "\u0130", "\u200b", "\x85"),
    ]
)
texts = st.lists(st.one_of(words, st.text(max_size=5)), max_size=30).map(" ".join)


@pytest.fixture(scope="module")
def datatrove_signature(tmp_path_factory: pytest.TempPathFactory) -> MinhashDedupSignature:
    return MinhashDedupSignature(
        str(tmp_path_factory.mktemp("datatrove")),
        MinhashConfig(
            n_grams=CONFIG.ngram,
            num_buckets=CONFIG.bands,
            hashes_per_bucket=CONFIG.rows_per_band,
            seed=CONFIG.seed,
            hash_config=HashConfig(precision=64),
        ),
        language="eng",
    )


@settings(max_examples=150, deadline=None)
@given(text=texts)
@example(text="")
@example(text=make_text(5, 200))
def test_minima_equal_datatroves(datatrove_signature: MinhashDedupSignature, text: str) -> None:
    expected = datatrove_signature.get_shingles(text)
    shingles = shingle_hashes(text, CONFIG.ngram)
    assert shingles.tolist() == sorted({int(value) for value in expected.ravel()})
    minima = signature.min_hashes(shingles, *signature.hash_parameters(CONFIG))
    if not len(expected):
        assert not len(minima)
        return
    buckets = datatrove_signature.get_signature(expected)
    assert minima.tolist() == [value for bucket in buckets for value in bucket]


@given(
    st.lists(
        st.integers(0, 2**64 - 1)
        | st.builds(lambda high, low: (high << 61) + low, st.integers(1, 7), st.integers(-9, 9)),
        min_size=1,
    ),
    st.sampled_from([1, signature.BLOCK_SIZE + 1]),
)
def test_minima_are_reduced_modulo_the_prime(values: list[int], times: int) -> None:
    shingles, one, zero = (np.array(items, np.uint64) for items in (values * times, [1], [0]))
    [minimum] = signature.min_hashes(shingles, one, zero).tolist()
    assert minimum == min(value % (2**61 - 1) for value in values)


def test_a_band_is_the_hash_of_its_number_and_minima() -> None:
    minima = np.array([1, 2, 3] * 2, np.uint64)
    data = np.array([1, 2, 3], "<u8").tobytes()
    first, second = signature.band_hashes(minima, 2)
    assert [first, second] == [xxhash.xxh3_64_intdigest(data, seed) for seed in (0, 1)]
    assert first != second


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("a  b\n c ", "a b c", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("3 + 4 = 7", "3 + 5 = 8", False),
        ("Polish", "polish", False),
    ],
)
def test_text_digest(left: str, right: str, equal: bool) -> None:
    assert (signature.text_digest(left) == signature.text_digest(right)) is equal


def test_stage_writes_a_row_a_document(tmp_path: Path) -> None:
    rows = make_documents([make_text(1), "two words", make_text(2)])
    inputs = Inputs({"documents": documents_artifact(tmp_path / "in", rows, "made-0")})
    counts = signature.run(SignatureConfig(), inputs, tmp_path / "out", Runtime())
    written = pq.read_table(tmp_path / "out/signatures.parquet").to_pylist()
    assert counts == {"num_documents": 3, "num_without_bands": 1}
    assert [row["doc_id"] for row in written] == [row["doc_id"] for row in rows]
    assert [len(row["bands"]) for row in written] == [14, 0, 14]
    lengths = [row["num_shingles"] for row in written]
    shingles = np.split(np.load(tmp_path / "out/shingles.npy"), np.cumsum(lengths))
    for row, hashes in zip(rows, shingles, strict=False):
        assert hashes.tolist() == shingle_hashes(row["text"], 5).tolist()
    assert (lengths[1], len(shingles[3])) == (0, 0)


def test_without_near_only_the_text_digest_is_left(tmp_path: Path) -> None:
    inputs = Inputs(
        {"documents": documents_artifact(tmp_path / "in", make_documents([make_text(1)]), "m-0")}
    )
    signature.run(SignatureConfig(near=False), inputs, tmp_path / "out", Runtime())
    [row] = pq.read_table(tmp_path / "out/signatures.parquet").to_pylist()
    assert (row["bands"], row["num_shingles"]) == ([], 0)
    assert np.load(tmp_path / "out/shingles.npy").tolist() == []
    assert row["text_sha256"] == signature.text_digest(make_text(1))
