"""What the record says of each source of a corpus: where it is from, and what became of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from flows.report.ancestry import Ancestry
from pipeline_data.artifact import Artifact, Parent
from tasks.store import EXTERNAL

UNKNOWN = "unknown"
"""The licence of a source whose recipe names none."""
CATEGORIES = {"crawl": "crawl", "ingest": "public-dataset", "curriculum": "synthetic"}
"""What the stage that brought a source in says of how its texts were come by."""


@dataclass(frozen=True)
class Origin:
    """What a source was taken from: a file, a package, a dataset, a web crawl, a program.

    Attributes:
        kind: the stage that brought it in.
        version: the exact version, revision or seed.
        sha256: of the file that was taken, where there is one.
        obtained: when it came into the store (ISO 8601).
    """

    kind: str
    name: str
    version: str | None = None
    sha256: str | None = None
    num_bytes: int | None = None
    obtained: str | None = None


@dataclass(frozen=True)
class Crawl:
    """What a crawl was told, and what it met."""

    config: Mapping[str, Any]
    counts: Mapping[str, Any]
    is_practice: bool
    packages: Sequence[Origin]

    @property
    def refused(self) -> dict[str, int]:
        """Addresses that gave no page, by reason."""
        return _by_suffix(self.counts, "num_refused_")


@dataclass
class Source:
    """One source, from its raw files to the token shards.

    Attributes:
        documented: the source's section in the recipe of the run; empty where none is on record.
        shards: its token shards.
    """

    name: str
    documented: Mapping[str, Any]
    origins: list[Origin] = field(default_factory=list)
    crawls: list[Crawl] = field(default_factory=list)
    shards: list[Artifact] = field(default_factory=list)
    num_records: int = 0
    num_extracted: int = 0
    num_filtered: int = 0
    num_deduplicated: int = 0
    num_kept: int = 0
    raw_bytes: int = 0
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    asked_to_mask: set[str] = field(default_factory=set)

    @property
    def licence(self) -> str | None:
        """The licence on record, if there is one."""
        licence = self.documented.get("licence")
        return None if licence in (None, UNKNOWN) else str(licence)

    @property
    def category(self) -> str | None:
        """How the texts were come by, as the recipe says or the kind tells."""
        if self.documented.get("category"):
            return str(self.documented["category"])
        found = {_category_of(origin) for origin in self.origins}
        return found.pop() if len(found) == 1 else None

    @property
    def is_practice(self) -> bool:
        """Whether all its pages were served on the machine that crawled them."""
        return bool(self.crawls) and all(crawl.is_practice for crawl in self.crawls)


def read_sources(ancestry: Ancestry, recipes: Sequence[Mapping[str, Any]]) -> list[Source]:
    """The sources of the token shards below a model, in the order of their names."""
    sources: dict[str, Source] = {}
    seen_raw: set[tuple[str, str | None]] = set()
    for shard in ancestry.of_stage("tokenize"):
        documents = _whole(ancestry, shard, "documents")
        extracted = _whole(ancestry, documents, "documents")
        name = str(extracted.config["source"])
        if name not in sources:
            sources[name] = Source(name, _documented(name, recipes))
        source = sources[name]
        source.shards.append(shard)
        _count_documents(source, ancestry, shard, documents, extracted)
        for parent, raw in _raw_files(ancestry, extracted):
            if (raw.key, parent.shard) not in seen_raw:
                seen_raw.add((raw.key, parent.shard))
                _add_raw(source, ancestry, parent, raw)
    return [sources[name] for name in sorted(sources)]


def _raw_files(ancestry: Ancestry, artifact: Artifact) -> Iterator[tuple[Parent, Artifact]]:
    """What a shard was extracted from; behind a copy without forgotten pages, what was copied."""
    for parent, raw in ancestry.parents(artifact):
        if raw.stage == "redact":
            yield from _raw_files(ancestry, raw)
        else:
            yield parent, raw


def _documented(name: str, recipes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    found = (recipe.get("sources", {}).get(name) for recipe in recipes)
    return next((section for section in found if section), {})


def _whole(ancestry: Ancestry, artifact: Artifact, role: str) -> Artifact:
    pair = ancestry.parent(artifact, role)
    assert pair is not None, f"{artifact.label} is made of {role}"
    return pair[1]


def _count_documents(
    source: Source, ancestry: Ancestry, shard: Artifact, filtered: Artifact, extracted: Artifact
) -> None:
    """Add up one shard's documents after each stage, and why the others went."""
    kept = _whole(ancestry, shard, "kept")
    deduplicated = next(p for p, _ in ancestry.parents(kept) if p.role == "kept")
    dedup = _whole(ancestry, kept, "kept")
    files = ancestry.files(dedup, deduplicated.shard)
    rows = {file.path.rpartition("/")[2]: file.rows or 0 for file in files}
    num_extracted = int(extracted.counts["num_documents"])
    source.num_records += num_extracted + int(extracted.counts["num_dropped"])
    source.num_extracted += num_extracted
    source.num_filtered += int(filtered.counts["num_documents"])
    source.num_deduplicated += rows["kept.parquet"]
    source.num_kept += int(kept.counts["num_documents"])
    for stage, counts, prefix in (
        ("extract", extracted.counts, "num_dropped_"),
        ("filter", filtered.counts, "num_dropped_"),
        ("decontaminate", kept.counts, "num_contaminated_"),
    ):
        for rule, number in _by_suffix(counts, prefix).items():
            source.dropped[stage, rule] += number
    source.dropped["dedup", "duplicate"] += rows["duplicates.parquet"]
    source.masked.update(_by_suffix(filtered.counts, "num_masked_"))
    source.asked_to_mask.update(filtered.config["pii"])


def _add_raw(source: Source, ancestry: Ancestry, parent: Parent, raw: Artifact) -> None:
    source.raw_bytes += sum(file.bytes for file in ancestry.files(raw, parent.shard))
    origin = read_origin(ancestry, raw)
    if origin not in source.origins:
        source.origins.append(origin)
        if raw.stage == "crawl":
            source.crawls.append(_read_crawl(ancestry, raw))


def read_origin(ancestry: Ancestry, raw: Artifact) -> Origin:
    """What a raw artefact was taken from."""
    config, obtained = raw.config, raw.facts.get("created")
    match raw.stage:
        case "crawl":
            return Origin(
                "crawl", ", ".join(map(public_url, config["start_urls"])), obtained=obtained
            )
        case "ingest":
            return _package(_whole(ancestry, raw, "package"))
        case "dataset":
            return Origin("dataset", config["dataset"], config["revision"], obtained=obtained)
        case "curriculum":
            return Origin("curriculum", "generated world", f"seed {config['seed']}")
        case "fetch":
            file = raw.files[0]
            return Origin(
                "fetch", public_url(config["url"]), None, file.sha256, file.bytes, obtained
            )
        case _:
            assert raw.stage == EXTERNAL, raw.label
            file = raw.files[0]
            name = PurePosixPath(file.path).name
            return Origin(EXTERNAL, name, None, file.sha256, file.bytes)


def _package(download: Artifact) -> Origin:
    name, _, version = str(download.config["package"]).partition("==")
    num_bytes, obtained = download.files[0].bytes, download.facts.get("created")
    return Origin("ingest", name, version, download.config["sha256"], num_bytes, obtained)


def _read_crawl(ancestry: Ancestry, crawl: Artifact) -> Crawl:
    pair = ancestry.parent(crawl, "site")
    site = pair[1] if pair else None
    inputs: Iterable[tuple[Parent, Artifact]] = ancestry.parents(site) if site else ()
    packages = [_package(artifact) for _, artifact in inputs]
    return Crawl(public_config(crawl), crawl.counts, site is not None, packages)


def public_url(url: str) -> str:
    """An address without what could let somebody in: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def public_config(artifact: Artifact) -> dict[str, Any]:
    """The config of a result, with addresses that let nobody in.

    Of what was blocked or forgotten, its number alone: naming it would undo the forgetting.
    """
    config = dict(artifact.config)
    match artifact.stage:
        case "fetch":
            config["url"] = public_url(config["url"])
        case "crawl":
            config["start_urls"] = [public_url(url) for url in config["start_urls"]]
        case "redact":
            config["targets"] = len(config["targets"])
        case "filter":
            url = config["url"]
            blocked = {name: len(url[name]) for name in ("block_urls", "block_domains")}
            config["url"] = {**url, **blocked}
    return config


def _category_of(origin: Origin) -> str | None:
    if origin.kind == "dataset":
        return "public-dataset" if origin.version else None
    return CATEGORIES.get(origin.kind)


def _by_suffix(counts: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): int(value)
        for name, value in counts.items()
        if name.startswith(prefix)
    }


def total_dropped(sources: Iterable[Source]) -> Iterator[tuple[str, str, int]]:
    """Stage, rule and number of documents that went, in the order of the stages."""
    total: Counter[tuple[str, str]] = Counter()
    for source in sources:
        total.update(source.dropped)
    order = ("extract", "filter", "dedup", "decontaminate")
    for (stage, rule), number in sorted(
        total.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1])
    ):
        if number:
            yield stage, rule, number
