import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline_data.artifact import Artifact, describe
from pipeline_data.errors import RecipeError, SourceError, TransientError
from pipeline_data.formats import read_rows
from pipeline_data.sources import dataset
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.settings import DatasetConfig, DatasetSource, ReaderConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt

Rows = list[dict[str, Any]]
ROWS: Rows = [{"text": f"Text number {n}.", "id": f"row/{n}", "n": n} for n in range(40)]


def write_jsonl(folder: Path, rows: Rows) -> None:
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(folder: Path, rows: Rows) -> None:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (folder / "data.csv").write_text("\n".join(lines))


def write_parquet(folder: Path, rows: Rows) -> None:
    half = len(rows) // 2
    pq.write_table(pa.Table.from_pylist(rows[:half]), folder / "train-00000.parquet")
    pq.write_table(pa.Table.from_pylist(rows[half:]), folder / "train-00001.parquet")


def save_dataset(folder: Path, rows: Rows) -> None:
    from datasets import Dataset

    Dataset.from_list(rows).save_to_disk(folder)


def save_dataset_dict(folder: Path, rows: Rows) -> None:
    from datasets import Dataset, DatasetDict

    DatasetDict(train=Dataset.from_list(rows), test=Dataset.from_list(rows[:3])).save_to_disk(
        folder
    )


def make_folder(folder: Path, rows: Rows, write: Callable[[Path, Rows], None]) -> Artifact:
    folder.mkdir(parents=True)
    write(folder, rows)
    return adopt(folder, "file")


def export(folder: Artifact | None, out: Path, **config: Any) -> Artifact:
    inputs = Inputs({"folder": folder} if folder else {})
    settings = DatasetConfig(dataset="texts", **config)
    out.parent.mkdir(exist_ok=True)
    dataset.run(settings, inputs, out, Runtime())
    return adopt(out)


def texts(artifact: Artifact) -> dict[str, str | None]:
    """URL and text of every record of all shards, read as the next stage does."""
    found: dict[str, str | None] = {}
    for shard in artifact.parts:
        for record in read_raw(artifact.part(shard), ReaderConfig(format="records")):
            assert isinstance(record, RawRecord)
            found[record.url] = record.text
    return found


@pytest.mark.parametrize(
    "write", [write_jsonl, write_csv, write_parquet, save_dataset, save_dataset_dict]
)
def test_every_kind_of_folder_gives_the_same_records(
    tmp_path: Path, write: Callable[[Path, Rows], None]
) -> None:
    folder = make_folder(tmp_path / "folder", ROWS, write)
    artifact = export(folder, tmp_path / "out", id_column="id", shards=3)
    assert sorted(artifact.parts) == ["records-000", "records-001", "records-002"]
    assert texts(artifact) == {
        f"dataset:texts/default/train#row%2F{n}": f"Text number {n}." for n in range(40)
    }


def test_row_added_in_the_middle_touches_one_shard(tmp_path: Path) -> None:
    more = [*ROWS[:20], {"text": "One more text.", "id": "x", "n": 99}, *ROWS[20:]]
    for config in ({"id_column": "id"}, {}):
        first = make_folder(tmp_path / str(len(config)) / "a", ROWS, write_jsonl)
        second = make_folder(tmp_path / str(len(config)) / "b", more, write_jsonl)
        before = export(first, tmp_path / str(len(config)) / "out-a", shards=8, **config).parts
        after = export(second, tmp_path / str(len(config)) / "out-b", shards=8, **config).parts
        assert len([shard for shard in before if before[shard] != after[shard]]) == 1


def test_same_rows_give_the_same_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder", ROWS, write_parquet)
    outs = [tmp_path / place / "out" for place in ("one", "two")]
    first, second = (export(folder, out, shards=2) for out in outs)
    assert first.files == second.files
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["out"]
    assert describe(tmp_path / "folder") == tuple(folder.files)


def test_columns_may_lie_inside_others_and_urls_be_their_own(tmp_path: Path) -> None:
    rows = [{"doc": {"body": "One."}, "meta": {"url": "http://a.example/1"}}]
    folder = make_folder(tmp_path / "folder", rows, write_jsonl)
    out = export(folder, tmp_path / "out", text_column="doc.body", url_column="meta.url")
    assert texts(out) == {"http://a.example/1": "One."}


def test_template_makes_texts_of_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "What is two and two?"}, {"role": "bot", "content": "4"}]
    rows = [{"id": 7, "messages": turns}, {"id": 8, "messages": []}]
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    folder = make_folder(tmp_path / "folder", rows, write_jsonl)
    out = export(folder, tmp_path / "out", template=template, id_column="id")
    assert list(texts(out).values()) == ["user: What is two and two?\nbot: 4"]
    (dropped,) = read_rows(out.path("dropped.parquet"))
    assert dropped["url"] == "dataset:texts/default/train#8"
    assert (dropped["stage"], dropped["rule"]) == ("dataset", "empty")


def test_rows_without_a_fitting_text_are_dropped_by_name(tmp_path: Path) -> None:
    rows: Rows = [{"text": "good"}, {"text": None}, {"text": "x" * 2000}]
    folder = make_folder(tmp_path / "folder", rows, write_jsonl)
    out = export(folder, tmp_path / "out", max_page_bytes=1000)
    assert list(texts(out).values()) == ["good"]
    dropped = [(row["url"], row["rule"]) for row in read_rows(out.path("dropped.parquet"))]
    assert dropped == [
        ("dataset:texts/default/train#row-1", "no_text"),
        ("dataset:texts/default/train#row-2", "size"),
    ]


def test_splits_and_files_are_chosen(tmp_path: Path) -> None:
    def write(folder: Path, rows: Rows) -> None:
        for name in ("train", "test"):
            (folder / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")

    folder = make_folder(tmp_path / "folder", [], write)
    for config, expected in (
        ({}, ["train"]),
        ({"split": "test"}, ["test"]),
        ({"data_files": ("te*.jsonl",)}, ["test"]),
        ({"data_files": ("*.jsonl",)}, ["test", "train"]),
    ):
        out = tmp_path / f"out-{len(expected)}-{len(str(config))}"
        assert sorted(map(str, texts(export(folder, out, **config)).values())) == expected


@pytest.mark.parametrize(
    ("write", "config", "message"),
    [
        (write_jsonl, {"split": "nowhere"}, "cannot be read at all .*Bad split"),
        (save_dataset_dict, {"split": "nowhere"}, "has no split 'nowhere'"),
        (write_jsonl, {"text_column": "body"}, "no row gives a text .*'body'"),
        (write_jsonl, {"data_files": ("*.csv",)}, "cannot be read at all"),
        (lambda folder, _: None, {}, "cannot be read at all"),
        (
            lambda folder, _: (folder / "x.jsonl").write_text('{"text": "a"}\n{broken\n'),
            {},
            "cannot be read at all .*JSON",
        ),
        (lambda folder, _: (folder / "x.py").write_text("1 / 0"), {}, "cannot be read at all"),
        (lambda folder, _: (folder / "x.pdb").write_text("ATOM"), {}, "is of the kind pdb"),
    ],
)
def test_what_cannot_be_read_is_a_source_error(
    tmp_path: Path, write: Callable[[Path, Rows], None], config: dict[str, Any], message: str
) -> None:
    folder = make_folder(tmp_path / "folder", ROWS, write)
    with pytest.raises(SourceError, match=message) as caught:
        export(folder, tmp_path / "out", **config)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, TransientError)


def test_template_with_a_mistake_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="template"):
        export(None, tmp_path / "out", template="{% for %}")


def test_source_is_a_folder_or_a_pinned_name() -> None:
    assert DatasetSource(dataset="a", folder="/data").dataset_config() == DatasetConfig(dataset="a")
    with pytest.raises(ValidationError, match="a name on the hub with its revision"):
        DatasetSource(dataset="openai/gsm8k")
    with pytest.raises(ValidationError, match="a folder, or"):
        DatasetSource(dataset="a", folder="/data", revision="0" * 40)
    with pytest.raises(ValidationError, match="revision"):
        DatasetSource(dataset="a", revision="main")


SCRIPT = """
import sys
from pathlib import Path
from pipeline_data.sources import dataset
from pipeline_data.sources.settings import DatasetConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt
folder = adopt(Path(sys.argv[1]))
dataset.run(DatasetConfig(dataset="a"), Inputs({"folder": folder}), Path(sys.argv[2]), Runtime())
"""


def test_nothing_is_kept_in_the_home_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "folder", ROWS, write_csv)
    for place in ("home", "tmp", "work"):
        (tmp_path / place).mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "folder"), str(tmp_path / "work/out")]
    subprocess.run(command, check=True, env=environment, timeout=120)
    assert list((tmp_path / "home").iterdir()) == []
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["out"]


def test_hub_out_of_reach_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TransientError, match="texts cannot be read at all"):
        export(None, tmp_path / "out", revision="0" * 40)
