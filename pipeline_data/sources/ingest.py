"""Stage ``ingest``: records inside a downloaded package become texts with URLs of their own.

Input role ``package`` (a download). Output: ``records-NNN/records.jsonl`` with ``url`` and
``text``, in URL order, and ``dropped.parquet`` with the records that gave no text.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pipeline_data.artifact import Counts
from pipeline_data.errors import SourceError
from pipeline_data.formats import DROPPED, write_jsonl, write_table
from pipeline_data.sources.download import split_requirement
from pipeline_data.sources.package_files import package_path, read_members
from pipeline_data.sources.record_template import NoTextError, compile_template, render
from pipeline_data.sources.settings import IngestConfig
from pipeline_data.sources.sharding import group_by_shard, hash_fraction, shard_name
from pipeline_data.stage_run import Inputs, Runtime


def run(config: IngestConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write the package's records as sharded JSONL; returns how many were kept and why not.

    Raises:
        SourceError: the archive holds no such member, or no record gave a text.
        RecipeError: a template is not valid.
    """
    text_template = compile_template(config.template, "template")
    key_template = compile_template(config.key, "key")
    rows: dict[str, str] = {}
    dropped: list[dict[str, str]] = []
    num_records = num_outside = 0
    for member, position, record in _read_records(config, inputs):
        num_records += 1
        url = record_url(config.package, member, position)
        try:
            key = render(key_template, position, record)
            if not config.sample_from <= hash_fraction(key) < config.sample_to:
                num_outside += 1
                continue
            url = record_url(config.package, member, key)
            if url in rows:
                raise NoTextError("key", f"an earlier record has the key {key!r}")
            rows[url] = render(text_template, position, record)
        except NoTextError as reason:
            rule, detail = reason.args
            dropped.append(
                {"doc_id": "", "url": url, "stage": "ingest", "rule": rule, "detail": detail}
            )
    _check_found(config, num_records, rows, dropped)
    groups = group_by_shard(({"url": u, "text": t} for u, t in rows.items()), config.shards)
    for index, group in enumerate(groups):
        write_jsonl(out / shard_name("records", index) / "records.jsonl", group)
        runtime.progress(index + 1, len(groups), "shards")
    write_table(out / "dropped.parquet", DROPPED, sorted(dropped, key=lambda row: row["url"]))
    return {
        "num_records": num_records,
        "num_outside_sample": num_outside,
        "num_documents": len(rows),
        "num_dropped": len(dropped),
        "num_bytes": sum(len(text.encode()) for text in rows.values()),
    }


def record_url(package: str, member: str, key: str) -> str:
    """``pypi://name/version/member#key``, percent-encoded."""
    name, version = split_requirement(package)
    return f"pypi://{name}/{version}/{quote(member)}#{quote(key, safe='')}"


def read_member_records(data: bytes, record_format: str, member: str) -> Iterator[tuple[str, Any]]:
    """Key and value of each record of one file; a list's keys are positions.

    Raises:
        ValueError: the file is no JSON of the wanted shape.
    """
    text = data.decode("utf-8-sig")
    if record_format == "document":
        yield PurePosixPath(member).stem, json.loads(text)
        return
    if record_format == "jsonl":
        lines = (line for line in text.split("\n") if line.strip())
        yield from ((str(position), json.loads(line)) for position, line in enumerate(lines))
        return
    content = json.loads(text)
    if isinstance(content, dict):
        yield from content.items()
    elif isinstance(content, list):
        yield from ((str(position), record) for position, record in enumerate(content))
    else:
        raise ValueError("neither a map nor a list")


def _read_records(config: IngestConfig, inputs: Inputs) -> Iterator[tuple[str, str, Any]]:
    path = package_path(inputs.one("package"))
    for member, data in read_members(path, config.member):
        try:
            for key, record in read_member_records(data, config.format, member):
                yield member, key, record
        except ValueError as error:
            raise SourceError(
                f"{config.package}: {member} is no {config.format} file ({error}); "
                "correct the source's format or member"
            ) from error


def _check_found(
    config: IngestConfig, num_records: int, rows: dict[str, str], dropped: list[dict[str, str]]
) -> None:
    if num_records == 0:
        raise SourceError(
            f"{config.package}: no records in a file that matches {config.member!r}; "
            "correct the source's member"
        )
    if not rows:
        reason = dropped[0]["detail"] if dropped else "the sample holds no record"
        raise SourceError(
            f"{config.package}: no record gives a text ({reason}); correct the source"
        )
