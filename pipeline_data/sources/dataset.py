"""Stage ``dataset``: rows of a Hugging Face dataset become texts with URLs, by ``datasets``.

Input role ``folder`` (files as people download them, or what ``save_to_disk`` wrote) unless the
config has a revision of the hub. Output: ``records-NNN/records.jsonl`` with ``url`` and ``text``,
in the dataset's order, and ``dropped.parquet`` with the rows that gave no text. A row goes to the
shard of its URL, so a row that is added or changed touches one shard. Only readers of plain data
run, no code of the dataset's, and nothing is kept outside a temporary folder beside ``out``.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.dataset as pads
from jinja2 import Template

from pipeline_data.artifact import Counts
from pipeline_data.errors import SourceError, UnreachableError
from pipeline_data.faults import full_disk
from pipeline_data.formats import DROPPED, open_table
from pipeline_data.sources.raw.reader import RECORDS
from pipeline_data.sources.raw.table import find_value
from pipeline_data.sources.record_template import NoTextError, compile_template, render
from pipeline_data.sources.settings import DatasetConfig
from pipeline_data.sources.sharding import shard_index, shard_name
from pipeline_data.stage_run import Inputs, Runtime

_READERS = ("arrow", "csv", "json", "parquet", "text", "xml")
_ROWS_AT_ONCE = 128
_PENDING_CHARS = 16_000_000
_SAVED_STATE = "state.json"
_SAVED_DICT = "dataset_dict.json"
_CACHES = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE")


def run(config: DatasetConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write the split's rows as sharded JSONL; returns how many were kept and why not.

    Raises:
        SourceError: there is no such dataset, configuration, split or field, or it is damaged.
        UnreachableError: the hub cannot be reached.
        TransientError: the disk is full.
        RecipeError: the template is not valid.
    """
    template = compile_template(config.template, "template") if config.template else None
    num_rows = num_documents = num_bytes = 0
    first_reason = "it has no rows"
    with (
        _open_shards(out, config.shards) as write,
        open_table(out / "dropped.parquet", DROPPED) as drop,
        _open_rows(config, inputs, out) as rows,
    ):
        for num_rows, row in enumerate(rows, 1):
            try:
                url, text = _read_row(config, template, num_rows - 1, row)
            except NoTextError as reason:
                url, rule, detail = reason.args
                if num_rows == 1:
                    first_reason = detail
                drop({"doc_id": "", "url": url, "stage": "dataset", "rule": rule, "detail": detail})
            else:
                write(shard_index(url, config.shards), {"url": url, "text": text})
                num_documents += 1
                num_bytes += len(text.encode())
            runtime.progress(num_rows, None, "rows")
    if num_documents == 0:
        raise SourceError(
            f"{config.dataset}: no row gives a text ({first_reason}); correct the source"
        )
    return {
        "num_rows": num_rows,
        "num_documents": num_documents,
        "num_dropped": num_rows - num_documents,
        "num_bytes": num_bytes,
    }


def _read_row(
    config: DatasetConfig, template: Template | None, position: int, row: Mapping[str, Any]
) -> tuple[str, str]:
    """URL and text of a row.

    Raises:
        NoTextError: URL, rule and reason, when it gives no text.
    """
    url = find_value(row, config.url_column)
    key = find_value(row, config.id_column)
    name = str(url or _row_url(config, f"row-{position}" if key is None else str(key)))
    if template:
        try:
            text = render(template, "" if key is None else str(key), row)
        except NoTextError as reason:
            raise NoTextError(name, *reason.args) from reason
    else:
        text = find_value(row, config.text_column)
        if not isinstance(text, str):
            raise NoTextError(name, "no_text", f"no text in field {config.text_column!r}")
    data = text.encode()
    if len(data) > config.max_page_bytes:
        raise NoTextError(name, "size", f"text larger than {config.max_page_bytes} bytes")
    if not url and key is None:
        name = _row_url(config, hashlib.sha256(data).hexdigest()[:16])
    return name, text


def _row_url(config: DatasetConfig, key: str) -> str:
    place = "/".join((config.dataset, config.name or "default", config.split))
    return f"dataset:{quote(place)}#{quote(key, safe='')}"


@contextmanager
def _open_shards(out: Path, num_shards: int) -> Iterator[Callable[[int, dict[str, str]], None]]:
    """A function that writes a row into a shard; few files are open and little is in memory."""
    paths = [out / shard_name("records", index) / RECORDS for index in range(num_shards)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    pending: dict[int, list[str]] = {}
    num_pending = 0

    def flush() -> None:
        nonlocal num_pending
        for index, lines in pending.items():
            with paths[index].open("a", encoding="utf-8", newline="\n") as handle:
                handle.writelines(lines)
        pending.clear()
        num_pending = 0

    def write(index: int, row: dict[str, str]) -> None:
        nonlocal num_pending
        line = json.dumps(row, ensure_ascii=False) + "\n"
        pending.setdefault(index, []).append(line)
        num_pending += len(line)
        if num_pending > _PENDING_CHARS:
            flush()

    yield write
    flush()


@contextmanager
def _open_rows(
    config: DatasetConfig, inputs: Inputs, out: Path
) -> Iterator[Iterator[Mapping[str, Any]]]:
    """The rows of the split, read as they are asked for."""
    folder = None if config.revision else inputs.one("folder").directory
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".datasets-") as scratch,
        _settings_in_environment(Path(scratch), offline=folder is not None),
    ):
        yield _read_rows(config, folder, Path(scratch))


@contextmanager
def _settings_in_environment(scratch: Path, offline: bool) -> Iterator[None]:
    """Where ``datasets`` keeps files and what it may do; it looks when it is first imported."""
    wanted = {name: str(scratch / name.lower()) for name in _CACHES}
    wanted |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if offline:
        wanted |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _read_rows(
    config: DatasetConfig, folder: Path | None, scratch: Path
) -> Iterator[Mapping[str, Any]]:
    num_rows = 0
    try:
        for row in _open_split(config, folder, scratch):
            yield row
            num_rows += 1
    except SourceError:
        raise
    except Exception as error:  # its readers have errors of many kinds
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        kind = SourceError
        if folder is None and isinstance(error, ConnectionError | TimeoutError):
            kind = UnreachableError
        place = f"after row {num_rows}" if num_rows else "at all"
        line = f"{config.dataset} cannot be read {place} ({reason})"
        raise full_disk(error, scratch) or kind(line) from error


def _open_split(
    config: DatasetConfig, folder: Path | None, scratch: Path
) -> Iterable[Mapping[str, Any]]:
    import datasets

    path, data_files = _find_files(config, folder)
    builder = datasets.load_dataset_builder(
        path,
        config.name,
        data_files={config.split: data_files} if data_files else None,
        cache_dir=str(scratch),
        revision=config.revision,
    )
    reader = type(builder).__module__.rsplit(".", 1)[-1]
    if reader not in _READERS:
        raise SourceError(
            f"{config.dataset} is of the kind {reader}, not one of {', '.join(_READERS)}; "
            "name its data_files"
        )
    if reader == "parquet":  # whole row groups else, which may be larger than memory
        builder.config.batch_size = _ROWS_AT_ONCE
        builder.config.fragment_scan_options = pads.ParquetFragmentScanOptions(
            use_buffered_stream=True, pre_buffer=False
        )
    split: Any = builder.as_streaming_dataset(split=config.split)
    rows: Iterable[Mapping[str, Any]] = split.decode(False) if split.features else split
    return rows


def _find_files(config: DatasetConfig, folder: Path | None) -> tuple[str, list[str]]:
    """What to call the dataset, and its files where they are not for ``datasets`` to find."""
    if folder is None:
        return config.dataset, list(config.data_files)
    saved = folder / config.split if (folder / _SAVED_DICT).is_file() else folder
    if (saved / _SAVED_STATE).is_file():
        state = json.loads((saved / _SAVED_STATE).read_bytes())
        return "arrow", [str(saved / file["filename"]) for file in state["_data_files"]]
    if saved != folder:
        raise SourceError(f"{config.dataset} has no split {config.split!r}; correct the source")
    return str(folder), list(config.data_files)
