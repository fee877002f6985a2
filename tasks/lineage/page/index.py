"""What a lineage page looks things up in, packed: rows with their digests, hosts, and pages.

A page must open without a network, so what it searches is in it, within bounds that keep it at some
megabytes: every host with its shards while there are few, and every page while there are few. What
was left out is counted, so that the page can say so.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.page.graph import Graph, Node, Row, digest_of
from tasks.lineage.query import ask

TOKENS = "tokenize"
MAX_ROWS = 20_000
MAX_PAGES = 60_000
MAX_HOSTS = 40_000
MAX_PLACES = 200_000
"""How many (host, shard) are listed; hosts in fewer shards come first."""


def build_index(catalogue: Catalogue, graph: Graph) -> dict[str, Any]:
    """Rows, hosts and pages of a graph as JSON values."""
    shards = [row for row in graph.nodes.get(TOKENS, Node(TOKENS)).shards if row.tombstone is None]
    index: dict[str, Any] = {"rows": _list_rows(graph)}
    if not shards:
        return {**index, "hosts": None, "pages": None}
    DocumentIndex.open(catalogue)  # brings its files up to date
    return {
        **index,
        "hosts": _list_hosts(catalogue, shards),
        "pages": _list_pages(catalogue, shards),
    }


def pack(value: Any) -> str:
    """A JSON value as base64 of its zlib stream, which a browser inflates by itself."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def _list_rows(graph: Graph) -> list[dict[str, Any]]:
    """The rows of each stage by column; of stages with very many, the first ones."""
    num_rows = sum(len(node.rows) for node in graph.nodes.values())
    most = MAX_ROWS if num_rows <= MAX_ROWS else max(1, MAX_ROWS // len(graph.nodes))
    listed = {row.number for node in graph.nodes.values() for row in node.rows[:most]}
    return [
        {
            "first": node.rows[0].number,
            "of": [row.whole for row in rows],
            "shard": [row.label for row in rows],
            "digest": [digest_of(row) for row in rows],
            "key": [row.artifact.key for row in rows],
            "bytes": [row.num_bytes for row in rows],
            "parents": [
                [p for p in graph.parents.get(row.number, ()) if p in listed] for row in rows
            ],
            "erased": {
                row.number: [row.tombstone.date, row.tombstone.reason, row.tombstone.by]
                for row in rows
                if row.tombstone
            },
            "counts": _list_counts(rows),
            "left_out": len(node.rows) - len(rows),
        }
        for node in graph.nodes.values()
        if (rows := node.rows[:most])
    ]


def _list_counts(rows: Sequence[Row]) -> Mapping[str, Sequence[Any]]:
    """The counts of whole artefacts, a column each; parts have none of their own."""
    if len(rows) == 1 or any(row.whole is not None for row in rows):
        return {}
    names = dict.fromkeys(name for row in rows for name in row.artifact.counts)
    return {name: [row.artifact.counts.get(name) for row in rows] for name in names}


def _list_hosts(catalogue: Catalogue, shards: Sequence[Row]) -> dict[str, Any]:
    """Sums over each host, and, while there is room, in which shards it has how much."""
    held = catalogue.database.execute("SELECT key, id FROM artifact WHERE stage = ?", [TOKENS])
    numbers = dict(held.fetchall())
    tables = {
        "shards": pa.table(
            {
                "artifact": [numbers[row.artifact.key] for row in shards],
                "shard": [row.number for row in shards],
            }
        )
    }
    places = f"read_parquet({_host_files(catalogue)!r}) JOIN shards USING (artifact)"
    hosts = ask(
        f"""
        SELECT host, count(*) AS shards, sum(num_documents)::BIGINT AS documents,
            sum(num_tokens)::BIGINT AS tokens, count(*) OVER () AS hosts
        FROM {places} GROUP BY host
        QUALIFY row_number() OVER (ORDER BY tokens DESC, host) <= {MAX_HOSTS} ORDER BY host""",
        tables=tables,
    )
    placed = _choose_placed({host: num_shards for host, num_shards, *_ in hosts})
    tables["placed"] = pa.table({"host": pa.array(placed, pa.string())})
    for host, *place in ask(
        f"SELECT host, shard, num_documents, num_tokens FROM {places} "
        "SEMI JOIN placed USING (host) ORDER BY host, shard",
        tables=tables,
    ):
        placed[host].extend(place)
    return {
        "host": [".".join(reversed(host.split("."))) for host, *_ in hosts],
        "shards": [num_shards for _, num_shards, *_ in hosts],
        "documents": [num_documents for *_, num_documents, _, _ in hosts],
        "tokens": [num_tokens for *_, num_tokens, _ in hosts],
        "places": [placed.get(host) for host, *_ in hosts],
        "left_out": hosts[0][-1] - len(hosts) if hosts else 0,
    }


def _choose_placed(num_shards: Mapping[str, int]) -> dict[str, list[int]]:
    """The hosts whose shards are listed, those in fewest shards first, with room for them."""
    placed: dict[str, list[int]] = {}
    num_places = 0
    for host, number in sorted(num_shards.items(), key=lambda item: (item[1], item[0])):
        num_places += number
        if num_places > MAX_PLACES:
            break
        placed[host] = []
    return placed


def _host_files(catalogue: Catalogue) -> list[str]:
    """The files of the document index that tell which artefact holds how much of which host."""
    segments = catalogue.database.execute(
        "SELECT DISTINCT segment FROM indexed WHERE segment <> '' ORDER BY segment"
    )
    return [str(catalogue.folder / "hosts" / f"{segment}.parquet") for (segment,) in segments]


def _list_pages(catalogue: Catalogue, shards: Sequence[Row]) -> dict[str, Any] | None:
    """Every page by URL; nothing where there are too many."""
    num_pages = sum(file.rows or 0 for row in shards for file in row.artifact.files)
    if num_pages > MAX_PAGES:
        return None
    paths = [str(catalogue.store.fetch(row.artifact).path("tokens.parquet")) for row in shards]
    numbers = [row.number for row in shards]
    pages = ask(
        f"SELECT url, source, shard, num_tokens, (split <> 'train')::INT "
        f"FROM read_parquet({paths!r}, filename = true) JOIN files USING (filename) "
        "ORDER BY url, shard",
        tables={"files": pa.table({"filename": paths, "shard": numbers})},
    )
    names = ("url", "source", "shard", "tokens", "heldout")
    return {name: [page[k] for page in pages] for k, name in enumerate(names)}
