"""Language identification."""

import json
import os
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_data.corpus.filters.language import MAX_FEATURE_BYTES, identify_language
from pipeline_data.errors import RecipeError
from tests.pipeline_data.corpus.material import make_text

FRENCH = "Le boulanger répare les ponts de bois avant la pluie, et puis il s'en va au nord."
FIELD_DATA = os.environ.get("HEADWATER_FIELD_DATA", "")
GERMAN = "Der alte Seemann erinnert sich an den langen Winter und verkauft rote Laternen."


@cache
def load_reference(candidates: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(candidates or None)
    return identifier


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


FRAGMENTS = (
    "the river and the bridge",
    "la rivière et le pont",
    "der Fluss und die Brücke",
    "el río y el puente",
    "река и мост",
    "ποταμός και γέφυρα",
    "النهر والجسر",
    "नदी और पुल",
    "川と橋",
    "河流和桥梁",
    "강과 다리",
    "แม่น้ำและสะพาน",
    "ЖЮРИ ЩИТ",
    "ALL CAPITALS",
    "e\u0301",
    "🙂",
    "12,5 %",
    "\x00\x1f",
    "\n",
    "a",
)


mixtures = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=12)


@pytest.mark.parametrize("candidates", [(), ("en", "fr", "ru", "sr")])
@settings(max_examples=80, deadline=None)
@given(mixtures.map(" ".join))
def test_answers_are_py3langids(candidates: tuple[str, ...], text: str) -> None:
    language, probability = load_reference(candidates).classify(text)
    assert identify_language(text, len(text) + 1, candidates) == (language, round(probability, 4))


def test_answers_on_long_texts_are_py3langids() -> None:
    for seed in range(40):
        text = FRAGMENTS[seed * 7 % 20] * 9 + make_text(seed, 3) + FRAGMENTS[seed % 20]
        language, probability = load_reference(()).classify(text)
        assert identify_language(text) == (language, round(probability, 4))


@pytest.mark.skipif(not FIELD_DATA, reason="HEADWATER_FIELD_DATA names no folder of field data")
def test_answers_on_real_texts_are_py3langids() -> None:
    truth = Path(FIELD_DATA, "extraction", "aeb", "ground-truth.json")
    texts = [page["articleBody"] for page in json.loads(truth.read_text()).values()]
    with tarfile.open(Path(FIELD_DATA, "extraction", "trafilatura", "html.tar.gz")) as pages:
        for member in filter(lambda member: member.isfile(), pages):
            html = pages.extractfile(member).read().decode("utf-8", "replace")  # type: ignore[union-attr]
            texts.append(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>|\s+", " ", html)[5000:6000])
    assert len(texts) > 400
    for text in texts:
        language, probability = load_reference(()).classify(text[:1000])
        assert identify_language(text) == (language, round(probability, 4))


def test_the_automaton_forgets_what_is_longer_ago_than_its_longest_ngram() -> None:
    """Its moves are those of Aho and Corasick: after each byte, the longest suffix that it knows.

    So the state after a text is the state after the text's last bytes, as many as the longest
    suffix has; that is what lets every place be looked at on its own.
    """
    identifier = load_reference(())
    moves = np.asarray(identifier.tk_nextmove).reshape(-1, 256)
    rows = np.asarray(identifier.tk_row)
    depth = np.full(len(rows), -1)
    shorter = np.zeros(len(rows), np.int64)
    depth[0] = 0
    states = np.array([0])
    while len(states):
        following, fallback = moves[rows[states]], moves[rows[shorter[states]]]
        is_longer = depth[following] < 0
        if depth[states[0]]:
            shorter[following[is_longer]] = fallback[is_longer]
            assert (following[~is_longer] == fallback[~is_longer]).all()
        else:
            assert not following[~is_longer].any()
        depth[following[is_longer]] = depth[states[0]] + 1
        states = np.sort(following[is_longer]).astype(np.int64)
        assert (np.diff(states) > 0).all()  # each is reached from one shorter
    assert depth.min() == 0
    assert depth.max() == MAX_FEATURE_BYTES
