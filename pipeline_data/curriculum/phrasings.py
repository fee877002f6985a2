"""The words of the generated world: what things are called and how facts are put.

Every attribute has four statements, at least two of which end in the value: one such statement is
held out for each fact, so that knowing a fact can be told from repeating a sentence. No statement
starts with a name, since a tokenizer may spell a name differently at the start of a text. It has
two questions: documents use the first only, exercises may use both, the test only the second.
"""

from dataclasses import dataclass

Attribute = tuple[str, str]
"""Kind of entity and name of the attribute."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


VALUES: dict[str, tuple[str, ...]] = {
    "job": words(
        "baker barber carpenter doctor farmer fisher guard hunter judge mason miller painter "
        "pilot potter sailor teacher"
    ),
    "food": words(
        "beans bread butter carrots cheese dates figs honey mushrooms nuts pears plums rice "
        "soup turnips walnuts"
    ),
    "colour": words(
        "black blue brown cream crimson gold green grey pink purple red scarlet silver violet "
        "white yellow"
    ),
    "goods": words(
        "baskets bells boots candles chairs clocks drums hats kites lamps mirrors needles ropes "
        "swords tiles violins"
    ),
    "habitat": words(
        "caves cliffs deserts forests gardens hills lakes marshes meadows mountains orchards "
        "ponds ruins swamps valleys woods"
    ),
}
"""The values of each attribute; towns and rivers are named with the world."""


@dataclass(frozen=True)
class Phrasing:
    """How one attribute is stated (``{entity}``, ``{value}``) and asked for (``{entity}``)."""

    statements: tuple[str, ...]
    questions: tuple[str, str]

    @property
    def value_last(self) -> tuple[int, ...]:
        """Indices of the statements that end in the value."""
        return tuple(i for i, s in enumerate(self.statements) if s.endswith("{value}."))


PHRASINGS: dict[Attribute, Phrasing] = {
    ("town", "river"): Phrasing(
        (
            "The town of {entity} stands on the river {value}.",
            "The river {value} flows past {entity}.",
            "Boats come to {entity} on the {value}.",
            "Under the bridge of {entity} runs the {value}.",
        ),
        ("Which river flows past {entity}?", "On what river does {entity} stand?"),
    ),
    ("town", "goods"): Phrasing(
        (
            "The town of {entity} is famous for {value}.",
            "Traders travel to {entity} for {value}.",
            "The finest {value} come from {entity}.",
            "The workshops of {entity} turn out {value}.",
        ),
        ("What is {entity} famous for?", "What do the workshops of {entity} turn out?"),
    ),
    ("town", "colour"): Phrasing(
        (
            "The walls of {entity} are {value}.",
            "The flag of {entity} is {value}.",
            "Visitors remember the {value} roofs of {entity}.",
            "In {entity} every door is {value}.",
        ),
        ("What colour are the walls of {entity}?", "Which colour has the flag of {entity}?"),
    ),
    ("person", "job"): Phrasing(
        (
            "By trade {entity} is a {value}.",
            "Since youth {entity} has been a {value}.",
            "The neighbours call {entity} a good {value}.",
            "Every {value} in the land has heard of {entity}.",
        ),
        ("What is the job of {entity}?", "How does {entity} earn a living?"),
    ),
    ("person", "town"): Phrasing(
        (
            "The house of {entity} is in {value}.",
            "The family of {entity} comes from {value}.",
            "In {value} everybody knows {entity}.",
            "Letters for {entity} go to {value}.",
        ),
        ("Where does {entity} live?", "Where do letters for {entity} go?"),
    ),
    ("person", "food"): Phrasing(
        (
            "Nothing pleases {entity} like {value}.",
            "The best meal for {entity} is {value}.",
            "There is always some {value} in the bag of {entity}.",
            "At noon {entity} eats {value}.",
        ),
        ("Which food does {entity} love?", "What does {entity} eat at noon?"),
    ),
    ("animal", "habitat"): Phrasing(
        (
            "The {entity} lives in the {value}.",
            "Look for the {entity} in the {value}.",
            "The {value} are full of the tracks of the {entity}.",
            "The young of the {entity} are born in the {value}.",
        ),
        ("Where does the {entity} live?", "Where should you look for the {entity}?"),
    ),
    ("animal", "food"): Phrasing(
        (
            "The {entity} feeds on {value}.",
            "In winter the {entity} digs for {value}.",
            "The smell of {value} brings out the {entity}.",
            "To tame a {entity} you need {value}.",
        ),
        ("What does the {entity} feed on?", "What do you need to tame a {entity}?"),
    ),
    ("animal", "colour"): Phrasing(
        (
            "The coat of the {entity} is {value}.",
            "The tail of the {entity} is {value}.",
            "You know a {entity} by its {value} ears.",
            "Even the eyes of the {entity} are {value}.",
        ),
        ("What colour is the coat of the {entity}?", "Which colour has the tail of the {entity}?"),
    ),
}

SUM_STATEMENTS = (
    "{a} + {b} = {c}.",
    "{a} plus {b} is {c}.",
    "Add {a} to {b} and you have {c}.",
    "The sum of {a} and {b} is {c}.",
)
SUM_QUESTIONS = ("What is {a} + {b}?", "How much is {a} plus {b}?")
QUESTION_AND_ANSWER = "Question: {question} Answer: {answer}."

STORY_SENTENCES = (
    "{person} and {other} set out for {town} at sunrise.",
    "In {town} {person} ran into {other} by chance.",
    "It rained all day, and {person} stayed with {other}.",
    "{other} asked {person} to sing a song about {town}.",
    "{person} could not find the key and had to knock.",
    '"The road to {town} is long," said {other}.',
    '"Then we should start early," said {person}.',
    "They shared what they had and slept by the fire.",
    "In the end {other} waved and {person} went home.",
    "Nobody in {town} ever forgot that day.",
)
