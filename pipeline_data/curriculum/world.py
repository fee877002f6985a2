"""A small world made from a seed: names, facts, and the splits nothing may cross.

Three things are split, each so that a trained-on item tells nothing about a held-out one but what
was meant to be learnt: facts (one attribute of one entity), sums (unordered pairs, since
``a + b`` gives away ``b + a``) and names that belong to nobody (whose right answer is a refusal).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline_data.curriculum.phrasings import PHRASINGS, VALUES, Phrasing, words
from pipeline_data.curriculum.settings import CurriculumConfig

T = TypeVar("T")
Pair = tuple[int, int]
"""The operands of a sum; unordered pairs are stored smaller first."""

FACT_SPLITS = {"sft": 0.45, "feedback": 0.18, "validation": 0.07, "test": 0.30}
"""Facts are all in the documents; the split is about who is *asked* for them. ``feedback`` serves
the preference and the PPO prompts."""

SMALL_SUM_SPLITS = {
    "documents": 0.50,
    "preference": 0.125,
    "ppo": 0.125,
    "validation": 0.05,
    "test": 0.20,
}
LARGE_SUM_SPLITS = {"documents": 0.12, "practice": 0.55, "validation": 0.08, "test": 0.25}
NUM_UNKNOWN = {"sft": 400, "preference": 250, "ppo": 250, "validation": 60, "test": 120}

_ONSETS = words("b c d f g h j k l m n p r s t v w z br dr gr kl pr st tr th sh")
_VOWELS = words("a e i o u ai ea oo")
_CODAS = words("n r l s m x nd rk th")


@dataclass(frozen=True)
class Fact:
    """One attribute of one entity, and the statement of it that no document uses."""

    entity: str
    kind: str
    attribute: str
    value: str
    held_out: int

    @property
    def phrasing(self) -> Phrasing:
        return PHRASINGS[(self.kind, self.attribute)]

    @property
    def statements(self) -> tuple[str, ...]:
        """The sentences documents may use for this fact."""
        return tuple(
            s.format(entity=self.entity, value=self.value)
            for i, s in enumerate(self.phrasing.statements)
            if i != self.held_out
        )

    @property
    def held_out_prefix(self) -> str:
        """The held-out sentence up to its value, which comes last."""
        statement = self.phrasing.statements[self.held_out].removesuffix(" {value}.")
        return statement.format(entity=self.entity)

    def question(self, index: int) -> str:
        """The question for this fact; index 0 is the one documents use."""
        return self.phrasing.questions[index].format(entity=self.entity)


@dataclass(frozen=True)
class World:
    """Everything the curriculum is made from; ``splits`` of facts, sums and unknown names."""

    entities: Mapping[str, Sequence[str]]
    facts: Mapping[str, Sequence[Fact]]
    small_sums: Mapping[str, Sequence[Pair]]
    large_sums: Mapping[str, Sequence[Pair]]
    unknown_names: Mapping[str, Sequence[str]]

    @property
    def all_facts(self) -> list[Fact]:
        return [fact for split in self.facts.values() for fact in split]

    def to_json(self) -> dict[str, Any]:
        """Entities, facts and splits, for people and for tests."""
        return {
            "entities": {kind: list(names) for kind, names in self.entities.items()},
            "facts": [
                {
                    "entity": f.entity,
                    "kind": f.kind,
                    "attribute": f.attribute,
                    "value": f.value,
                    "split": split,
                    "held_out_prefix": f.held_out_prefix,
                }
                for split, facts in self.facts.items()
                for f in facts
            ],
            "small_sums": {split: list(pairs) for split, pairs in self.small_sums.items()},
            "large_sums": {split: list(pairs) for split, pairs in self.large_sums.items()},
            "unknown_names": {split: list(names) for split, names in self.unknown_names.items()},
        }


def seeded(config: CurriculumConfig, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one setting does not move another."""
    return random.Random(f"{config.seed}/{purpose}")


def build_world(config: CurriculumConfig) -> World:
    """Make names, facts and splits from the seed."""
    names = _names(seeded(config, "names"))
    entities = {
        "town": [next(names) for _ in range(config.num_towns)],
        "person": [next(names) for _ in range(config.num_people)],
        "animal": [next(names) for _ in range(config.num_animals)],
        "river": [next(names) for _ in range(max(4, config.num_towns // 3))],
    }
    unknown = {split: [next(names) for _ in range(n)] for split, n in NUM_UNKNOWN.items()}
    facts = _facts(entities, seeded(config, "facts"))
    seeded(config, "fact splits").shuffle(facts)
    pairs = [(a, b) for b in range(config.max_large_operand + 1) for a in range(b + 1)]
    seeded(config, "sum splits").shuffle(pairs)
    small = [pair for pair in pairs if pair[1] <= config.max_operand]
    large = [pair for pair in pairs if pair[1] > config.max_operand]
    return World(
        entities,
        _split(facts, FACT_SPLITS),
        _split(small, SMALL_SUM_SPLITS),
        _split(large, LARGE_SUM_SPLITS),
        unknown,
    )


def _names(rng: random.Random) -> Iterator[str]:
    taken = {value for values in VALUES.values() for value in values}
    while True:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2)]
        name = "".join(syllables) + rng.choice(_CODAS)
        if len(name) <= 9 and name not in taken:
            taken.add(name)
            yield name.capitalize()


def _facts(entities: Mapping[str, Sequence[str]], rng: random.Random) -> list[Fact]:
    domains = {**VALUES, "town": entities["town"], "river": entities["river"]}
    return [
        Fact(entity, kind, attribute, rng.choice(domains[attribute]), rng.choice(p.value_last))
        for (kind, attribute), p in PHRASINGS.items()
        for entity in entities[kind]
    ]


def _split(items: Sequence[T], fractions: Mapping[str, float]) -> dict[str, list[T]]:
    """Cut a shuffled sequence by cumulative fractions; every item lands in exactly one split."""
    bounds, total = [0], 0.0
    for fraction in fractions.values():
        total += fraction
        bounds.append(round(total * len(items)))
    return {
        split: list(items[start:end])
        for split, start, end in zip(fractions, bounds, bounds[1:], strict=False)
    }
