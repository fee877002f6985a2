"""The same numbers by another way: every file of a store, row by row, without SQL or catalogue."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq


@dataclass
class Truth:
    """What the files of a home with one run hold."""

    documents: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    hosts: dict[str, Counter[str]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    fetched: list[str] = field(default_factory=list)
    extracted: int = 0
    deduplicated: int = 0
    kept: int = 0


def records(home: Path, stage: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """The records of a stage with the folders of their files."""
    for path in sorted((home / "store" / stage).glob("*/artifact.json")):
        record = json.loads(path.read_text())
        yield record, path.parent / record["folder"]


def one(home: Path, stage: str) -> tuple[dict[str, Any], Path]:
    """The only record of a stage."""
    (found,) = records(home, stage)
    return found


def lines(home: Path, stage: str, file: str) -> int:
    """How many lines a file of the only record of a stage has."""
    return len((one(home, stage)[1] / file).read_text().splitlines())


def rows(home: Path, stage: str, file: str) -> Iterator[dict[str, Any]]:
    """The rows of all files of a stage with this name."""
    for _, folder in records(home, stage):
        for path in sorted(folder.rglob(file)):
            yield from pq.read_table(path).to_pylist()


def read_truth(home: Path) -> Truth:
    """Count everything by hand."""
    truth = Truth()
    for row in rows(home, "tokenize", "tokens.parquet"):
        group = (row["source"], row["split"])
        truth.documents[group] += 1
        truth.tokens[group] += len(row["tokens"])
        truth.bytes[group] += row["num_bytes"]
        if row["split"] == "train" and urlsplit(row["url"]).scheme in ("http", "https"):
            host = truth.hosts.setdefault(str(urlsplit(row["url"]).hostname), Counter())
            host.update(documents=1, tokens=len(row["tokens"]), bytes=row["num_bytes"])
    truth.languages.update(row["language"] for row in rows(home, "filter", "documents.parquet"))
    for stage in ("extract", "filter"):
        for row in rows(home, stage, "dropped.parquet"):
            truth.dropped[stage, row["rule"]] += 1
    truth.dropped["dedup", "duplicate"] = len(list(rows(home, "dedup", "duplicates.parquet")))
    for row in rows(home, "decontaminate", "contaminated.parquet"):
        truth.dropped["decontaminate", row["evaluation"]] += 1
    truth.fetched = [
        row["fetched"] for row in rows(home, "extract", "provenance.parquet") if row["fetched"]
    ]
    truth.extracted = len(list(rows(home, "extract", "documents.parquet")))
    truth.deduplicated = len(list(rows(home, "dedup", "kept.parquet")))
    truth.kept = len(list(rows(home, "decontaminate", "kept.parquet")))
    return truth


def count_masks(home: Path, kind: str) -> int:
    """Addresses in the texts that passed the filters, as they were before masking."""
    pattern = {
        "email": r"[\w.+-]+@[\w-]+(\.[\w-]+)+",
        "ip": r"(?<![\d.])\d{1,3}(\.\d{1,3}){3}(?![\d.])",
    }[kind]
    kept = {
        row["doc_id"] for row in rows(home, "filter", "documents.parquet") if row["source"] == "web"
    }
    texts = (r["text"] for r in rows(home, "extract", "documents.parquet") if r["doc_id"] in kept)
    return sum(len(list(re.finditer(pattern, text))) for text in texts)
