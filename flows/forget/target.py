"""What a person means by what is to be forgotten: a page, a host, or a raw file of the corpus."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from flows.forget.forgotten import Forgotten, Kind
from pipeline_data.artifact import Artifact
from pipeline_data.corpus.filters.url_rule import names_any
from pipeline_data.errors import HeadwaterError
from tasks.erasure import raw_shards
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.impact import (
    HOLDERS,
    Impact,
    assess_domain,
    assess_shard,
    assess_url,
    list_urls,
)
from tasks.store import EXTERNAL

NUM_NEAR = 3
NUM_LOOKED_AT = 50
FILE_STAGES = (EXTERNAL, "fetch", "redact")
"""The stages of raw shards that are a file each, and not a share of a crawl or a package."""


@dataclass(frozen=True)
class Target:
    """What is to be forgotten.

    Attributes:
        text: as it was given.
        entries: the targets of its entries in the list, all of one kind.
        shard: the raw shard that was named, if one was.
    """

    text: str
    kind: Kind
    entries: Sequence[str]
    shard: str | None = None

    def names(self) -> Callable[[str], bool]:
        """Whether an address is one of the target's."""
        return (lambda url: True) if self.kind == "file" else names_any(self.entries)

    def assess(self, index: DocumentIndex) -> Impact:
        """What it touches in the store as it is."""
        if self.shard is not None:
            return assess_shard(index.catalogue, self.shard)
        if self.kind == "domain":
            return assess_domain(index, self.entries[0])
        return assess_url(index, self.entries[0])

    def holders(self, index: DocumentIndex) -> list[Artifact]:
        """The results of extraction and tokenization that hold documents of it."""
        found = list(self.assess(index).holders)
        if self.shard is None or self.kind == "file":
            return found
        is_meant = self.names()
        return [a for a in found if any(map(is_meant, list_urls(index.catalogue, [a])))]


def find_target(
    index: DocumentIndex, text: str, kind: Kind | None, forgotten: Sequence[Forgotten]
) -> Target:
    """What is meant, as the corpus or the list of what was forgotten knows it.

    Raises:
        HeadwaterError: neither knows it, or it can mean several things.
    """
    makers: dict[Kind, Callable[[], Target | None]] = {
        "url": lambda: _find_url(index, text),
        "domain": lambda: _find_domain(index, text),
        "file": lambda: _find_file(index.catalogue, text, forgotten),
    }
    kinds: Sequence[Kind] = [kind] if kind else get_args(Kind)
    found = [target for wanted in kinds if (target := makers[wanted]())]
    if not found:
        found = _find_entry(text, kinds, forgotten)
    if len(found) > 1:
        several = " and a ".join(target.kind for target in found)
        raise HeadwaterError(f"'{text}' is a {several} of the corpus: say which with --kind")
    if not found:
        raise HeadwaterError(f"the corpus has no '{text}'{_suggest(index, text)}")
    return found[0]


def _find_url(index: DocumentIndex, text: str) -> Target | None:
    places = index.find_url(text) if ":" in text else []
    if any(place.artifact.stage in HOLDERS for place in places):
        return Target(text, "url", [text])
    if places:
        raise HeadwaterError(
            f"{text} is an exercise that the recipe generates and no page: change the recipe's "
            "curriculum to be rid of it"
        )
    return None


def _find_domain(index: DocumentIndex, text: str) -> Target | None:
    domain = text.lower().strip(".")
    if ":" in text or "/" in text or not domain or not index.find_domain(domain):
        return None
    return Target(text, "domain", [domain])


def _find_file(catalogue: Catalogue, text: str, forgotten: Sequence[Forgotten]) -> Target | None:
    """A raw file by its path, its address, or the name of its shard.

    A shard of a crawl, a package or a dataset is a set of pages, which a recipe with another number
    of shards would put elsewhere; so its pages are forgotten one by one.
    """
    extracted = [a for a in catalogue.of_stage("extract") if catalogue.erasure(a) is None]
    named = [a for a in extracted if a.shard == text] or _made_of_file(catalogue, extracted, text)
    if not named:
        return None
    shard = named[-1].shard or ""
    if any(raw.raw.stage in FILE_STAGES for raw in raw_shards(catalogue, named)):
        return Target(text, "file", [shard], shard)
    before = {entry.target for entry in forgotten if entry.part_of == shard}
    pages = sorted(before.union(list_urls(catalogue, named)))
    return Target(text, "url", pages, shard) if pages else None


def _made_of_file(catalogue: Catalogue, extracted: Sequence[Artifact], text: str) -> list[Artifact]:
    path = Path(text).expanduser().absolute() if "://" not in text else None
    names = {
        (raw.stage, raw.digest)
        for stage in (EXTERNAL, "fetch")
        for raw in catalogue.of_stage(stage)
        if raw.config.get("url") == text
        or (path and any(raw.directory / file.path == path for file in raw.files))
    }
    return [a for a in extracted if any((p.stage, p.digest) in names for p in a.parents)]


def _find_entry(text: str, kinds: Sequence[Kind], forgotten: Sequence[Forgotten]) -> list[Target]:
    """What was forgotten before, so that it may be gone on with."""
    return [
        Target(text, e.kind, [e.target], e.target if e.kind == "file" else None)
        for e in forgotten
        if e.target == text and e.kind in kinds
    ]


def _suggest(index: DocumentIndex, text: str) -> str:
    """The nearest that the corpus has, as the end of a sentence."""
    catalogue = index.catalogue
    try:
        host = (urlsplit(text).hostname or "") if ":" in text else text
    except ValueError:
        host = ""
    while host.count(".") >= 1:
        places = [p for p in index.find_domain(host) if p.artifact.stage == "extract"]
        if places and ":" in text:
            holders = list({p.artifact.key: p.artifact for p in places}.values())[:NUM_LOOKED_AT]
            return _name_near(text, list_urls(catalogue, holders, host), f"pages of {host}")
        if places:
            return _name_near(text, sorted({p.host for p in places}), f"hosts of {host}")
        host = host.partition(".")[2]
    if ":" not in text:
        shards = sorted({a.shard or "" for a in catalogue.of_stage("extract")})
        return _name_near(text, shards, "raw shards")
    return ": give an address as the corpus spells it, a host, or a raw file"


def _name_near(text: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(text, known, NUM_NEAR, 0.0)
    return f"; of {len(known):,} {what} the nearest: {', '.join(near)}" if near else ""
