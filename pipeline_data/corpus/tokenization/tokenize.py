"""Stage ``tokenize``: the kept documents of one shard as token ids.

Text is encoded as text: a page that spells a special token gets the tokens of its
characters, so no page can end a document or open a turn.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Counts
from pipeline_data.corpus.settings import TokenizeConfig
from pipeline_data.corpus.tokenization.encoder import load_encoder
from pipeline_data.corpus.tokenization.sample import read_kept
from pipeline_data.formats import TOKENS, open_table
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.stage_run import Inputs, Runtime

BATCH_ROWS = 256
BATCH_CHARS = 4_000_000


def run(config: TokenizeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write tokens.parquet, one row a kept document, in order; no token marks its start or end.

    Inputs ``documents``, ``kept`` and ``tokenizer`` (tokenizer.json).

    Raises:
        ArtifactError: tokenizer.json is no tokenizer with ids of 16 bits.
    """
    encoder = load_encoder(inputs.one("tokenizer").path("tokenizer.json"))
    num_documents = Counter(train=0, heldout=0)
    num_tokens = Counter(train=0, heldout=0)
    with open_table(out / "tokens.parquet", TOKENS) as write:
        for batch in _batches(read_kept(inputs)):
            tokens = encoder.encode_batch([row["text"] for row in batch], runtime.threads)
            for row, ids in zip(batch, tokens, strict=True):
                split = _split_of(row["doc_id"], config.heldout_fraction)
                num_documents[split] += 1
                num_tokens[split] += len(ids)
                write(
                    {key: row[key] for key in ("doc_id", "url", "source")}
                    | {
                        "split": split,
                        "num_bytes": len(row["text"].encode()),
                        "num_tokens": len(ids),
                        "tokens": ids,
                    }
                )
            runtime.progress(num_documents.total(), None, "documents")
    return {
        "num_documents": num_documents.total(),
        "num_heldout_documents": num_documents["heldout"],
        "num_tokens": num_tokens["train"],
        "num_heldout_tokens": num_tokens["heldout"],
        "encoder": encoder.name,
    }


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    num_chars = 0
    for row in rows:
        batch.append(row)
        num_chars += len(row["text"])
        if len(batch) == BATCH_ROWS or num_chars >= BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _split_of(doc_id: str, heldout_fraction: float) -> str:
    return "heldout" if hash_fraction(doc_id) >= 1 - heldout_fraction else "train"
