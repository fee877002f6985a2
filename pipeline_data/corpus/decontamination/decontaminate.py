"""Stage ``decontaminate``: training documents that hold an item of an evaluation set go.

A document holds an item when they share an n-gram of words, as in GPT-3 (arXiv:2005.14165,
appendix C), or, for an item shorter than that, when the whole of it stands in the document.
N-grams are found by hash; where a hash is met the words themselves are compared, so that no
document goes by mistake.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.decontamination.word_ngrams import (
    Hashes,
    hash_ngrams,
    hash_words,
    split_words,
)
from pipeline_data.corpus.settings import DecontaminateConfig
from pipeline_data.corpus.tokenization.sample import read_kept
from pipeline_data.formats import CONTAMINATED, KEPT, open_table, read_rows
from pipeline_data.stage_run import Inputs, Runtime

_SLOTS_PER_NGRAM = 16
_MAX_SLOTS = 1 << 26


def run(config: DecontaminateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write kept.parquet, the documents that stay, and contaminated.parquet.

    Inputs ``documents``, ``kept`` and ``evaluation`` (many, of the stage ``evaluation-items``; none
    keeps every document). A document has a row for every item it holds, sets by name.
    """
    index = load_index(inputs.many("evaluation"))
    num_kept = num_dropped = 0
    num_by_set: Counter[str] = Counter({row["evaluation"]: 0 for row in index.items})
    with (
        open_table(out / "kept.parquet", KEPT) as keep,
        open_table(out / "contaminated.parquet", CONTAMINATED) as drop,
    ):
        for num_read, row in enumerate(read_kept(inputs), 1):
            found = find_items(index, row["text"], config.min_matches)
            if found:
                num_dropped += 1
                num_by_set.update({match["evaluation"] for match in found})
            else:
                num_kept += 1
                keep({"doc_id": row["doc_id"]})
            for match in found:
                drop({"doc_id": row["doc_id"], "url": row["url"]} | match)
            runtime.progress(num_read, None, "documents")
    return {
        "num_documents": num_kept,
        "num_contaminated": num_dropped,
        **{f"num_contaminated_{name}": num_by_set[name] for name in sorted(num_by_set)},
    }


@dataclass(frozen=True)
class ItemIndex:
    """The items of all evaluation sets, and their n-grams sorted by hash.

    ``hashes``, ``rows`` (of ``items``) and ``positions`` have shape (num_ngrams,). ``slots`` says
    whether a hash with these low bits is there at all: one look, for almost every n-gram of an
    innocent document.
    """

    items: Sequence[dict[str, Any]]
    lengths: Sequence[int]
    hashes: Hashes
    rows: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    slots: npt.NDArray[np.bool_]

    def match_hashes(self, hashes: Hashes) -> Iterator[tuple[int, int]]:
        """Place in ``hashes`` and entry of the index, wherever the two are equal."""
        places = np.flatnonzero(self.slots[hashes & np.uint64(len(self.slots) - 1)])
        starts = np.searchsorted(self.hashes, hashes[places], "left")
        ends = np.searchsorted(self.hashes, hashes[places], "right")
        for hit in np.flatnonzero(starts < ends):
            for entry in range(starts[hit], ends[hit]):
                yield int(places[hit]), entry


def load_index(evaluations: Sequence[Artifact]) -> ItemIndex:
    """The index over all evaluation sets, whatever the order they are given in."""
    items: list[dict[str, Any]] = []
    columns: list[list[npt.NDArray[Any]]] = [[], [], []]
    tables = [(list(read_rows(a.path("items.parquet"))), a) for a in evaluations]
    for rows, evaluation in sorted(tables, key=lambda t: [r["evaluation"] for r in t[0][:1]]):
        table = pq.read_table(evaluation.path("ngrams.parquet"))
        columns[0].append(table["hash"].to_numpy())
        columns[1].append(table["item"].to_numpy().astype(np.int64) + len(items))
        columns[2].append(table["position"].to_numpy().astype(np.int64))
        items += rows
    hashes = np.concatenate([np.empty(0, np.uint64), *columns[0]])
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    num_slots = min(_MAX_SLOTS, 1 << (_SLOTS_PER_NGRAM * len(hashes)).bit_length())
    slots = np.zeros(num_slots, np.bool_)
    slots[hashes & np.uint64(num_slots - 1)] = True
    return ItemIndex(
        items=items,
        lengths=sorted({row["ngram"] for row in items}),
        hashes=hashes,
        rows=np.concatenate([np.empty(0, np.int64), *columns[1]])[order],
        positions=np.concatenate([np.empty(0, np.int64), *columns[2]])[order],
        slots=slots,
    )


def find_items(index: ItemIndex, text: str, min_matches: int = 1) -> list[dict[str, Any]]:
    """The items that a text holds at least ``min_matches`` n-grams of, or all there are.

    Returns rows ``{"evaluation", "item", "ngram", "num_matches", "num_ngrams"}``, in the order of
    the items; ``ngram`` is the first of the item's that stands in the text.
    """
    if not index.lengths:
        return []
    words: list[str] = []
    first: dict[int, str] = {}
    matched: dict[int, set[int]] = {}
    for length, hashes in hash_ngrams(hash_words(text), index.lengths).items():
        for place, entry in index.match_hashes(hashes):
            words = words or split_words(text)
            row, position = int(index.rows[entry]), int(index.positions[entry])
            item, ngram = index.items[row], words[place : place + length]
            if item["words"].split(" ")[position : position + item["ngram"]] != ngram:
                continue  # equal hashes of different words
            matched.setdefault(row, set()).add(position)
            first.setdefault(row, " ".join(ngram))
    found = []
    for row in sorted(matched):
        item, num_matches = index.items[row], len(matched[row])
        if num_matches >= min(min_matches, item["num_ngrams"]):
            match = {"ngram": first[row], "num_matches": num_matches}
            found.append(match | {k: item[k] for k in ("evaluation", "item", "num_ngrams")})
    return found
