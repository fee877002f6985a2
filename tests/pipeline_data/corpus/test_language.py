"""Language identification."""

import pytest

from pipeline_data.corpus.language import identify_language
from pipeline_data.errors import RecipeError
from tests.pipeline_data.corpus.material import make_text

FRENCH = "Le boulanger répare les ponts de bois avant la pluie, et puis il s'en va au nord."
GERMAN = "Der alte Seemann erinnert sich an den langen Winter und verkauft rote Laternen."


@pytest.mark.parametrize(("text", "code"), [(make_text(3), "en"), (FRENCH, "fr"), (GERMAN, "de")])
def test_identifies_languages(text: str, code: str) -> None:
    language, probability = identify_language(text)
    assert language == code
    assert 0.5 < probability <= 1.0


def test_candidates_restrict_the_answer() -> None:
    assert identify_language(FRENCH, candidates=("en", "de"))[0] in ("en", "de")
    assert identify_language(FRENCH)[0] == "fr"  # the restriction does not stay behind


def test_only_the_first_characters_count() -> None:
    text = FRENCH + GERMAN * 20
    assert identify_language(text, num_chars=len(FRENCH))[0] == "fr"
    assert identify_language(text, num_chars=len(text))[0] == "de"


def test_no_evidence_is_no_certainty() -> None:
    assert identify_language("")[1] < 0.1


def test_unknown_candidate_is_refused() -> None:
    with pytest.raises(RecipeError, match="xx not in the model"):
        identify_language(FRENCH, candidates=("en", "xx"))
