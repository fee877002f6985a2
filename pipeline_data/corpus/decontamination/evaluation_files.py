"""Reading the items of an evaluation set: its files, or the curriculum's exercises."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import EvaluationItemsConfig
from pipeline_data.errors import SourceError
from pipeline_data.formats import read_jsonl

SEEN_ON_PURPOSE = "sum-seen"
"""The kind of completion that asks for a sum which the documents hold."""


@dataclass(frozen=True)
class Item:
    """One item of an evaluation set; ``problem`` says why its text cannot be had."""

    name: str
    text: str = ""
    problem: str = ""


def read_items(config: EvaluationItemsConfig, raw: Sequence[Artifact]) -> Iterator[Item]:
    """The items in the order of the files; a damaged row is an item with a problem.

    Raises:
        SourceError: a file cannot be read at all.
    """
    for artifact in raw:
        if config.kind == "exercises":
            yield from _read_exercises(artifact)
            continue
        name = artifact.files[0].path
        path = artifact.path(name)
        try:
            for row, record in enumerate(_read_records(config.kind, path)):
                yield _make_item(config, f"{name}#{row}", record)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:100]
            raise SourceError(
                f"evaluation {config.name}: {name} is no readable {config.kind} file ({reason}); "
                "correct its paths or kind"
            ) from error


def _read_exercises(artifact: Artifact) -> Iterator[Item]:
    """The held-out prompts, and the completions but for those of sums that documents hold."""
    for split in ("validation", "test"):
        for row in read_jsonl(artifact.path(f"prompts-{split}.jsonl")):
            yield Item(f"{split}-{row['prompt_id']}", row["prompt"])
    for number, row in enumerate(read_jsonl(artifact.path("completions.jsonl"))):
        if row["kind"] != SEEN_ON_PURPOSE:
            yield Item(f"completions.jsonl#{number}", f"{row['prefix']} {row['value']}")


def _read_records(kind: str, path: Path) -> Iterator[Any]:
    """The rows of a file; a line that is no JSON is itself a ValueError."""
    if kind == "parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                yield from batch.to_pylist()
        return
    with io.BufferedReader(pa.input_stream(str(path))) as handle:  # decompresses by suffix
        if kind == "json":
            content = json.loads(handle.read())
            yield from content.values() if isinstance(content, dict) else content
            return
        for line in handle:
            is_text = kind == "text"
            yield {"text": line.decode("utf-8", "replace")} if is_text else _parse_line(line)


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return error


def _make_item(config: EvaluationItemsConfig, place: str, record: Any) -> Item:
    if isinstance(record, Exception):
        return Item(place, problem=f"not JSON ({str(record)[:100]})")
    if not isinstance(record, Mapping):
        return Item(place, problem="not an object")
    name = record.get(config.id_field) if config.id_field else None
    parts: list[str] = []
    for field in config.fields:
        value: Any = record
        for key in field.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return Item(place, problem=f"no field {field!r} (it has {', '.join(record)})")
            value = value[key]
        parts += _leaves(value)
    return Item(place if name is None else str(name), "\n".join(parts))


def _leaves(value: Any) -> Iterable[str]:
    """The texts and numbers within a value, in its order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [] if value is None else [str(value)]
