"""What the quality rules judge and how they answer: a page, and the reason to drop it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline_data.corpus.filters.english_words import Words, load_english_words


@dataclass(frozen=True)
class Drop:
    """A page that goes and why; where a rule compares numbers, the page's and the limit."""

    reason: str
    detail: str = ""
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Page:
    """A document before a rule. Its words are found when a rule first asks, then shared."""

    url: str
    text: str

    @cached_property
    def words(self) -> Words:
        """The words of the text, split as in English."""
        return load_english_words().find_words(self.text)

    @cached_property
    def word_offsets(self) -> npt.NDArray[np.int64]:
        """Where each word begins, in characters, if nothing stood between words; and the end."""
        offsets = np.zeros(len(self.words.ids) + 1, np.int64)
        self.words.vocabulary.lengths(self.words.ids).cumsum(out=offsets[1:])
        return offsets


Rule = Callable[[Page], str | Drop]
"""From a page to the text that goes on, changed or not, or the reason to drop the page."""
