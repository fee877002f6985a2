"""Texts that reach the branches and the edges of the quality rules, all made here."""

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from tests.pipeline_data.corpus.material import make_text

_WORDS = """
the of and that to be have with bridge miller winter red seven 3 1,200 o'clock it's don't we're
“We\u2019re day\u2019s U.S. e.g. e.g., Mr. (Mr. x-Mr. z.B. Ph.D. St., 8am 10a.m. vs. and/or
https://a.example/b?c=d a@b.example C++ #tag ## … ... -- - • ( ) [ ] [3] [edit] { } _ * ! ? !?
?! . ; : , na\u00efve F\u00fc\u00dfe ΣΊΣΥΦΟΣ кириллица 日本語の文章です。 الكتاب، हिन्दी। ไทย 한국어
🙂 👩\u200d💻 e\u0301 a\u200bb :) :( x:( x:(( ( ) (( )) hi:) :-) :'( >.< ._. _ . '' ' <3 x:3 8)
:D ID LOWER IS_ALPHA myIS_ALPHAx
"""
WORDS = tuple(_WORDS.split())
LINES = (
    "lorem ipsum dolor sit amet.",
    "Please enable JavaScript to go on.",
    "This site uses cookies and has a privacy policy.",
    "if (a) { return b; }",
    "A set of things { is not } prose.",
    "It was said [12] and done[citation needed].",
    "[1] [2] [3]",
    "[edit][edit]",
    "lorem[1] ipsum is hidden here.",
    "Home",
    "- an item of a list",
    "• another item",
    "and so it goes...",
    "and so it goes…",
    "w" * 1001 + " is a long word.",
    "v" * 1000 + " is not so long.",
    "He said: “Go.” She went! Did he? Yes.",
    "One. Two! Three? Four。Five।",
)
SPACES = (" ", " ", " ", " ", "  ", "\n", "\n\n", "\n\n\n", " \n ", "\r\n", "\t", "\x0b", "\x0c")
ODD_SPACES = ("\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\u00a0", "\u3000", "")


def edge_texts() -> Iterator[str]:
    """Texts that one rule or another decides about narrowly or in a special way."""
    prose = make_text(1)
    line = "A line with the words that have to be said of it."
    lines = prose.split("\n")
    yield from ("", " ", "\n", " \n\t ", "\u2028", "x", "... !!! ???", "\n\n\n. \n", "IS_ALPHA")
    yield from (
        make_text(seed, num) for seed, num in zip(range(20), (3, 8, 15, 40) * 5, strict=True)
    )
    yield from (make_text(seed, 12, per_line) for seed, per_line in ((30, 1), (31, 2), (32, 12)))
    yield "\n\n".join([prose] * 3)
    yield "\n".join([line] * 20)
    yield "\n\n".join([lines[0], *lines, lines[0]])
    yield " ".join(["spam eggs"] * 200)
    yield " ".join(["one two three"] * 100 + prose.split())
    yield " ".join(f"word{number % 7} and that" for number in range(300))
    yield " ".join(prose.split()[:60] * 3)
    yield "".join(f"{'ab ' if number % 3 else 'a b'}c d e " for number in range(90)) + prose
    yield "\n".join(f"- {part}" for part in lines * 3)
    yield "\n".join(f"{part} ..." for part in lines)
    yield "\n".join(f"{part}…" for part in lines)
    yield " ".join("#tag" for _ in range(80)) + prose
    yield " ".join("so ... it goes with the" for _ in range(60))
    yield " ".join(str(number) for number in range(200)) + " the of " + prose[:50]
    yield " ".join(f"{'a' * (number % 3)} b" for number in range(300))
    yield " ".join("incomprehensibilities" + "s" * number for number in range(80))
    yield " ".join(f"verb{number} noun{number}" for number in range(100))
    yield from (f"{prose}\n{extra}" for extra in LINES)
    yield prose + "\nLOREM IPSUM dolor sit amet."
    yield prose + "\nTwo words.\nNo end mark here"
    yield prose.replace(".", " [12].").replace("!", "[edit][citation needed]")
    yield lines[0]
    yield prose.replace("\n", "\r\n")
    yield prose.replace("\n", "\u2028").replace(" ", "\u00a0", 9)
    yield "\n".join(part[:28] for part in prose.replace("\n", " ").split(". "))
    yield "\n".join(["Short line."] * 2 + lines)
    yield prose.upper()
    yield "Füße über Äcker, naïve café; " * 3 + prose
    yield "日本語の文章です。これは二つ目の文です。" * 10
    yield "🙂 " * 60 + prose
    yield prose.replace(" ", "  ").replace("\n", "\n \n")
    yield "\t".join(prose.split(" "))
    yield '"' + '" "'.join(lines) + '"'
    yield from (f"{word} {prose}" for word in ("IS_ALPHA", "myIS_ALPHAx", "x:( (", "(x-Mr. _ ."))
    yield (
        "e.g. the U.S. and Dr. Who don't can't, i.e. http://a.example/b?c=d#e, a@b.example " + prose
    )
    yield " ".join("x:( (" for _ in range(200))
    yield "w" * 2000


def random_text(rng: random.Random) -> str:
    """A mixture of prose and oddities, with parts that repeat."""
    parts: list[str] = []
    num_parts = rng.choice((3, 40, 160))
    while len(parts) < num_parts:
        kind = rng.random()
        if kind < 0.35:
            parts += make_text(rng.randrange(999), 2).split(" ")
        elif kind < 0.42:
            parts += ["\n", rng.choice(LINES), "\n"]
        elif kind < 0.5 and parts:
            start = rng.randrange(len(parts))
            parts += parts[start : start + rng.randrange(1, 30)]
        else:
            parts.append(rng.choice(WORDS))
    spaces = SPACES + (ODD_SPACES if rng.random() < 0.3 else ())
    return "".join(f"{part}{rng.choice(spaces)}" for part in parts)


pieces = st.one_of(st.sampled_from(WORDS), st.sampled_from(LINES), st.text(max_size=4))
spaces = st.sampled_from(SPACES + ODD_SPACES)
messy_texts = st.lists(st.tuples(pieces, spaces), max_size=40).map(
    lambda parts: "".join(f"{piece}{space}" for piece, space in parts)
)
