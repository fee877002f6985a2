"""Shingles of a text: hashes of its word n-grams after datatrove's normalisation.

The same numbers as ``MinhashDedupSignature.get_shingles`` of datatrove.
"""

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.deduplication.simplified_text import simplify_text
from pipeline_data.corpus.filters.english_words import load_english_words


def shingle_hashes(text: str, ngram: int) -> npt.NDArray[np.uint64]:
    """The sorted unique 64-bit hashes of the n-grams of a text's words; empty if too short.

    Returns shape (num_unique,), dtype uint64.
    """
    import xxhash

    words = load_english_words().find_words(simplify_text(text)).to_list()
    grams = map(" ".join, zip(*(words[start:] for start in range(ngram)), strict=False))
    hashes = np.fromiter(map(xxhash.xxh64_intdigest, grams), dtype=np.uint64)
    return np.unique(hashes)
