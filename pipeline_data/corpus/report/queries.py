"""The questions of the corpus report, in SQL over the views of ``views.py``.

Each is shown beside its answer, so that anybody can ask it again, or another. Sums are of whole
numbers and every order is total: the answers do not depend on the number of threads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb


@dataclass(frozen=True)
class Answer:
    """A question with its answer: ``rows`` in the order of ``columns``."""

    query: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> Iterable[dict[str, Any]]:
        """The rows by the names of their columns."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


_STAGE = "list_position(['extract', 'filter', 'dedup', 'decontaminate'], stage)"

QUERIES = {
    "sources": "FROM sources",
    "tokens": """
SELECT source, split, count(*) AS num_documents, sum(num_tokens) AS num_tokens,
    sum(num_bytes) AS num_bytes
FROM tokens JOIN (SELECT source, min(position) AS position FROM shards GROUP BY source)
    USING (source)
GROUP BY source, split, position ORDER BY position, split DESC
""",
    "rules": f"""
SELECT stage, rule, count(*) AS num_documents
FROM dropped GROUP BY stage, rule ORDER BY {_STAGE}, num_documents DESC, rule
""",
    "details": """
SELECT rule, split_part(detail, ' ', 1) AS limit_crossed, threshold, count(*) AS num_documents
FROM dropped WHERE stage = 'filter' GROUP BY rule, limit_crossed, threshold
QUALIFY row_number() OVER (
    PARTITION BY rule ORDER BY num_documents DESC, limit_crossed, threshold) <= $top
ORDER BY rule, num_documents DESC, limit_crossed, threshold
""",
    "samples": f"""
WITH drawn AS (
    SELECT stage, rule, source,
        unnest(min(struct_pack(position, doc_id, shard, url, detail, value, threshold), $k)) AS drop
    FROM dropped JOIN shards USING (shard) GROUP BY stage, rule, source
)
SELECT stage, rule, source, drop.shard, drop.doc_id, drop.url, drop.detail, drop.value,
    drop.threshold
FROM drawn QUALIFY row_number() OVER (PARTITION BY stage, rule ORDER BY drop.doc_id, drop) <= $k
ORDER BY {_STAGE}, rule, drop.doc_id, drop
""",
    "passed": """
SELECT source, reason, sum(passed.num_records)::BIGINT AS num_records
FROM passed JOIN shards USING (shard)
GROUP BY source, reason ORDER BY num_records DESC, source, reason
""",
    "damaged": """
SELECT source, regexp_replace(detail, '[0-9]+', 'N', 'g') AS reason, count(*) AS num_records,
    min(url) AS example
FROM dropped JOIN shards USING (shard) WHERE stage = 'extract' AND rule = 'damaged'
GROUP BY ALL ORDER BY num_records DESC, source, reason LIMIT $top
""",
    "duplicates": """
SELECT rule, later.source AS source, earlier.source AS source_of_original,
    count(*) AS num_documents
FROM duplicates JOIN shards AS later USING (shard)
    JOIN shards AS earlier ON shard_of = earlier.shard
GROUP BY ALL ORDER BY num_documents DESC, rule, source, source_of_original
""",
    "clusters": """
WITH cluster AS (
    SELECT duplicate_of, shard_of, count(*) AS num_duplicates
    FROM duplicates GROUP BY ALL ORDER BY num_duplicates DESC, shard_of, duplicate_of LIMIT $top
)
SELECT duplicate_of, url, num_duplicates
FROM cluster JOIN filtered ON doc_id = duplicate_of AND shard = shard_of
ORDER BY num_duplicates DESC, shard_of, duplicate_of
""",
    "similarities": """
SELECT floor(similarity * 100)::INT AS percent, count(*) AS num_documents
FROM duplicates WHERE rule = 'near' GROUP BY percent ORDER BY percent
""",
    "languages": """
SELECT language, count(*) AS num_documents
FROM filtered GROUP BY language ORDER BY num_documents DESC, language LIMIT $top
""",
    "domains": """
SELECT domain(url) AS domain, count(*) AS num_documents, sum(num_tokens) AS num_tokens
FROM tokens GROUP BY domain ORDER BY num_documents DESC, domain LIMIT $top
""",
    "lengths": """
SELECT length(bin(num_bytes)) - 1 AS log2_bytes, count(*) AS num_documents,
    sum(num_tokens) AS num_tokens
FROM tokens GROUP BY log2_bytes ORDER BY log2_bytes
""",
    "quantiles": """
SELECT source, count(*) AS num_documents, quantile_disc(num_bytes, 0.05) AS num_bytes_5_percent,
    quantile_disc(num_bytes, 0.5) AS num_bytes_median,
    quantile_disc(num_bytes, 0.95) AS num_bytes_95_percent,
    max(num_bytes) AS num_bytes_longest
FROM tokens JOIN (SELECT source, min(position) AS position FROM shards GROUP BY source)
    USING (source)
GROUP BY source, position ORDER BY position
""",
    "evaluations": """
WITH item AS (
    SELECT evaluation, item, 1 AS judged FROM evaluation_items
    UNION ALL SELECT evaluation, item, 0 FROM unjudged_items
), found AS (
    SELECT evaluation, count(DISTINCT item) AS num_items_found,
        count(DISTINCT (shard, doc_id)) AS num_documents
    FROM contaminated GROUP BY evaluation
)
SELECT evaluation, count(*) AS num_items, sum(1 - judged) AS num_not_judged,
    coalesce(any_value(num_items_found), 0) AS num_items_found,
    coalesce(any_value(num_documents), 0) AS num_documents
FROM item LEFT JOIN found USING (evaluation) GROUP BY evaluation ORDER BY evaluation
""",
    "items": """
SELECT evaluation, item, count(*) AS num_documents, min(ngram) AS matched_words, min(url) AS example
FROM contaminated GROUP BY evaluation, item ORDER BY num_documents DESC, evaluation, item LIMIT $top
""",
}


def ask(database: duckdb.DuckDBPyConnection, name: str, num_samples: int, num_top: int) -> Answer:
    """The answer to one of :data:`QUERIES`."""
    query = QUERIES[name].strip().replace("$k", str(num_samples)).replace("$top", str(num_top))
    cursor = database.execute(query)
    return Answer(
        query, tuple(column[0] for column in cursor.description), tuple(cursor.fetchall())
    )
