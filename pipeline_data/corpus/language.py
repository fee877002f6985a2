"""Language identification by py3langid: a packaged naive Bayes model over byte n-grams."""

from functools import lru_cache
from typing import Any

from pipeline_data.errors import RecipeError


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
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
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
