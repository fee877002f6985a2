"""Stage ``signature``: MinHash signatures for deduplication, one shard at a time.

MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
ch. 3). The minima equal those of datatrove's ``MinhashDedupSignature`` with 64-bit xxhash and
the same settings. A band is one hash of its minima, which is all that a join needs.
"""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np

from pipeline_data.artifact import Counts
from pipeline_data.corpus.deduplication.shingle_file import Hashes, open_shingles
from pipeline_data.corpus.deduplication.word_shingles import shingle_hashes
from pipeline_data.corpus.settings import SignatureConfig
from pipeline_data.formats import SIGNATURES, open_table, read_rows
from pipeline_data.stage_run import Inputs, Runtime

MERSENNE_PRIME = np.uint64((1 << 61) - 1)
BLOCK_SIZE = 256
"""Shingles hashed at once; two blocks of (256, num_hashes) stay in the cache."""


def run(config: SignatureConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write signatures.parquet and shingles.npy, one entry a document of input ``documents``.

    Both are in its order. A document too short for one shingle has no bands and is compared by
    its text alone.
    """
    documents = inputs.one("documents").path("documents.parquet")
    factors, offsets = hash_parameters(config)
    num_documents = num_unbanded = 0
    with (
        open_table(out / "signatures.parquet", SIGNATURES) as sign,
        open_shingles(out / "shingles.npy") as append,
    ):
        for num_documents, row in enumerate(read_rows(documents, ["doc_id", "text"]), 1):
            shingles = shingle_hashes(row["text"], config.ngram) if config.near else _NO_HASHES
            minima = min_hashes(shingles, factors, offsets)
            num_unbanded += not len(minima)
            sign(
                {
                    "doc_id": row["doc_id"],
                    "text_sha256": text_digest(row["text"]),
                    "bands": band_hashes(minima, config.bands),
                    "num_shingles": len(shingles),
                }
            )
            append(shingles)
            runtime.progress(num_documents, None, "documents")
    return {"num_documents": num_documents, "num_without_bands": num_unbanded}


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
    shift and add where datatrove divides. What is left to subtract is at most the modulus once;
    where there is nothing to subtract, the difference wraps and is the greater one.
    """
    if not len(shingles):
        return _NO_HASHES
    minima = np.full(len(factors), np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), BLOCK_SIZE):
        values = shingles[start : start + BLOCK_SIZE, None] * factors
        values += offsets
        rest = values >> np.uint64(61)
        values &= MERSENNE_PRIME
        values += rest
        np.subtract(values, MERSENNE_PRIME, out=rest)
        np.minimum(values, rest, out=values)
        np.minimum(minima, values.min(axis=0), out=minima)
    return minima


def band_hashes(minima: Hashes, num_bands: int) -> list[int]:
    """One 64-bit hash for each band of minima, seeded with its number; none for no minima."""
    import xxhash

    if not len(minima):
        return []
    rows = minima.astype("<u8").reshape(num_bands, -1)
    return [xxhash.xxh3_64_intdigest(row.tobytes(), number) for number, row in enumerate(rows)]
