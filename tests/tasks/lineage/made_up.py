"""Artefacts whose documents are told, in real layout and tables, and committed by the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from model_code.record_order import RecordOrder
from model_code.training_order import Record, write_record_order
from pipeline_data.artifact import Artifact, Counts, Parent
from pipeline_data.formats import DOCUMENTS, DROPPED, TOKENS, document_id, write_table
from tasks.store import Request, Store


def make(
    store: Store,
    stage: str,
    content: str,
    parents: Sequence[Artifact] = (),
    *,
    config: int = 0,
    created: str = "",
    folders: Mapping[str, str] | None = None,
) -> Artifact:
    """An artefact of one file, or of one in each folder, which then are its parts."""
    named = tuple(Parent("input", p.stage, p.key, p.digest, p.shard) for p in parents)
    request = Request(stage, 1, {"value": config}, named, sharded=bool(folders))

    def write(out: Path) -> Counts:
        for folder, text in (folders or {"": content}).items():
            (out / folder).mkdir(exist_ok=True)
            (out / folder / "data.txt").write_text(text)
        return {}

    return store.produce(request, write, {"created": created} if created else {})


def extracted(
    store: Store, shard: str, source: str, urls: Sequence[str], dropped: Sequence[str], config: int
) -> Artifact:
    """A shard of documents, and of some that were dropped."""

    def write(out: Path) -> Counts:
        rows = [{"doc_id": document_id(source, u), "url": u, "source": source} for u in urls]
        write_table(out / "documents.parquet", DOCUMENTS, [row | {"text": "a"} for row in rows])
        gone = [{"doc_id": document_id(source, u), "url": u, "stage": "extract"} for u in dropped]
        gone.append({"doc_id": "", "url": "", "stage": "extract"})  # a record without an address
        write_table(out / "dropped.parquet", DROPPED, gone)
        return {}

    request = Request("extract", 1, {"source": source, "value": config}, (), shard)
    return store.produce(request, write, {})


def tokenized(
    store: Store, shard: str, source: str, lengths: Mapping[str, int], config: int
) -> Artifact:
    """A token shard of these URLs and numbers of tokens."""

    def write(out: Path) -> Counts:
        rows = [
            {"doc_id": document_id(source, url), "url": url, "source": source, "split": "train",
             "num_bytes": length, "num_tokens": length, "tokens": [1] * length}
            for url, length in lengths.items()
        ]  # fmt: skip
        write_table(out / "tokens.parquet", TOKENS, rows)
        return {}

    return store.produce(Request("tokenize", 1, {"value": config}, (), shard), write, {})


def trained(store: Store, stage: str, records: Mapping[str, int], config: int) -> Artifact:
    """A training that saw each of these records, named by URL, with so many tokens."""

    def write(out: Path) -> Counts:
        rows = [Record(url, length) for url, length in records.items()]
        write_record_order(out, RecordOrder("practice", len(rows), 1, len(rows), 0), rows)
        return {}

    return store.produce(Request(stage, 1, {"value": config}, ()), write, {})
