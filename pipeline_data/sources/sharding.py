"""Which shard, and which share, a record belongs to: a function of its name alone.

So a record's place never depends on when it came or what came before it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


def shard_index(url: str, num_shards: int) -> int:
    """The shard of a URL: sha256(url) modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(url.encode()).digest()) % num_shards


def shard_name(prefix: str, index: int) -> str:
    """``crawl-007``: sorts in order of number up to a thousand shards."""
    return f"{prefix}-{index:03d}"


def hash_fraction(key: str, salt: str = "") -> float:
    """A number in [0, 1) that is fixed for a key; another salt gives an independent one."""
    digest = hashlib.sha256(f"{salt}\n{key}".encode() if salt else key.encode()).digest()
    # 53 bits fit a float exactly; 64 could round up to 1.0.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def group_by_shard(
    rows: Iterable[Mapping[str, Any]], num_shards: int
) -> list[list[Mapping[str, Any]]]:
    """Rows by the shard of their ``url``, each group in URL order."""
    groups: list[list[Mapping[str, Any]]] = [[] for _ in range(num_shards)]
    for row in sorted(rows, key=lambda row: row["url"]):
        groups[shard_index(row["url"], num_shards)].append(row)
    return groups
