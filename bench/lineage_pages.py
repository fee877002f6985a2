"""The corpus stages of the lineage benchmark's store: the real files and columns, made-up pages.

These stand in for the stage functions (``bench/lineage_store.py``). A raw file says which pages to
make up; its URLs lie on hosts whose shares follow Zipf's law, and some are those of another shard.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_data.artifact import PROVENANCE as PROVENANCE_FOLDER
from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.settings import ExtractConfig
from pipeline_data.formats import (
    CONTAMINATED,
    DOCUMENTS,
    DROPPED,
    DUPLICATES,
    FILTERED,
    KEPT,
    PASSED,
    PROVENANCE,
    SIGNATURES,
    TOKENS,
    TOKENS_LAYOUT,
    document_id,
)
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime

REPEATED = 0.02
"""Share of a shard's pages that another shard has, too."""
DROPPED_PER_DOCUMENT = 0.01
FILTERED_BELOW, HELD_OUT_ABOVE = "0d", "fd"
"""Ids that start below the first are dropped by the filter, from the second on held out."""
MEAN_TOKENS = 60
SENTENCES = [
    "The ferry to the island leaves at noon and comes back before dark.",
    "A good sheet is heavy, closely woven and washed many times.",
    "Nobody had seen the map since the archive moved across the river.",
    "Bread rises in an hour when the kitchen is warm.",
]


def host_name(rank: int) -> str:
    """The host with the ``rank``-th largest share; two hosts make a domain."""
    return f"{('www', 'docs')[rank % 2]}.site{rank // 2:05d}.example"


def page_urls(number: int, num_pages: int, num_hosts: int, repeats: list[int]) -> list[str]:
    """The URLs of a shard's pages."""
    urls = _own_urls(number, num_pages, num_hosts)
    random = np.random.default_rng([number, 1])
    for other in repeats:
        others = _own_urls(other, num_pages, num_hosts)
        for row in np.flatnonzero(random.random(num_pages) < REPEATED / len(repeats)):
            urls[row] = others[row]
    return urls


def _own_urls(number: int, num_pages: int, num_hosts: int) -> list[str]:
    shares = 1 / np.arange(1, num_hosts + 1)
    bounds = np.cumsum(shares) / shares.sum()
    ranks = np.searchsorted(bounds, np.random.default_rng(number).random(num_pages))
    names = {rank: host_name(rank) for rank in np.unique(ranks).tolist()}
    return [
        f"https://{names[rank]}/pages/{number:04d}/{row}.html"
        for row, rank in enumerate(ranks.tolist())
    ]


def extract(config: ExtractConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``extract``."""
    raw = inputs.one("raw")
    about = json.loads(raw.path(raw.files[0].path).read_text(encoding="utf-8"))
    num_documents = about.pop("num_documents")
    num_dropped = round(num_documents * DROPPED_PER_DOCUMENT)
    urls = page_urls(num_pages=num_documents + num_dropped, **about)
    ids = [document_id(config.source, url) for url in urls]
    num_pages = len(urls)
    texts = [f"{SENTENCES[row % len(SENTENCES)]}" for row in range(num_documents)]
    documents = [ids[:num_documents], urls[:num_documents], [config.source] * num_documents, texts]
    _write(out / "documents.parquet", DOCUMENTS, documents)
    _write_dropped(out, ids[num_documents:], urls[num_documents:], "extract", "too_short")
    _write(out / "passed.parquet", PASSED, [[], []])
    offsets = np.arange(num_pages) * 4096
    fetched = ["2026-01-01T00:00:00+00:00"] * num_pages
    noted = [ids, [raw.shard or ""] * num_pages, offsets, fetched]
    _write(out / PROVENANCE_FOLDER / "provenance.parquet", PROVENANCE, noted)
    return {
        "num_documents": num_documents,
        "num_dropped": num_dropped,
        "num_passed": 0,
        "num_bytes": sum(map(len, texts)),
        "num_lost_bytes": 0,
        "num_dropped_too_short": num_dropped,
    }


def filter_pages(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``filter``."""
    documents = pq.read_table(inputs.one("documents").path("documents.parquet"))
    is_dropped = pc.less(pc.utf8_slice_codeunits(documents["doc_id"], 0, 2), FILTERED_BELOW)
    dropped = documents.filter(is_dropped)
    kept = documents.filter(pc.invert(is_dropped))
    kept = kept.append_column("language", pa.array(["en"] * kept.num_rows))
    _write(out / "documents.parquet", FILTERED, kept.columns)
    _write_dropped(out, dropped["doc_id"], dropped["url"], "filter", "gopher_repetition")
    return {"num_documents": kept.num_rows, "num_dropped": dropped.num_rows}


def sign(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``signature``: without bands, as for generated text."""
    ids = pq.read_table(inputs.one("documents").path("documents.parquet"), columns=["doc_id"])[0]
    nothing = [None] * len(ids)
    _write(
        out / "signatures.parquet", SIGNATURES, [ids, [f"{0:064x}"] * len(ids), nothing, nothing]
    )
    np.save(out / "shingles.npy", np.empty(0, np.uint64))
    return {"num_documents": len(ids), "num_without_bands": len(ids)}


def deduplicate(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``dedup``: a page that the shard before has, too, is a repeated one."""
    num_documents = num_kept = 0
    for before, shard, ids in _with_shard_before(inputs.many("signatures")):
        is_repeated = pc.is_in(ids, value_set=before[1].combine_chunks())
        repeated, kept = ids.filter(is_repeated), ids.filter(pc.invert(is_repeated))
        num = len(repeated)
        rows = [repeated, ["repeated_url"] * num, repeated, [before[0]] * num, [None] * num]
        _write(out / shard / "duplicates.parquet", DUPLICATES, rows)
        _write(out / shard / "kept.parquet", KEPT, [kept])
        num_documents += len(ids)
        num_kept += len(kept)
    repeated_urls = num_documents - num_kept
    return {"num_documents": num_documents, "num_kept": num_kept, "num_repeated_url": repeated_urls}


def _with_shard_before(
    signatures: Any,
) -> Iterator[tuple[tuple[str, pa.ChunkedArray], str, pa.ChunkedArray]]:
    nothing = ("", pa.chunked_array([], pa.string()))
    found = (
        (artifact.shard or "", pq.read_table(artifact.path("signatures.parquet"))["doc_id"])
        for artifact in signatures
    )
    for before, (shard, ids) in pairwise([nothing, *found]):
        yield before, shard, ids


def decontaminate(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``decontaminate``: no page holds an evaluation item."""
    kept = pq.read_table(inputs.one("kept").path("kept.parquet"))
    _write(out / "kept.parquet", KEPT, kept.columns)
    _write(out / "contaminated.parquet", CONTAMINATED, [[] for _ in CONTAMINATED])
    return {"num_documents": kept.num_rows, "num_contaminated": 0}


def sample(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``sample``."""
    lines = [json.dumps({"text": text}) for text in SENTENCES]
    (out / "sample.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"num_documents": len(lines), "num_bytes": sum(map(len, SENTENCES))}


def make_tokenizer(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``tokenizer``."""
    (out / "tokenizer.json").write_text("{}\n", encoding="utf-8")
    (out / "tokenizer_config.json").write_text("{}\n", encoding="utf-8")
    return {"vocab_size": 1024, "num_documents": len(inputs.many("samples"))}


def tokenize(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``tokenize``."""
    documents = pq.read_table(inputs.one("documents").path("documents.parquet"))
    kept = pq.read_table(inputs.one("kept").path("kept.parquet"))["doc_id"].combine_chunks()
    documents = documents.filter(pc.is_in(documents["doc_id"], value_set=kept))
    is_held_out = pc.greater_equal(
        pc.utf8_slice_codeunits(documents["doc_id"], 0, 2), HELD_OUT_ABOVE
    )
    lengths = _lengths(documents["doc_id"])
    tokens = pa.ListArray.from_arrays(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.full(lengths.sum(), 300, np.uint16),
    )
    columns = [
        *(documents[name] for name in ("doc_id", "url", "source")),
        pc.if_else(is_held_out, "heldout", "train"),
        pc.binary_length(documents["text"]).cast(pa.int64()),
        lengths,
        tokens,
    ]
    _write(out / "tokens.parquet", TOKENS, columns, **TOKENS_LAYOUT)
    return {
        "num_documents": documents.num_rows,
        "num_heldout_documents": pc.sum(is_held_out).as_py() or 0,
        "num_tokens": int(lengths.sum()),
        "encoder": "tiktoken",
    }


def _lengths(ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """How many tokens each document has: skewed, and always the same for the same document."""
    digits = bytes.fromhex("".join(pc.utf8_slice_codeunits(ids, 0, 8).to_pylist()))
    share = (np.frombuffer(digits, ">u4").astype(np.float64) + 1) / 2**32
    lengths: npt.NDArray[np.int64] = np.ceil(-np.log(share) * MEAN_TOKENS).astype(np.int64) + 1
    return lengths


def report(config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Stands in for ``corpus-report``."""
    tokens = inputs.many("tokens")
    counts = {
        "num_shards": len(tokens),
        "num_documents": _total(inputs.many("extracted"), "num_documents"),
        "num_kept": _total(tokens, "num_documents"),
        "num_tokens": _total(tokens, "num_tokens"),
    }
    (out / "report.json").write_text(json.dumps(counts), encoding="utf-8")
    (out / "report.md").write_text(f"{counts}\n", encoding="utf-8")
    (out / "report.html").write_text(f"<p>{counts}</p>\n", encoding="utf-8")
    return {**counts}


def _total(artifacts: Any, name: str) -> int:
    return sum(int(a.counts[name]) for a in artifacts if isinstance(a, Artifact))


def _write_dropped(out: Path, ids: Any, urls: Any, stage: str, rule: str) -> None:
    num = len(ids)
    columns = [ids, urls, [stage] * num, [rule] * num, [None] * num, [1.0] * num, [2.0] * num]
    _write(out / "dropped.parquet", DROPPED, columns)


def _write(path: Path, schema: pa.Schema, columns: Any, **layout: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    table = pa.table(arrays, names=schema.names).cast(schema)
    pq.write_table(table, path, compression="zstd", **layout)
