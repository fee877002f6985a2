"""Training orders read back, and the tokens a training really saw."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pipeline_data.artifact import Artifact

Batch = list[list[int]]


@dataclass(frozen=True)
class Order:
    """One training order, as its files have it."""

    about: dict[str, Any]
    documents: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    def places(self, step: int) -> list[tuple[int, range]]:
        """The stream and the positions of each row of a step, in the order of training."""
        first, context = step * self.about["batch_size"], self.about["context"]
        places = range(first, first + self.about["batch_size"])
        rows = sorted((r for r in self.rows if r["index"] in places), key=lambda r: r["index"])
        assert [row["index"] for row in rows] == list(places)
        return [(r["stream"], range(r["row"] * context, (r["row"] + 1) * context)) for r in rows]

    def at(self, stream: int, position: int) -> dict[str, Any]:
        """The one document that covers a position."""
        is_text = self.about["unit"] == "tokens"
        covering = [
            d
            for d in self.documents
            if d["stream"] == stream
            and d["start"] <= position < d["start"] + (d["num_tokens"] if is_text else 1)
        ]
        assert len(covering) == 1, (stream, position, covering)
        return covering[0]

    def records(self, step: int) -> list[dict[str, Any]]:
        """The records of a step."""
        return [self.at(stream, positions[0]) for stream, positions in self.places(step)]

    def names(self, step: int) -> list[str]:
        """The ids of all documents in a step, sorted."""
        found = {self.at(s, p)["document"] for s, positions in self.places(step) for p in positions}
        return sorted(f"{document:016x}" for document in found)

    def tokens(self, step: int, texts: Mapping[str, list[int]]) -> Batch:
        """The rows of a step, each token taken from the document that the files name."""
        batch = []
        for stream, positions in self.places(step):
            row = []
            for position in positions:
                document = self.at(stream, position)
                row.append(texts[f"{document['document']:016x}"][position - document["start"]])
            batch.append(row)
        return batch


def folder(out: Path, name: str) -> Path:
    return out / "provenance" / "orders" / name


def read_order(out: Path, name: str) -> Order:
    place = folder(out, name)
    about = json.loads((place / "order.json").read_text())
    assert about["order"] == name
    tables = (pq.read_table(place / f"{kind}.parquet") for kind in ("documents", "rows"))
    return Order(about, *(table.to_pylist() for table in tables))


def read_texts(shards: Iterable[Artifact], bos: int) -> dict[str, list[int]]:
    """The tokens of every document of token shards by its id, behind the BOS that training adds."""
    return {
        row["doc_id"]: [bos, *row["tokens"]]
        for shard in shards
        for row in pq.read_table(shard.path("tokens.parquet")).to_pylist()
    }


@contextmanager
def watch_training() -> Iterator[list[Batch]]:
    """The token ids that enter any model while gradients are taken, one batch a call."""
    batches: list[Batch] = []

    def look(module: nn.Module, arguments: Any) -> None:
        if isinstance(module, nn.Embedding) and torch.is_grad_enabled():
            batches.append(arguments[0].tolist())

    handle = register_module_forward_pre_hook(look)
    try:
        yield batches
    finally:
        handle.remove()
