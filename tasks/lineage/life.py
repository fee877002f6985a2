"""The life of a document: where its raw record lies, and what each stage made of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_data.artifact import PROVENANCE, Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.query import ask

REPORT = "corpus-report"
KEPT, DROPPED = "kept", "dropped"


@dataclass(frozen=True)
class Event:
    """What one stage did with a document.

    Attributes:
        outcome: ``kept`` or ``dropped``.
        facts: the rule and the number that crossed a line; the survivor it is a duplicate of; the
            number of tokens and the split.
    """

    stage: str
    artifact: Artifact
    outcome: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RawRecord:
    """Where a document came from: offset in bytes or rows, time of fetching (ISO 8601)."""

    artifact: Artifact
    raw_shard: str
    path: str
    offset: int
    fetched: str | None


@dataclass(frozen=True)
class Life:
    """A document in one extracted shard; ``is_current`` where the corpus named so has that."""

    doc_id: str
    url: str
    source: str
    is_current: bool
    raw: RawRecord
    events: Sequence[Event]

    @property
    def tokens(self) -> Event | None:
        """Its end in a token shard, if it came so far."""
        last = self.events[-1]
        return last if last.stage == "tokenize" else None


def trace_lives(catalogue: Catalogue, extracted: Sequence[Artifact], doc_id: str) -> list[Life]:
    """The life of a document in each of these extracted shards, those of today's corpus first."""
    names = catalogue.store.names()
    current = catalogue.named("corpus") if "corpus" in names else None
    lives = [_Reader(catalogue, current).read(artifact, doc_id) for artifact in extracted]
    return sorted(lives, key=lambda life: not life.is_current)


class _Reader:
    """Follows documents down the stages; of several results it takes today's, else the latest."""

    def __init__(self, catalogue: Catalogue, current: Artifact | None) -> None:
        self.catalogue = catalogue
        self.current = current

    def read(self, extracted: Artifact, doc_id: str) -> Life:
        raw = self._raw(extracted, doc_id)
        events = list(self._events(extracted, doc_id))
        facts = events[0].facts
        return Life(
            doc_id,
            str(facts.pop("url", "")),
            str(extracted.config.get("source", "")),
            self._is_current(extracted),
            raw,
            events,
        )

    def _events(self, extracted: Artifact, doc_id: str) -> Iterator[Event]:
        event = self._judge("extract", extracted, doc_id)
        yield event
        filtered = self._next(extracted, "filter")
        if event.outcome == DROPPED or filtered is None:
            return
        event = self._judge("filter", filtered, doc_id)
        yield event
        signature = self._next(filtered, "signature")
        dedup = self._next(signature, "dedup") if signature else None
        if event.outcome == DROPPED or dedup is None:
            return
        event = self._deduplicate(dedup, filtered.shard or "", doc_id)
        yield event
        kept = self._next(dedup.part(filtered.shard or ""), "decontaminate")
        if event.outcome == DROPPED or kept is None:
            return
        event = self._decontaminate(kept, doc_id)
        yield event
        tokens = self._next(kept, "tokenize")
        if event.outcome == DROPPED or tokens is None:
            return
        row = _find(tokens.path("tokens.parquet"), doc_id, ("split", "num_tokens"))
        yield Event("tokenize", tokens, KEPT if row else DROPPED, row or {})

    def _judge(self, stage: str, artifact: Artifact, doc_id: str) -> Event:
        """What extraction or the filter said; a page's address is among the facts of the first."""
        columns = ["url"] if stage == "extract" else ["language"]
        row = _find(artifact.path("documents.parquet"), doc_id, columns)
        if row is not None:
            return Event(stage, artifact, KEPT, row)
        columns = ["rule", "detail", "value", "threshold"]
        columns = ["url", *columns] if stage == "extract" else columns
        return Event(
            stage, artifact, DROPPED, _find(artifact.path("dropped.parquet"), doc_id, columns) or {}
        )

    def _deduplicate(self, dedup: Artifact, shard: str, doc_id: str) -> Event:
        path = dedup.part(shard).path("duplicates.parquet")
        row = _find(path, doc_id, ("rule", "duplicate_of", "shard_of", "similarity"))
        return Event("dedup", dedup, DROPPED if row else KEPT, row or {})

    def _decontaminate(self, kept: Artifact, doc_id: str) -> Event:
        row = _find(kept.path("contaminated.parquet"), doc_id, ("evaluation", "item", "ngram"))
        return Event("decontaminate", kept, DROPPED if row else KEPT, row or {})

    def _raw(self, extracted: Artifact, doc_id: str) -> RawRecord:
        row = _find(
            extracted.path(f"{PROVENANCE}/provenance.parquet"),
            doc_id,
            ("raw_shard", '"offset"', "fetched"),
        )
        ((_, raw),) = self.catalogue.inputs(extracted)[:1]
        return RawRecord(raw, path=str(raw.directory), **(row or {}))

    def _next(self, artifact: Artifact, stage: str) -> Artifact | None:
        found = [
            child
            for child in self.catalogue.children(artifact)
            if child.stage == stage and self.catalogue.erasure(child) is None
        ]
        if not found:
            return None
        return max(found, key=lambda a: (self._is_current(a), self.catalogue.created(a)))

    def _is_current(self, artifact: Artifact) -> bool:
        if self.current is None:
            return False
        name = (artifact.stage, artifact.digest, artifact.shard)
        return any(name == (p.stage, p.digest, p.shard) for p in self.current.parents)


def _find(path: Path, doc_id: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """The row of a document in a Parquet file, if it has one."""
    rows = ask(
        f"SELECT {', '.join(columns)} FROM read_parquet($path) WHERE doc_id = $doc_id LIMIT 1",
        {"path": str(path), "doc_id": doc_id},
    )
    names = [column.strip('"') for column in columns]
    return dict(zip(names, rows[0], strict=True)) if rows else None
