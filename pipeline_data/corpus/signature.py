"""Stage ``signature``: MinHash signatures for deduplication, one shard at a time.

MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
ch. 3). The minima equal those of datatrove's ``MinhashDedupSignature`` with 64-bit xxhash and
the same settings. A band is one hash of its minima, which is all that a join needs.
"""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline_data.artifact import Counts
from pipeline_data.corpus.settings import SignatureConfig
from pipeline_data.corpus.word_shingles import shingle_hashes
from pipeline_data.formats import SIGNATURES, read_rows, write_table
from pipeline_data.stage_run import Inputs, Runtime

Hashes = npt.NDArray[np.uint64]

MERSENNE_PRIME = np.uint64((1 << 61) - 1)
BLOCK_SIZE = 512
"""Shingles hashed at once; the block of (512, num_hashes) stays in the cache."""


def run(config: SignatureConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write signatures.parquet, one row a document of input ``documents``, in its order.

    A document too short for one shingle has no bands and is compared by its text alone.
    """
    factors, offsets = hash_parameters(config)
    rows = []
    num_unbanded = 0
    for row in read_rows(inputs.one("documents").path("documents.parquet"), ["doc_id", "text"]):
        shingles = shingle_hashes(row["text"], config.ngram) if config.near else _NO_HASHES
        minima = min_hashes(shingles, factors, offsets)
        num_unbanded += not len(minima)
        rows.append(
            {
                "doc_id": row["doc_id"],
                "text_sha256": text_digest(row["text"]),
                "bands": band_hashes(minima, config.bands),
                "shingles": shingles,
            }
        )
        runtime.progress(len(rows), None, "documents")
    write_table(out / "signatures.parquet", SIGNATURES, rows)
    return {"num_documents": len(rows), "num_without_bands": num_unbanded}


_NO_HASHES: Hashes = np.empty(0, np.uint64)


def text_digest(text: str) -> str:
    """SHA-256 of the text in NFC with every run of white space as one space.

    Case, punctuation and digits count: two sums that differ in a figure are two texts.
    """
    return hashlib.sha256(" ".join(unicodedata.normalize("NFC", text).split()).encode()).hexdigest()


def hash_parameters(config: SignatureConfig) -> tuple[Hashes, Hashes]:
    """Factors and offsets of the universal hash functions, each of shape (num_hashes,)."""
    num_hashes = config.bands * config.rows_per_band
    generator = np.random.RandomState(config.seed)
    factors = generator.randint(1, MERSENNE_PRIME, dtype=np.uint64, size=(1, num_hashes))
    offsets = generator.randint(0, MERSENNE_PRIME, dtype=np.uint64, size=(1, num_hashes))
    return factors[0], offsets[0]


def min_hashes(shingles: Hashes, factors: Hashes, offsets: Hashes) -> Hashes:
    """The least value of each hash function over the shingles: (num_hashes,), or (0,) for none.

    ``(shingle * factor + offset)`` wraps at 64 bits and is then reduced modulo 2^61 - 1, by
    shift and add where datatrove divides.
    """
    if not len(shingles):
        return _NO_HASHES
    minima = np.full(len(factors), np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), BLOCK_SIZE):
        values = shingles[start : start + BLOCK_SIZE, None] * factors + offsets
        values = (values & MERSENNE_PRIME) + (values >> np.uint64(61))
        values[values >= MERSENNE_PRIME] -= MERSENNE_PRIME
        np.minimum(minima, values.min(axis=0), out=minima)
    return minima


def band_hashes(minima: Hashes, num_bands: int) -> list[int]:
    """One 64-bit hash for each band of minima; none for no minima."""
    import xxhash

    if not len(minima):
        return []
    rows = minima.astype("<u8").reshape(num_bands, -1)
    return [xxhash.xxh3_64_intdigest(row.tobytes()) for row in rows]
