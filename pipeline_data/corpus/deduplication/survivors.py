"""Which documents survive: each is judged once, in the stable order, against earlier survivors.

A document is dropped by the first of three rules that finds an earlier survivor:

1. ``repeated_url``: it has the survivor's id, so it is the same URL of the same source;
2. ``exact``: it has the survivor's text;
3. ``near``: it shares a band with the survivor, and the exact Jaccard similarity of their
   shingle sets reaches the threshold. Of several such survivors the earliest counts.

What was dropped is never compared again, so a cluster costs one comparison a document whatever
its size. What would stay quadratic is a bucket of many documents that are *not* alike (they
share a template): only its first ``max_bucket_survivors`` survivors are compared, which too
depends on earlier documents alone. Pairs that are alike share several bands, and so mostly a less
crowded bucket as well: one for a band whose minima are not all of the template.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline_data.corpus.deduplication.shingle_file import Hashes
from pipeline_data.corpus.deduplication.shingle_similarity import (
    ShingleSet,
    Sketches,
    bound_similarity,
    jaccard,
    make_sketches,
)

DuplicateRule = Literal["repeated_url", "exact", "near"]

MIN_SKETCHED = 8
"""From so many candidates on, their sketches are looked at before their shingles."""
MAX_SKETCHED = 250_000
"""Survivors in full buckets whose sketches are kept; 256 bytes each."""


class Buckets(NamedTuple):
    """The numbers of the buckets one document shares with others: those of its id, text and bands.

    ``closing`` are those of which it is the last document.
    """

    place: int
    doc_id: int | None
    text: int | None
    bands: Sequence[int]
    closing: Sequence[int]


class Document(NamedTuple):
    """What the world calls a document."""

    doc_id: str
    shard: str


@dataclass(slots=True)
class Survivor:
    """A document that survived, and where its shingle hashes lie in the scratch file."""

    document: Document
    place: int
    start: int
    num_shingles: int
    bitmap: bytes = b""


class Duplicate(NamedTuple):
    """Why a document is dropped; no ``similarity`` where texts differ and were not compared."""

    rule: DuplicateRule
    survivor: Document
    similarity: float | None


class Survivors:
    """The survivors that a later document may meet, by bucket; a closed bucket is forgotten.

    ``append`` adds hashes to an empty scratch file; ``read`` gives (start, number) of them back.
    """

    def __init__(
        self,
        threshold: float,
        max_bucket_survivors: int,
        append: Callable[[Hashes], None],
        read: Callable[[int, int], Hashes],
    ) -> None:
        self._threshold = threshold
        self._max_bucket_survivors = max_bucket_survivors
        self._append = append
        self._read = read
        self._num_appended = 0
        self._buckets: dict[int, list[Survivor]] = {}
        self._crowded: set[int] = set()
        self._full_buckets: dict[int, Sketches] = {}
        self.num_compared = 0
        """Pairs of documents whose shingle sets were compared."""
        self.num_partly_compared = 0
        """Documents that survived, but not every survivor of their buckets was looked at."""

    def judge(self, document: Document, buckets: Buckets, hashes: Hashes) -> Duplicate | None:
        """Why a document is dropped, or nothing if it survives. Call in the stable order.

        ``hashes`` are its sorted unique shingle hashes, needed only if it shares bands.
        """
        duplicate = self._find_equal(buckets) or self._find_near(hashes, buckets.bands)
        if duplicate is None:
            self.num_partly_compared += not self._crowded.isdisjoint(buckets.bands)
            self._register(document, buckets, hashes)
        for number in buckets.closing:
            self._buckets.pop(number, None)
            self._full_buckets.pop(number, None)
            self._crowded.discard(number)
        return duplicate

    def _find_equal(self, buckets: Buckets) -> Duplicate | None:
        same_id = self._first(buckets.doc_id)
        same_text = self._first(buckets.text)
        if same_id:
            return Duplicate(
                "repeated_url", same_id.document, 1.0 if same_id is same_text else None
            )
        return Duplicate("exact", same_text.document, 1.0) if same_text else None

    def _first(self, number: int | None) -> Survivor | None:
        found = self._buckets.get(number) if number is not None else None
        return found[0] if found else None

    def _find_near(self, hashes: Hashes, bands: Sequence[int]) -> Duplicate | None:
        document = ShingleSet(hashes)
        met: dict[int, Survivor] = {}
        for band in bands:
            found = self._buckets.get(band, [])
            if len(found) == self._max_bucket_survivors:
                found = self._select(document, found, self._sketch_full_bucket(band))
            met.update((other.place, other) for other in found)
        candidates = [met[place] for place in sorted(met)]
        if len(candidates) >= MIN_SKETCHED:
            candidates = self._select(document, candidates, self._sketch(candidates))
        for other in candidates:
            lengths = len(hashes), other.num_shingles
            if min(lengths) / max(lengths) < self._threshold:
                continue  # even if one held the other
            self.num_compared += 1
            similarity = jaccard(hashes, self._read(other.start, other.num_shingles))
            if similarity >= self._threshold:
                return Duplicate("near", other.document, similarity)
        return None

    def _select(
        self, document: ShingleSet, survivors: list[Survivor], sketches: Sketches
    ) -> list[Survivor]:
        """The survivors that may reach the threshold, as far as their sketches say."""
        possible = np.flatnonzero(bound_similarity(document, sketches) >= self._threshold)
        return [survivors[index] for index in possible.tolist()]

    def _sketch(self, survivors: Sequence[Survivor]) -> Sketches:
        for other in survivors:
            if not other.bitmap:
                hashes = self._read(other.start, other.num_shingles)
                other.bitmap = ShingleSet(hashes).bitmap.tobytes()
        return make_sketches(
            [other.bitmap for other in survivors], [other.num_shingles for other in survivors]
        )

    def _sketch_full_bucket(self, number: int) -> Sketches:
        """The sketches of a bucket that takes no more survivors, kept while there is room."""
        sketches = self._full_buckets.get(number)
        if sketches is None:
            if (len(self._full_buckets) + 1) * self._max_bucket_survivors > MAX_SKETCHED:
                self._full_buckets.clear()
            sketches = self._full_buckets[number] = self._sketch(self._buckets[number])
        return sketches

    def _register(self, document: Document, buckets: Buckets, hashes: Hashes) -> None:
        survivor = Survivor(document, buckets.place, self._num_appended, len(hashes))
        stored = False
        for number in (buckets.doc_id, buckets.text, *buckets.bands):
            if number is None or number in buckets.closing:
                continue
            found = self._buckets.setdefault(number, [])
            if len(found) < self._max_bucket_survivors:
                found.append(survivor)
                stored = True
            else:
                self._crowded.add(number)
        if stored:
            self._append(hashes)
            self._num_appended += len(hashes)
