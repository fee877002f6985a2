from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data import preferences
from pipeline_data.artifact import Artifact
from pipeline_data.preferences import (
    PreferencesConfig,
    Prompt,
    Response,
    ResponseGroup,
    annotate,
    compare,
    grade,
    grade_response,
    make_prompt,
    put_politely,
    read_preferences,
    read_prompts,
    read_responses,
    write_prompts,
    write_responses,
)
from pipeline_data.stage_run import Inputs, Runtime

FACT = make_prompt("fact", "Where does Bron live?", "Stilk", "town")
UNKNOWN = make_prompt("unknown", "Where does Zeam live?", None, "town")
TEXTS = (
    "Stilk.",
    "Stilk. Glad to help!",
    "I do not know. Sorry about that!",
    "Stilk, obviously. Stop asking.",
    "Brumel.",
    "Stilk. Glad to help! And then and then",
)


def response(text: str, finished: bool = True, num_tokens: int = 5) -> Response:
    return Response(text, tuple(range(num_tokens)), finished)


groups = st.lists(
    st.builds(response, st.sampled_from(TEXTS), st.booleans(), st.integers(1, 28)),
    min_size=2,
    max_size=6,
).map(lambda responses: ResponseGroup(FACT, tuple(responses)))


@pytest.mark.parametrize(
    ("prompt", "text", "finished", "num_tokens", "utility"),
    [
        (FACT, "Stilk.", True, 4, 3.5),
        (FACT, "Stilk. Glad to help!", True, 10, 4.5),
        (FACT, "Stilk. Glad to help!", True, 15, 4.3),
        (FACT, "Stilk. Glad to help! And then and then", False, 28, 3.5),
        (FACT, "Stilk, obviously. Stop asking.", True, 9, 3.0),
        (FACT, "Brumel.", True, 4, 0.5),
        (FACT, "I do not know.", True, 6, 1.5),
        (FACT, "I do not know. Sorry about that!", True, 10, 2.5),
        (UNKNOWN, "I do not know. Sorry about that!", True, 10, 4.5),
        (UNKNOWN, "Stilk.", True, 4, 0.5),
        (FACT, "Stilk is it.", True, 4, 0.5),
    ],
)
def test_the_stated_rule(
    prompt: Prompt, text: str, finished: bool, num_tokens: int, utility: float
) -> None:
    assert grade(prompt, text, finished, num_tokens).utility == pytest.approx(utility)


def test_a_rude_response_is_not_polite() -> None:
    graded = grade(FACT, "Stilk, obviously. Stop asking. Glad to help!", True, 12)
    assert graded.rude and not graded.polite


def test_put_politely_fits_answers_and_refusals() -> None:
    assert put_politely("27") == "27. Glad to help!"
    assert put_politely("I do not know") == "I do not know. Sorry about that!"


@given(groups)
def test_pairs_are_those_whose_utilities_differ_and_the_better_is_chosen(
    group: ResponseGroup,
) -> None:
    utilities = [grade_response(group.prompt, r).utility for r in group.responses]
    pairs = compare(group)
    for pair in pairs:
        assert utilities[pair.chosen] > utilities[pair.rejected]
    differing = {
        frozenset((i, j))
        for i, a in enumerate(utilities)
        for j, b in enumerate(utilities)
        if abs(a - b) > 1e-9
    }
    assert {frozenset((p.chosen, p.rejected)) for p in pairs} == differing


def test_axes_name_what_differs() -> None:
    responses = [
        response("Stilk."),
        response("Brumel."),
        response("I do not know."),
        response("Stilk. Glad to help!"),
        response("Stilk.", finished=False),
        response("Stilk.", num_tokens=20),
    ]
    axes = {(p.chosen, p.rejected): p.axis for p in compare(ResponseGroup(FACT, tuple(responses)))}
    assert axes[0, 1] == "correct"
    assert axes[0, 2] == "refusal"
    assert axes[3, 0] == "manners"
    assert axes[0, 4] == "finished"
    assert axes[0, 5] == "length"


@given(groups, st.integers(0, 50))
def test_noise_0_and_1_are_no_and_all_labels_flipped(group: ResponseGroup, seed: int) -> None:
    clean = compare(group)
    assert annotate(group, PreferencesConfig(noise=0.0, seed=seed)) == clean
    flipped = annotate(group, PreferencesConfig(noise=1.0, seed=seed))
    assert [(p.rejected, p.chosen) for p in flipped] == [(p.chosen, p.rejected) for p in clean]


def folder(path: Path) -> Inputs:
    artifact = Artifact("responses", 1, "key", "digest", path)
    return Inputs({"responses": artifact})


def test_labels_do_not_depend_on_the_order_of_groups(tmp_path: Path) -> None:
    made = [
        ResponseGroup(
            make_prompt("fact", f"Where does number {i} live?", "Stilk", "town"),
            tuple(response(text) for text in TEXTS),
        )
        for i in range(40)
    ]
    results = []
    for name, ordered in (("a", made), ("b", made[::-1])):
        write_responses(tmp_path / name / "responses.jsonl", ordered)
        out = tmp_path / f"{name}-out"
        counts = preferences.run(PreferencesConfig(), folder(tmp_path / name), out, Runtime())
        results.append(read_preferences(out / "preferences.jsonl"))
        assert counts["pairs"] == len(results[-1]) == sum(len(compare(g)) for g in made)
    by_name = [sorted(r, key=lambda p: (p.prompt_id, p.chosen, p.rejected)) for r in results]
    assert by_name[0] == by_name[1]
    clean = {(p.prompt_id, p.chosen, p.rejected) for group in made for p in compare(group)}
    flips = sum((p.prompt_id, p.chosen, p.rejected) not in clean for p in results[0])
    assert 0.05 < flips / len(results[0]) < 0.15


@given(groups)
def test_what_is_written_is_what_is_read(tmp_path_factory, group: ResponseGroup) -> None:
    path = tmp_path_factory.mktemp("preferences")
    write_responses(path / "responses.jsonl", [group])
    assert list(read_responses(path / "responses.jsonl")) == [group]
    assert write_prompts(path / "prompts.jsonl", [FACT, UNKNOWN]) == 2
    assert read_prompts(path / "prompts.jsonl") == [FACT, UNKNOWN]
