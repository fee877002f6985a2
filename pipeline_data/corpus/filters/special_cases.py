"""Where spaCy's special cases make the tokens of a piece depend on the pieces beside it.

spaCy finds a special case such as ``:(`` a second time, as a sequence of tokens, after it split a
text; it does not look at the spaces between them, and of overlapping finds the longest wins. A
wrong find that begins in one piece and ends in another changes no token itself, but it hides
right ones that it overlaps. So only a piece that has a special case inside, one that another
case can overlap, is *fragile*, and only beside a piece that goes on with that other case.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class FragileCase:
    """What the pieces beside a special case must hold to hide it."""

    tokens: Tokens
    """The special case as it stands among the tokens of its piece."""
    before: Tokens
    """Tokens by which a wrong find may begin in the piece before."""
    after: Tokens
    """Tokens by which it may end in the piece after."""

    def is_safe(self, last_before: str, first_after: str) -> bool:
        """Whether no find reaches across to these tokens (empty at the ends of a text).

        A token that is not of letters and digits may be a special case itself; what counts is
        the piece of it that another find could take.
        """
        if last_before in self.before or first_after in self.after:
            return False
        return not (
            (not last_before.isalnum() and last_before.endswith(self.before))
            or (not first_after.isalnum() and first_after.startswith(self.after))
        )


class SpecialCases:
    """The special cases of a spaCy tokenizer, and which of them others can overlap.

    ``bare`` is the same tokenizer without them.
    """

    def __init__(self, tokenizer: Any, bare: Any) -> None:
        self.spellings = frozenset(tokenizer.rules)
        self._bare = bare
        patterns = {case: self._split_plainly(case) for case in sorted(self.spellings)}
        by_token = defaultdict(set)
        for pattern in patterns.values():
            for token in pattern if len(pattern) > 1 else ():
                by_token[token].add(pattern)
        self._by_last_token: dict[str, list[FragileCase]] = defaultdict(list)
        for case, pattern in patterns.items():
            tokens = tuple(token.text for token in tokenizer(case))
            if tokens == pattern:  # found or hidden, it changes nothing
                continue
            before, after = _overlaps(pattern, set().union(*map(by_token.__getitem__, pattern)))
            if before or after:
                self._by_last_token[tokens[-1]].append(FragileCase(tokens, before, after))

    def find_fragile(self, piece: str, tokens: Tokens) -> tuple[FragileCase, ...]:
        """The cases in a piece of these tokens that the pieces beside it may hide."""
        if self._by_last_token.keys().isdisjoint(tokens) or piece in self.spellings:
            return ()  # a piece that is a case is found before any sequence is looked for
        cases = tuple(
            case
            for end, token in enumerate(tokens, 1)
            for case in self._by_last_token.get(token, ())
            if tokens[max(end - len(case.tokens), 0) : end] == case.tokens
        )
        return cases if cases and self._split_plainly(piece) != tokens else ()

    def _split_plainly(self, text: str) -> Tokens:
        with self._bare.vocab.memory_zone():
            return tuple(token.text for token in self._bare(text))


def _overlaps(pattern: Tokens, others: Iterable[Tokens]) -> tuple[Tokens, Tokens]:
    """The tokens by which others that overlap the pattern go on before it and after it."""
    before: set[str] = set()
    after: set[str] = set()
    for other in others:
        for shift in range(1 - len(other), len(pattern)):
            start, stop = max(shift, 0), min(shift + len(other), len(pattern))
            if pattern[start:stop] == other[start - shift : stop - shift]:
                before.update(other[: start - shift])
                after.update(other[stop - shift :])
    return tuple(sorted(before)), tuple(sorted(after))
