"""Language identification by py3langid: a packaged naive Bayes model over byte n-grams.

The answers are py3langid's own, to the last bit. Only the features of a text are found another
way: the automaton that finds them forgets what is longer ago than its longest n-gram, so every
place of a text can be looked at on its own, and all at once.
"""

from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline_data.errors import RecipeError

MAX_FEATURE_BYTES = 6
"""The longest n-gram of the packaged model."""


def identify_language(
    text: str, num_chars: int = 1000, candidates: tuple[str, ...] = ()
) -> tuple[str, float]:
    """The most likely language of the first ``num_chars`` characters and its probability.

    Returns an ISO 639-1 code and a probability rounded to four places, so that the last bits
    of a machine's arithmetic decide nothing. ``candidates`` restricts the answer; the
    probabilities then sum to one over them.

    Raises:
        RecipeError: a candidate is not a language of the model.
    """
    language, probability = _load_identifier(candidates).classify(text[:num_chars])
    return str(language), round(float(probability), 4)


@lru_cache(maxsize=4)
def _load_identifier(candidates: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE

    identifier = _identifier_class().from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    unknown = [code for code in candidates if code not in known]
    if unknown:
        raise RecipeError(
            f"language_candidates: {', '.join(unknown)} not in the model; "
            f"it knows {' '.join(sorted(known))}"
        )
    if candidates:
        identifier.set_languages(candidates)
    return identifier


def _identifier_class() -> Any:
    from py3langid.langid import LanguageIdentifier

    class Identifier(LanguageIdentifier):  # type: ignore[misc]
        def __init__(self, weights: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(weights.astype(np.float32), *args, **kwargs)
            self._moves = np.asarray(self.tk_nextmove)
            self._rows = np.asarray(self.tk_row).astype(np.int32) << 8
            self._features = np.asarray(self.tk_output, np.int32)

        def _raw_score(self, text: bytes) -> Any:
            features = self._find_features(np.frombuffer(text, np.uint8))
            if not features:
                return super()._raw_score(b"")
            return self._sparse_score(Counter(features), self.nb_ptc)

        def _find_features(self, text: Any) -> list[int]:
            """The features that end at each byte, in order."""
            states = np.zeros(len(text), self._moves.dtype)
            for distance in range(min(MAX_FEATURE_BYTES, len(text)) - 1, -1, -1):
                rows = self._rows[states[distance:]]
                states[distance:] = self._moves[rows + text[: len(text) - distance]]
            features = self._features[states]
            return features[features >= 0].tolist()  # type: ignore[no-any-return]

    return Identifier
