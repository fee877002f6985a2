"""Stage ``sample``: the texts of one shard that the tokenizer learns from.

Drawn by the hash of the document's id, so that a page outside the sample changes neither the
sample nor the tokenizer. The sample takes the low end of the hashes and the held-out split the
high end: they do not meet while their shares sum to at most one.

Only the shards that the recipe names are asked for a sample. So a recipe that names those it
began with keeps its tokenizer, and every token shard, when other shards come.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline_data.artifact import Counts
from pipeline_data.corpus.settings import SampleConfig
from pipeline_data.formats import read_rows, write_jsonl
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.stage_run import Inputs, Runtime


def run(config: SampleConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write sample.jsonl: ``doc_id``, ``source`` and ``text`` of sampled kept documents, in order.

    Inputs ``documents`` (documents.parquet) and ``kept`` (kept.parquet). Stops before the
    document that would pass ``num_bytes``.
    """
    num_bytes = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal num_bytes
        for row in read_kept(inputs):
            if hash_fraction(row["doc_id"]) >= config.fraction:
                continue
            size = len(row["text"].encode())
            if num_bytes + size > config.num_bytes:
                return
            num_bytes += size
            runtime.progress(num_bytes, config.num_bytes, "bytes")
            yield {key: row[key] for key in ("doc_id", "source", "text")}

    num_documents = write_jsonl(out / "sample.jsonl", rows())
    return {"num_documents": num_documents, "num_bytes": num_bytes}


def is_sampled(config: SampleConfig, shard: str) -> bool:
    """Whether the tokenizer learns from a shard of this name."""
    return any(fnmatchcase(shard, pattern) for pattern in config.shards)


def read_kept(inputs: Inputs) -> Iterator[dict[str, Any]]:
    """The rows of input ``documents`` that are in input ``kept``, in the order of the documents."""
    kept = set(pq.read_table(inputs.one("kept").path("kept.parquet"))["doc_id"].to_pylist())
    for row in read_rows(inputs.one("documents").path("documents.parquet")):
        if row["doc_id"] in kept:
            yield row
