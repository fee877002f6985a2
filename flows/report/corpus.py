"""The text that a model could learn from, measured over the token shards' files by DuckDB.

Only the columns that are asked for are read, so that a corpus of ten million documents takes
seconds and no more memory than its domains do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import duckdb

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError

MEMORY = "512MB"
TRAIN = "train"
AUTHORITY = "split_part(url, '/', 3)"
HOST = "lower(split_part(split_part(authority, '@', -1), ':', 1))"
"""The host of an address, as ``domain(url)`` of ``headwater sql``; in two steps, as there are far
fewer authorities than addresses."""
NUM_LARGEST = 10


@dataclass(frozen=True)
class Amount:
    """How much text: documents, tokens and bytes of UTF-8."""

    num_documents: int = 0
    num_tokens: int = 0
    num_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.num_documents + other.num_documents,
            self.num_tokens + other.num_tokens,
            self.num_bytes + other.num_bytes,
        )


@dataclass(frozen=True)
class Domain:
    """A host with what it gave, and its share of the bytes of all hosts it is ranked with."""

    name: str
    amount: Amount
    share: float


@dataclass(frozen=True)
class Ranking:
    """The largest hosts by bytes of text, and how many there are in all."""

    num_domains: int
    domains: Sequence[Domain]


@dataclass(frozen=True)
class Corpus:
    """What the shards hold.

    Attributes:
        amounts: by source and split.
        languages: documents by source and language (empty: not identified), as the filters left
            them: duplicates not yet taken out.
        periods: first and last time of fetching by source, where records have one.
        largest: the hosts that gave most of all training text from the web.
        crawled: the hosts that a provider must list: the largest of the sources it crawled itself.
    """

    amounts: Mapping[tuple[str, str], Amount]
    languages: Mapping[str, Mapping[str, int]]
    periods: Mapping[str, tuple[str, str]]
    largest: Ranking
    crawled: Ranking

    def amount(self, source: str, split: str = TRAIN) -> Amount:
        """What a source gave to a split."""
        return self.amounts.get((source, split), Amount())


@dataclass(frozen=True)
class Listing:
    """Which hosts must be listed: of these sources, this share, and no more than the cap."""

    sources: Sequence[str]
    share: float
    cap: int | None = None

    def length(self, num_domains: int) -> int:
        """How many of so many hosts."""
        wanted = ceil(round(num_domains * self.share, 6))
        return wanted if self.cap is None else min(wanted, self.cap)


def measure_corpus(
    tokens: Sequence[Artifact],
    filtered: Sequence[Artifact],
    extracted: Sequence[Artifact],
    listing: Listing,
) -> Corpus:
    """Measure the shards, whose files must be on this machine.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    with duckdb.connect(config={"memory_limit": MEMORY}) as database:
        files = _files(tokens, "tokens.parquet")
        amounts = {
            (source, split): Amount(*numbers)
            for source, split, *numbers in _ask(
                database,
                "SELECT source, split, count(*), sum(num_tokens)::BIGINT, sum(num_bytes)::BIGINT "
                "FROM read_parquet($files) GROUP BY ALL ORDER BY ALL",
                files,
            )
        }
        _sum_hosts(database, files)
        everywhere = sorted({source for source, _ in amounts})
        return Corpus(
            amounts=amounts,
            languages=_count_languages(database, filtered),
            periods=_find_periods(database, extracted),
            largest=_rank(database, Listing(everywhere, 1.0, NUM_LARGEST)),
            crawled=_rank(database, listing),
        )


def _sum_hosts(database: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """The table ``host``: what each host of the web gave to training, by source."""
    _ask(
        database,
        "CREATE TABLE host AS WITH site AS ("
        f"SELECT source, {AUTHORITY} AS authority, count(*) AS num_documents, "
        "sum(num_tokens) AS num_tokens, sum(num_bytes) AS num_bytes "
        f"FROM read_parquet($files) WHERE split = '{TRAIN}' "
        "AND (starts_with(url, 'http://') OR starts_with(url, 'https://')) GROUP BY ALL) "
        f"SELECT source, {HOST} AS name, sum(num_documents)::BIGINT AS num_documents, "
        "sum(num_tokens)::BIGINT AS num_tokens, sum(num_bytes)::BIGINT AS num_bytes "
        "FROM site GROUP BY ALL",
        files,
    )


def _rank(database: duckdb.DuckDBPyConnection, listing: Listing) -> Ranking:
    exists = database.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'host'")
    if not listing.sources or exists.fetchone() == (0,):
        return Ranking(0, ())
    chosen = {"sources": list(listing.sources)}
    num_domains, num_bytes = database.execute(
        "SELECT count(DISTINCT name), sum(num_bytes)::BIGINT FROM host WHERE source IN $sources",
        chosen,
    ).fetchall()[0]
    rows = database.execute(
        "SELECT name, sum(num_documents)::BIGINT, sum(num_tokens)::BIGINT, "
        "sum(num_bytes)::BIGINT AS size FROM host WHERE source IN $sources "
        f"GROUP BY name ORDER BY size DESC, name LIMIT {listing.length(num_domains)}",
        chosen,
    ).fetchall()
    domains = [
        Domain(name, Amount(*n), n[2] / num_bytes if num_bytes else 0.0) for name, *n in rows
    ]
    return Ranking(num_domains, domains)


def _count_languages(
    database: duckdb.DuckDBPyConnection, filtered: Sequence[Artifact]
) -> dict[str, dict[str, int]]:
    rows = _ask(
        database,
        "SELECT source, coalesce(language, ''), count(*) AS n FROM read_parquet($files) "
        "GROUP BY ALL ORDER BY source, n DESC, 2",
        _files(filtered, "documents.parquet"),
    )
    languages: dict[str, dict[str, int]] = {}
    for source, language, num_documents in rows:
        languages.setdefault(source, {})[language] = num_documents
    return languages


def _find_periods(
    database: duckdb.DuckDBPyConnection, extracted: Sequence[Artifact]
) -> dict[str, tuple[str, str]]:
    """When the records of each source were fetched; those without a time say nothing."""
    by_source: dict[str, list[Artifact]] = {}
    for artifact in extracted:
        by_source.setdefault(str(artifact.config["source"]), []).append(artifact)
    periods = {}
    for source, artifacts in by_source.items():
        found = _ask(
            database,
            "SELECT min(fetched), max(fetched) FROM read_parquet($files) WHERE fetched <> ''",
            _files(artifacts, "provenance/provenance.parquet"),
        )
        if found and found[0][0]:
            periods[source] = (found[0][0], found[0][1])
    return periods


def _ask(database: duckdb.DuckDBPyConnection, query: str, files: Sequence[str]) -> list[Any]:
    if not files:
        return []
    try:
        found: list[Any] = database.execute(query, {"files": list(files)}).fetchall()
    except duckdb.Error as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"a shard cannot be read: {reason}; headwater verify says which"
        ) from None
    return found


def _files(artifacts: Sequence[Artifact], name: str) -> list[str]:
    return [
        str(artifact.directory / name)
        for artifact in artifacts
        if any(file.path == name and file.rows for file in artifact.files)
    ]
