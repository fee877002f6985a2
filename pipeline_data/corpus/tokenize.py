"""Stage ``tokenize``: the kept documents of one shard as token ids.

Text is encoded as text: a page that spells a special token gets the tokens of its
characters, so no page can end a document or open a turn.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipeline_data.artifact import Counts
from pipeline_data.corpus.sample import read_kept
from pipeline_data.corpus.settings import TokenizeConfig
from pipeline_data.formats import TOKENS, write_table
from pipeline_data.sources.sharding import hash_fraction
from pipeline_data.stage_run import Inputs, Runtime

BATCH_SIZE = 256


def run(config: TokenizeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write tokens.parquet, one row a kept document, in order; no token marks its start or end.

    Inputs ``documents``, ``kept`` and ``tokenizer`` (tokenizer.json).
    """
    tokenizer = Tokenizer.from_file(str(inputs.one("tokenizer").path("tokenizer.json")))
    tokenizer.encode_special_tokens = True
    rows = []
    num_tokens: Counter[str] = Counter(train=0, heldout=0)
    for batch in _batches(read_kept(inputs)):
        texts = [row["text"] for row in batch]
        for row, encoding in zip(
            batch, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
        ):
            split = _split_of(row["doc_id"], config.heldout_fraction)
            num_tokens[split] += len(encoding.ids)
            rows.append(
                {key: row[key] for key in ("doc_id", "url", "source")}
                | {
                    "split": split,
                    "num_bytes": len(row["text"].encode()),
                    "tokens": encoding.ids,
                }
            )
        runtime.progress(len(rows), None, "documents")
    write_table(out / "tokens.parquet", TOKENS, rows)
    return {
        "num_documents": len(rows),
        "num_heldout_documents": sum(row["split"] == "heldout" for row in rows),
        "num_tokens": num_tokens["train"],
        "num_heldout_tokens": num_tokens["heldout"],
    }


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, BATCH_SIZE)):
        yield batch


def _split_of(doc_id: str, heldout_fraction: float) -> str:
    return "heldout" if hash_fraction(doc_id) >= 1 - heldout_fraction else "train"
