"""Stage ``evaluation-items``: an evaluation set as items, and an index of their word n-grams.

The index is made once, and read by the decontamination of every shard.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.artifact import Counts
from pipeline_data.corpus.decontamination.evaluation_files import read_items
from pipeline_data.corpus.decontamination.word_ngrams import hash_ngrams, hash_words, split_words
from pipeline_data.corpus.settings import EvaluationItemsConfig
from pipeline_data.errors import SourceError
from pipeline_data.formats import EVALUATION_ITEMS, NGRAMS, UNJUDGED, open_table
from pipeline_data.stage_run import Inputs, Runtime

Index = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""Hash, row of the item, and first word of each n-gram."""


def run(config: EvaluationItemsConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write items.parquet, ngrams.parquet and unjudged.parquet.

    Input ``raw``, many: the files of the set, or the curriculum's exercises. An item shorter than
    ``ngram`` words is one n-gram, the whole of it.

    Raises:
        SourceError: a file cannot be read, or no row of the set makes an item.
    """
    index: list[Index] = []
    num_damaged = num_short = 0
    problem = "its files hold no rows"
    with (
        open_table(out / "items.parquet", EVALUATION_ITEMS) as keep,
        open_table(out / "unjudged.parquet", UNJUDGED) as refuse,
    ):
        for num_read, item in enumerate(read_items(config, inputs.many("raw")), 1):
            row = {"evaluation": config.name, "item": item.name}
            words = split_words(item.text)
            if item.problem:
                num_damaged += 1
                problem = item.problem
                refuse(row | {"rule": "damaged", "detail": item.problem, "num_words": 0})
            elif len(words) < config.min_words:
                num_short += 1
                refuse(row | {"rule": "too_short", "detail": "", "num_words": len(words)})
            else:
                ngram = min(config.ngram, len(words))
                index.append(_index_text(item.text, ngram, len(index)))
                counts = {"num_words": len(words), "num_ngrams": len(index[-1][0])}
                keep(row | counts | {"words": " ".join(words), "ngram": ngram})
            runtime.progress(num_read, None, "items")
    if not index and not num_short:
        raise SourceError(f"evaluation {config.name} has no items ({problem}); correct its fields")
    num_ngrams = _write_index(index, out / "ngrams.parquet")
    return {
        "num_items": len(index),
        "num_ngrams": num_ngrams,
        "num_too_short": num_short,
        "num_damaged": num_damaged,
    }


def _index_text(text: str, ngram: int, item: int) -> Index:
    """The different n-grams of an item, each where it stands first."""
    hashes = hash_ngrams(hash_words(text), [ngram])[ngram]
    unique, first = np.unique(hashes, return_index=True)
    return unique, np.full(len(unique), item, np.int32), first.astype(np.int32)


def _write_index(index: Sequence[Index], path: Path) -> int:
    """Write ngrams.parquet, sorted by hash, then item; returns its number of rows."""
    none = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int32)
    columns = [np.concatenate(column) for column in zip(none, *index, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    pq.write_table(
        pa.table([column[order] for column in columns], schema=NGRAMS), path, compression="zstd"
    )
    return len(order)
