"""Whether two corpora made of the same WARCs agree, page by page, from bytes to tokens.

Each step is compared only on pages on which the step before agreed, so one difference is counted
once, where it arises. Pages that one side cannot read, or that the two decode differently, are
counted by themselves: there datatrove's reader takes any bytes for UTF-8 that can be, and goes
by a guess for others, while ours goes by what header and page declare, as a browser does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench import stock_pipeline as stock
from bench.own_pipeline import Build, PipelineSettings, raw_artifact, shard_name
from bench.probes import Trace, text_hash
from pipeline_data.corpus.deduplication.signature import band_hashes
from pipeline_data.sources.raw.reader import RawRecord, decode_html, read_raw

DIFFERENCES = ("texts", "decisions", "final texts", "signatures", "tokens")
"""What must be the same; the numbers of pages that differ."""


def compare_shard(
    build: Build, rank: int, theirs: Path, trace: Trace, token_urls: Sequence[str]
) -> Counter[str]:
    """Numbers of pages of a shard that agree and differ.

    Args:
        build: our corpus.
        theirs: the stock pipeline's output.
        trace: what came through the stock pipeline's blocks.
        token_urls: the pages in the stock pipeline's token file, in order.
    """
    counts: Counter[str] = Counter(dict.fromkeys(DIFFERENCES, 0))
    own, settings = build.out, build.settings
    decoded_alike = _compare_reading(build, rank, trace, counts)

    own_texts = {row["url"]: text_hash(row["text"]) for row in _rows(own, "extract", rank)}
    stock_texts = trace.passed["extract"]
    texts_alike = set()
    for url in decoded_alike:
        counts["texts"] += own_texts.get(url) != stock_texts.get(url)
        if url in own_texts and own_texts[url] == stock_texts.get(url):
            texts_alike.add(url)
    counts["compared texts"] += len(decoded_alike)

    own_kept = {row["url"]: row["text"] for row in _rows(own, "filter", rank)}
    dropped = {row["url"]: row["rule"] for row in _rows(own, "filter", rank, "dropped.parquet")}
    final_alike = set()
    for url in texts_alike:
        decision, stock_decision = dropped.get(url, "kept"), _stock_decision(trace, url)
        counts["decisions"] += decision != stock_decision
        if decision == stock_decision == "kept":
            same = text_hash(own_kept[url]) == trace.passed["pii"][url]
            counts["final texts"] += not same
            final_alike |= {url} if same else set()
    counts["compared decisions"] += len(texts_alike)

    counts["compared signatures"] += len(final_alike)
    counts["signatures"] += _count_signatures(settings, rank, own, theirs, final_alike)
    num_compared, counts["tokens"] = _count_tokens(rank, own, theirs, token_urls, final_alike)
    counts["compared tokens"] += num_compared
    counts["kept by ours"] += len(_rows(own, "tokenize", rank, _TOKENS))
    counts["kept by stock"] += len(token_urls)
    return counts


def _compare_reading(build: Build, rank: int, trace: Trace, counts: Counter[str]) -> set[str]:
    """The URLs whose pages both sides turned into the same characters."""
    pages: dict[str, bytes] = {}
    for record in read_raw(raw_artifact(build.warcs[rank], rank), build.settings.extract.reader):
        if isinstance(record, RawRecord) and record.payload is not None:
            html = decode_html(record.payload, record.content_type)
            pages.setdefault(record.url, text_hash(html))
            counts["html bytes"] += len(record.payload)
    stock_pages = trace.passed["read"]
    alike = {url for url, html in pages.items() if stock_pages.get(url) == html}
    counts["pages"] += len(pages.keys() | stock_pages.keys())
    counts["read by ours alone"] += len(pages.keys() - stock_pages.keys())
    counts["read by stock alone"] += len(stock_pages.keys() - pages.keys())
    counts["decoded differently"] += len(pages.keys() & stock_pages.keys()) - len(alike)
    return alike


def _stock_decision(trace: Trace, url: str) -> str:
    """The first block that held a page back, or 'kept'."""
    blocks = ("language", *stock.RULES)
    return next((block for block in blocks if url not in trace.passed[block]), "kept")


def _count_signatures(
    settings: PipelineSettings, rank: int, own: Path, theirs: Path, urls: set[str]
) -> int:
    bands = {row["doc_id"]: row["bands"] for row in _rows(own, "signature", rank, _SIGNATURES)}
    own_bands = {row["url"]: list(bands[row["doc_id"]]) for row in _rows(own, "filter", rank)}
    minima = stock.read_minima(settings, theirs, rank)
    stock_bands = {
        row["url"]: band_hashes(minima[number], settings.signature.bands)
        if number in minima
        else []
        for number, row in enumerate(stock.read_pages(theirs, rank))
    }
    return sum(own_bands[url] != stock_bands[url] for url in urls)


def _count_tokens(
    rank: int, own: Path, theirs: Path, token_urls: Sequence[str], urls: set[str]
) -> tuple[int, int]:
    """Pages in both token shards, and how many have other ids there; dedup may keep others."""
    own_ids = {row["url"]: list(row["tokens"]) for row in _rows(own, "tokenize", rank, _TOKENS)}
    stock_ids = dict(zip(token_urls, stock.read_tokens(theirs, rank), strict=True))
    both = urls & own_ids.keys() & stock_ids.keys()
    return len(both), sum(own_ids[url] != stock_ids[url] for url in both)


_SIGNATURES = "signatures.parquet"
_TOKENS = "tokens.parquet"


def _rows(
    out: Path, stage: str, rank: int, name: str = "documents.parquet"
) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = pq.read_table(out / stage / shard_name(rank) / name).to_pylist()
    return rows
