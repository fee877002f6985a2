"""Documents that went into one corpus and not into the other, and why.

Only token shards that differ are looked at, and of these a few narrow columns. Where one differs
while its documents and the list of those to keep are equal, it holds the same documents in other
tokens, and is not read either. Whether a text is another one is told by the hash that deduplication
compares, which takes no notice of white space, by its bytes and by the number of its tokens.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import duckdb

from pipeline_data.artifact import Artifact
from pipeline_data.corpus.report.views import create_views
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.results import Pair
from tasks.lineage.difference.sides import Side, contents_of

Kind = Literal["added", "removed", "changed", "moved"]
"""Only in B; only in A; in both with another text; in both, held out of training in one of them."""
TOKENS = "tokenize"
ROLES = ("tokens", "filtered", "decontaminated", "dedup", "extracted", "signatures")
"""What decides about documents, as the views of a corpus call it, and what tells texts apart."""
SIGNATURES_FILE = "signatures.parquet"
NOT_BROUGHT_IN = "not brought in"
"""The rule, of no stage, where nothing dropped a document: the other side's raw data lack it."""
_SIZES = [f"{what}_{side}" for what in ("shards", "documents", "tokens") for side in "ab"]
_TEXTS = "INSERT INTO texts SELECT $shard, doc_id, text_sha256 FROM read_parquet($file)"
_MEMBERS = """
CREATE VIEW members AS
SELECT doc_id, url, source, shard, split, num_tokens, num_bytes, text_sha256
FROM tokens LEFT JOIN texts USING (shard, doc_id)
"""
_CHANGES = """
CREATE TABLE changes AS
WITH both_sides AS (
    SELECT a.doc_id AS in_a, b.doc_id AS in_b,
        coalesce(b.doc_id, a.doc_id) AS doc_id, coalesce(b.url, a.url) AS url,
        coalesce(b.source, a.source) AS source, a.shard AS shard_a, b.shard AS shard_b,
        a.num_tokens AS tokens_a, b.num_tokens AS tokens_b, a.split <> b.split AS moved,
        a.text_sha256 <> b.text_sha256 OR a.num_bytes <> b.num_bytes
            OR ($same_tokenizer AND a.num_tokens <> b.num_tokens) AS changed
    FROM a.members AS a FULL JOIN b.members AS b ON a.doc_id = b.doc_id
)
SELECT CASE WHEN in_b IS NULL THEN 'removed' WHEN in_a IS NULL THEN 'added'
    WHEN changed THEN 'changed' ELSE 'moved' END AS kind, * EXCLUDE (in_a, in_b, changed, moved)
FROM both_sides WHERE in_a IS NULL OR in_b IS NULL OR changed OR moved
"""
_REASONS = """
CREATE TABLE explained AS
WITH drops AS (
    SELECT 'removed' AS kind, * FROM (SELECT DISTINCT ON (doc_id) * FROM b.dropped)
    UNION ALL BY NAME
    SELECT 'added' AS kind, * FROM (SELECT DISTINCT ON (doc_id) * FROM a.dropped)
)
SELECT changes.*, stage,
    coalesce(rule, CASE kind WHEN 'removed' THEN $lacking_b WHEN 'added' THEN $lacking_a END)
        AS rule, detail, value, threshold
FROM changes LEFT JOIN drops USING (kind, doc_id)
"""
_RESHARDED = """
SELECT a.shard, b.shard, count(*) FROM a.members AS a JOIN b.members AS b USING (doc_id)
WHERE a.shard <> b.shard GROUP BY ALL
"""
_TOUCHED = "SELECT DISTINCT shard_a, shard_b FROM changes"
_COUNTS = """
SELECT kind, source, stage, rule, count(*), coalesce(sum(tokens_a), 0)::BIGINT,
    coalesce(sum(tokens_b), 0)::BIGINT
FROM explained GROUP BY kind, source, stage, rule ORDER BY ALL
"""
_DOCUMENTS = """
SELECT kind, doc_id, url, source, shard_a, shard_b, tokens_a, tokens_b, stage, rule, detail, value,
    threshold
FROM explained
QUALIFY $limit IS NULL
    OR row_number() OVER (PARTITION BY kind ORDER BY source, url, doc_id) <= $limit
ORDER BY kind, source, url, doc_id
"""


@dataclass(frozen=True)
class DocumentChange:
    """A document that is not the same in both.

    Attributes:
        tokens_a: how many it has in A; nothing where it is not there. So ``tokens_b`` of B.
        stage: of an added or removed one, what dropped it on the side that lacks it: with ``rule``
            and ``detail``, and with value and limit where the rule compares numbers.
    """

    kind: Kind
    doc_id: str
    url: str
    source: str
    shard_a: str | None
    shard_b: str | None
    tokens_a: int | None
    tokens_b: int | None
    stage: str | None
    rule: str | None
    detail: str | None
    value: float | None
    threshold: float | None


@dataclass(frozen=True)
class DocumentCount:
    """How many documents of a source changed in one way for one reason, with their tokens."""

    kind: Kind
    source: str
    stage: str | None
    rule: str | None
    num_documents: int
    tokens_a: int
    tokens_b: int


@dataclass(frozen=True)
class SourceSize:
    """Documents and tokens of a source on either side, from the records of its token shards."""

    source: str
    shards_a: int
    shards_b: int
    documents_a: int
    documents_b: int
    tokens_a: int
    tokens_b: int


@dataclass(frozen=True)
class DocumentDifference:
    """What became of the documents.

    Attributes:
        counts: of all of them; ``documents`` names the first of each kind.
        num_retokenized: shards with the same documents in other tokens.
        num_resharded: documents that lie in another shard, which is no change of theirs.
        unread: shards that cannot be read, with the reason: nothing is said of their documents.
    """

    sources: Sequence[SourceSize]
    counts: Sequence[DocumentCount]
    documents: Sequence[DocumentChange]
    num_retokenized: int
    num_resharded: int
    unread: Mapping[str, str]

    def num(self, kind: Kind) -> int:
        """How many documents changed in this way."""
        return sum(row.num_documents for row in self.counts if row.kind == kind)


def compare_documents(
    catalogue: Catalogue, pairs: Sequence[Pair], a: Side, b: Side, limit: int | None
) -> DocumentDifference:
    """The documents of the token shards that differ.

    Args:
        limit: how many of each kind to name; ``None`` names all.

    Raises:
        ArtifactError: a file is gone that nobody erased.
    """
    other = [pair for pair in pairs if pair.stage == TOKENS and pair.status != "equal"]
    read = [pair for pair in other if not _holds_same_documents(pair)]
    unread = {pair.name: why for pair in read if (why := _obstacle(catalogue, pair))}
    read = [pair for pair in read if pair.name not in unread]
    counts: list[DocumentCount] = []
    documents: list[DocumentChange] = []
    resharded: list[tuple[str, str, int]] = []
    touched: set[str | None] = set()
    if read:
        with closing(duckdb.connect()) as database:
            lacking = {
                f"lacking_{name}": _create_side(catalogue, database, name, side, read)
                for name, side in (("a", a), ("b", b))
            }
            tokenizers = {_parent_digest(tokens, "tokenizer") for tokens in _both(read)}
            database.execute(_CHANGES, {"same_tokenizer": len(tokenizers) == 1})
            database.execute(_REASONS, lacking)
            counts = [DocumentCount(*row) for row in database.execute(_COUNTS).fetchall()]
            rows = database.execute(_DOCUMENTS, {"limit": limit}).fetchall()
            documents = [DocumentChange(*row) for row in rows]
            resharded = database.execute(_RESHARDED).fetchall()
            touched = {name for row in database.execute(_TOUCHED).fetchall() for name in row}
    touched |= {name for row in resharded for name in row[:2]}
    told = touched | unread.keys()
    num_retokenized = sum(p.status == "changed" and p.name not in told for p in other)
    return DocumentDifference(
        list(_source_sizes(a, b)),
        counts,
        documents,
        num_retokenized,
        sum(num for _, _, num in resharded),
        unread,
    )


def _create_side(
    catalogue: Catalogue,
    database: duckdb.DuckDBPyConnection,
    name: str,
    side: Side,
    pairs: Sequence[Pair],
) -> str | None:
    """The views of a side's shards, in a schema of its own.

    Returns:
        The rule of documents of which the side has no trace; none where files cannot be read, as
        these may have told of it.
    """
    given = [tokens for pair in pairs if (tokens := getattr(pair, name))]
    roles: dict[str, list[Artifact]] = {role: [] for role in ROLES}
    is_complete = True
    for role, artifact in _deciding(catalogue, side, given):
        if artifact is None or not _can_read(catalogue, artifact):
            is_complete = False
            continue
        local = catalogue.store.fetch(artifact)
        for file in local.files:
            local.path(file.path)  # says what is gone, as DuckDB cannot
        roles[role].append(local)
    database.execute(f"CREATE SCHEMA {name}; SET schema = '{name}'")
    create_views(database, roles)
    database.execute("CREATE TABLE texts (shard VARCHAR, doc_id VARCHAR, text_sha256 VARCHAR)")
    for artifact in roles["signatures"]:
        values = {"shard": artifact.shard, "file": str(artifact.path(SIGNATURES_FILE))}
        database.execute(_TEXTS, values)
    database.execute(f"{_MEMBERS}; SET schema = 'main'")
    return NOT_BROUGHT_IN if is_complete else None


def _can_read(catalogue: Catalogue, artifact: Artifact) -> bool:
    return bool(artifact.files) and catalogue.erasure(artifact) is None


def _deciding(
    catalogue: Catalogue, side: Side, tokens: Sequence[Artifact]
) -> Iterator[tuple[str, Artifact | None]]:
    """What decided about the documents of token shards, by role; nothing where it is lost."""
    known = {content: made for made in side.artifacts for content in contents_of([made])}
    signatures = {
        (made.shard, _parent_digest(made, "documents")): made
        for made in side.artifacts
        if made.stage == "signature"
    }

    def parent(child: Artifact | None, role: str) -> Artifact | None:
        for found in child.parents if child else ():
            if found.role == role:
                whole = known.get((found.stage, found.shard or "", found.digest))
                if whole and _can_read(catalogue, whole) and found.shard in whole.parts:
                    return catalogue.store.fetch(whole).part(found.shard or "")
                return whole
        return None

    for shard in tokens:
        filtered, kept = parent(shard, "documents"), parent(shard, "kept")
        yield "tokens", shard
        yield "filtered", filtered
        yield "decontaminated", kept
        yield "dedup", parent(kept, "kept")
        yield "extracted", parent(filtered, "documents")
        yield "signatures", signatures.get((shard.shard, filtered.digest)) if filtered else None


def _holds_same_documents(pair: Pair) -> bool:
    """Whether two token shards were made of the same documents under the same settings."""
    if pair.a is None or pair.b is None or pair.a.config != pair.b.config:
        return False
    return all(
        _parent_digest(pair.a, role) == _parent_digest(pair.b, role)
        for role in ("documents", "kept")
    )


def _parent_digest(tokens: Artifact, role: str) -> str | None:
    return next((parent.digest for parent in tokens.parents if parent.role == role), None)


def _both(pairs: Sequence[Pair]) -> list[Artifact]:
    return [side for pair in pairs for side in (pair.a, pair.b) if side]


def _obstacle(catalogue: Catalogue, pair: Pair) -> str | None:
    """Why the tokens of a shard cannot be read on either side, if they cannot."""
    for side in _both([pair]):
        if not side.files:
            return "another result took its place"
        tombstone = catalogue.erasure(side)
        if tombstone:
            return f"erased on {tombstone.date[:10]}: {tombstone.reason}"
    return None


def _source_sizes(a: Side, b: Side) -> Iterator[SourceSize]:
    """Sums over the token shards of each source."""
    sums: dict[str, Counter[str]] = {}
    for name, side in (("a", a), ("b", b)):
        sources = {x.shard: x.config.get("source") for x in side.artifacts if x.stage == "extract"}
        for artifact in side.artifacts:
            if artifact.stage == TOKENS:
                counts = artifact.counts
                row = sums.setdefault(str(sources.get(artifact.shard, artifact.shard)), Counter())
                row[f"shards_{name}"] += 1
                row[f"documents_{name}"] += int(counts.get("num_documents", 0))
                row[f"tokens_{name}"] += int(counts.get("num_tokens", 0))
                row[f"tokens_{name}"] += int(counts.get("num_heldout_tokens", 0))
    for source, row in sorted(sums.items()):
        yield SourceSize(source, **{field: row[field] for field in _SIZES})
