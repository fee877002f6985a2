"""How many rows each source gives to a training when sources may not repeat without end.

Rows are shared out by weight. A source whose share is more than it may give gives its most, and
what is left goes to the others by their weights, until no share is too large (water-filling).
Whole rows are found by largest remainder (Hamilton's method). All of it is exact: the numbers are
fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class Limits:
    """The most that sources may give over all steps; none by default."""

    max_epochs: float | None = None
    """Passes over any source."""
    source_max_epochs: Mapping[str, float] = field(default_factory=dict)
    """Passes over single sources, instead of ``max_epochs``."""
    source_max_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens of single sources."""

    def max_rows(self, source: str, num_rows: int, context: int) -> int | None:
        """Most rows of ``context`` tokens of a source that has ``num_rows``; None if no limit."""
        limits = []
        epochs = self.source_max_epochs.get(source, self.max_epochs)
        if epochs is not None:
            limits.append(int(Fraction(str(epochs)) * num_rows))  # 2.3 x 10 is 23 rows, not 22
        if source in self.source_max_tokens:
            limits.append(self.source_max_tokens[source] // context)
        return min(limits, default=None)


@dataclass(frozen=True)
class SourceShare:
    """What one source gives to a training."""

    source: str
    weight: float
    """As asked for, the weights of the sources that are there having sum 1."""
    share: float
    """Of all rows."""
    epochs: float
    num_tokens: int


def share_rows(
    weights: Sequence[float], max_rows: Sequence[int | None], num_rows: int
) -> list[int]:
    """Rows of each source, with sum ``num_rows``; weights are above 0.

    Raises:
        ValueError: the limits leave fewer rows than are asked for.
    """
    exact = [Fraction(weight) for weight in weights]
    given = [0] * len(exact)
    free, left = list(range(len(exact))), num_rows
    while True:
        if not free and left:
            raise ValueError(f"the sources may give only {num_rows - left} of {num_rows} rows")
        total = sum(exact[i] for i in free)
        shares = {i: left * exact[i] / total for i in free}
        full = {i: limit for i in free if (limit := max_rows[i]) is not None and limit < shares[i]}
        if not full:
            break
        for i, limit in full.items():
            given[i] = limit
            left -= limit
        free = [i for i in free if i not in full]
    for i, share in shares.items():
        given[i] = int(share)
    remainder = num_rows - sum(given)
    for i in sorted(shares, key=lambda i: (given[i] - shares[i], i))[:remainder]:
        given[i] += 1
    return given
