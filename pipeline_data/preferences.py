"""Prompts, responses, and a rule that ranks them in the place of people.

The rule reads text only, as a person would: an answer is what stands before the first full stop
or comma. :func:`grade` gives it a utility; a pair of responses is labelled by their utilities and
the label flipped with some probability, as people err. What is trained (the reward model) sees
only the labels; what is reported uses the utility itself.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline_data.artifact import Counts
from pipeline_data.formats import read_jsonl, write_jsonl
from pipeline_data.settings import Fraction, Settings
from pipeline_data.stage_run import Inputs, Runtime

EXERCISES_SOURCE = "curriculum"
"""The source of every exercise: demonstrations and prompts."""
REFUSAL = "I do not know"
POLITE = ("Glad to help!", "Sorry about that!")
"""What a polite response adds to an answer and to a refusal."""
RUDE = "obviously. Stop asking."

Kind = Literal["fact", "sum", "unknown"]
Axis = Literal["correct", "refusal", "manners", "finished", "length"]
AXES: tuple[Axis, ...] = ("correct", "refusal", "manners", "finished", "length")


class PreferencesConfig(Settings):
    """How the rule that stands in for people labels pairs of responses."""

    noise: Fraction = 0.10
    """Probability that a label is flipped."""
    seed: int = Field(default=7, ge=0)
    """Seed of the flips."""


@dataclass(frozen=True)
class Prompt:
    """A question; ``answer`` is None when nobody could know and the right answer is a refusal.

    ``attribute`` is what is asked for: an attribute of the world, or ``small`` or ``large`` for a
    sum.
    """

    prompt_id: str
    kind: Kind
    prompt: str
    answer: str | None
    attribute: str


@dataclass(frozen=True)
class Response:
    """What a model said: text, its token ids, and whether it stopped by itself.

    ``tokens`` includes the end token when ``finished``.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class ResponseGroup:
    """The responses to one prompt."""

    prompt: Prompt
    responses: tuple[Response, ...]


@dataclass(frozen=True)
class Preference:
    """One labelled pair: indices into a prompt's responses, and the axis they differ most on."""

    prompt_id: str
    chosen: int
    rejected: int
    axis: Axis


@dataclass(frozen=True)
class Grade:
    """The utility of one response and what it is made of."""

    utility: float
    correct: bool
    refusal: bool
    polite: bool
    rude: bool
    finished: bool
    length: int


def make_prompt(kind: Kind, text: str, answer: str | None, attribute: str) -> Prompt:
    """A prompt named by its kind and text."""
    prompt_id = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()[:16]
    return Prompt(prompt_id, kind, text, answer, attribute)


def grade(prompt: Prompt, text: str, finished: bool, num_tokens: int) -> Grade:
    """The annotator's rule, in points of utility.

    3 for a correct answer (refusing what nobody could know is correct); 1 for refusing where an
    answer was due, which is better than a wrong one; 1 for politeness; -0.5 for rudeness;
    0.5 for stopping by itself; -0.04 for each token after the tenth, at most -0.5.
    """
    answer = text.strip().replace(",", ".").split(".")[0].strip()
    refusal = answer == REFUSAL
    correct = refusal if prompt.answer is None else answer == prompt.answer
    rude = RUDE in text
    polite = not rude and any(phrase in text for phrase in POLITE)
    utility = (
        3.0 * correct
        + 1.0 * (refusal and not correct)
        + 1.0 * polite
        - 0.5 * rude
        + 0.5 * finished
        - min(0.5, 0.04 * max(0, num_tokens - 10))
    )
    return Grade(utility, correct, refusal, polite, rude, finished, num_tokens)


def grade_response(prompt: Prompt, response: Response) -> Grade:
    """:func:`grade` of a :class:`Response`."""
    return grade(prompt, response.text, response.finished, response.num_tokens)


def put_politely(answer: str) -> str:
    """An answer or refusal in the style the rule likes best."""
    return f"{answer}. {POLITE[answer == REFUSAL]}"


def compare(group: ResponseGroup) -> list[Preference]:
    """All pairs of a group whose utilities differ, labelled without error."""
    grades = [grade_response(group.prompt, response) for response in group.responses]
    pairs = []
    for i, j in combinations(range(len(grades)), 2):
        difference = grades[i].utility - grades[j].utility
        if abs(difference) < 1e-9:
            continue
        chosen, rejected = (i, j) if difference > 0 else (j, i)
        axis = _axis(grades[chosen], grades[rejected])
        pairs.append(Preference(group.prompt.prompt_id, chosen, rejected, axis))
    return pairs


def annotate(group: ResponseGroup, config: PreferencesConfig) -> list[Preference]:
    """:func:`compare` with labels flipped at random.

    The flips depend on the seed and the prompt's id only, never on the order of the groups.
    """
    rng = random.Random(f"{config.seed}/{group.prompt.prompt_id}")
    return [
        Preference(p.prompt_id, p.rejected, p.chosen, p.axis) if rng.random() < config.noise else p
        for p in compare(group)
    ]


def run(config: PreferencesConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Label the pairs of every group of ``responses`` into ``preferences.jsonl``."""
    groups = list(read_responses(inputs.one("responses").path("responses.jsonl")))
    preferences: list[Preference] = []
    for done, group in enumerate(groups, start=1):
        preferences += annotate(group, config)
        runtime.progress(done, len(groups), "prompts")
    write_jsonl(out / "preferences.jsonl", map(asdict, preferences))
    counts: Counts = {"prompts": len(groups), "pairs": len(preferences)}
    for axis in AXES:
        counts[f"pairs {axis}"] = sum(p.axis == axis for p in preferences)
    return counts


def exercise_url(file: str, row: int) -> str:
    """What names a row of a file of exercises, as an address names a page."""
    return f"generated://exercises/{Path(file).stem}/{row}"


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a JSONL file."""
    return [Prompt(**row) for row in read_jsonl(path)]


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> int:
    """Write prompts as JSONL; returns how many."""
    return write_jsonl(path, map(asdict, prompts))


def read_responses(path: Path) -> Iterator[ResponseGroup]:
    """The groups of a ``responses.jsonl``."""
    for row in read_jsonl(path):
        responses = tuple(
            Response(r["text"], tuple(r["tokens"]), r["finished"]) for r in row["responses"]
        )
        yield ResponseGroup(Prompt(**row["prompt"]), responses)


def write_responses(path: Path, groups: Iterable[ResponseGroup]) -> int:
    """Write groups as JSONL, one prompt a line; returns how many."""
    return write_jsonl(path, map(asdict, groups))


def read_preferences(path: Path) -> list[Preference]:
    """The labelled pairs of a ``preferences.jsonl``."""
    return [Preference(**row) for row in read_jsonl(path)]


def _axis(better: Grade, worse: Grade) -> Axis:
    """The axis of the largest term that differs; a refusal has an axis of its own."""
    if better.refusal != worse.refusal:
        return "refusal"
    if better.correct != worse.correct:
        return "correct"
    if (better.polite, better.rude) != (worse.polite, worse.rude):
        return "manners"
    return "finished" if better.finished != worse.finished else "length"
