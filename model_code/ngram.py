"""A bigram language model, the baseline every language model has to beat.

Counts with add-one unigrams as the prior of each bigram, of weight 2 (MacKay and Peto 1995).
"""

import numpy as np
import numpy.typing as npt

PRIOR_WEIGHT = 2.0


class Bigram:
    """Trained on one stream of tokens.

    Args:
        tokens: ``[num_tokens]`` ids below ``vocab_size``.
    """

    def __init__(self, tokens: npt.NDArray[np.integer], vocab_size: int) -> None:
        ids = tokens.astype(np.int64)
        counts = np.bincount(ids, minlength=vocab_size) + 1.0
        self.unigram = counts / counts.sum()
        self.vocab_size = vocab_size
        self.pairs, self.pair_counts = np.unique(
            ids[:-1] * vocab_size + ids[1:], return_counts=True
        )
        self.contexts = np.bincount(ids[:-1], minlength=vocab_size)

    def log_probs(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Natural log-probability of each token but the first, given the one before it."""
        ids = tokens.astype(np.int64)
        before, after = ids[:-1], ids[1:]
        codes = before * self.vocab_size + after
        places = np.minimum(np.searchsorted(self.pairs, codes), len(self.pairs) - 1)
        seen = np.where(self.pairs[places] == codes, self.pair_counts[places], 0)
        prior = PRIOR_WEIGHT * self.unigram[after]
        probabilities = (seen + prior) / (self.contexts[before] + PRIOR_WEIGHT)
        return np.asarray(np.log(probabilities))
