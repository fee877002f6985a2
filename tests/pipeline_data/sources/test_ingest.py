import io
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact
from pipeline_data.errors import RecipeError, SourceError
from pipeline_data.formats import read_jsonl
from pipeline_data.sources import ingest
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.settings import IngestConfig, ReaderConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt, package

ENTRIES = {f"Entry {i}": {"title": f"Title {i}", "body": f"Body {i}."} for i in range(40)}


def config_of(**changes: Any) -> IngestConfig:
    values = {
        "package": "texts==1.0",
        "member": "*/entries.json",
        "template": "{{ title }}\n\n{{ body }}",
        **changes,
    }
    return IngestConfig(**values)


def run_ingest(config: IngestConfig, source: Artifact, out: Path) -> dict[str, Any]:
    return dict(ingest.run(config, Inputs({"package": source}), out, Runtime()))


def texts_of(out: Path) -> dict[str, str]:
    return {r["url"]: r["text"] for p in sorted(out.glob("*/records.jsonl")) for r in read_jsonl(p)}


def test_records_become_texts_with_urls(tmp_path: Path) -> None:
    source = package(tmp_path / "p", {"data/entries.json": ENTRIES})
    counts = run_ingest(config_of(shards=3), source, tmp_path / "out")
    texts = texts_of(tmp_path / "out")
    assert len(texts) == counts["num_documents"] == 40
    assert texts["pypi://texts/1.0/data/entries.json#Entry%207"] == "Title 7\n\nBody 7."
    assert len(list((tmp_path / "out").glob("records-*"))) == 3


def test_shards_are_read_as_raw_records(tmp_path: Path) -> None:
    source = package(tmp_path / "p", {"data/entries.json": ENTRIES})
    run_ingest(config_of(shards=2), source, tmp_path / "out")
    artifact = adopt(tmp_path / "out")
    reader = ReaderConfig(format="records")
    read = [r for name in artifact.parts for r in read_raw(artifact.part(name), reader)]
    assert {r.url: r.text for r in read if isinstance(r, RawRecord)} == texts_of(tmp_path / "out")


def test_two_samples_share_nothing_and_miss_nothing(tmp_path: Path) -> None:
    source = package(tmp_path / "p", {"data/entries.json": ENTRIES})
    run_ingest(config_of(sample_to=0.3), source, tmp_path / "low")
    run_ingest(config_of(sample_from=0.3), source, tmp_path / "high")
    low, high = texts_of(tmp_path / "low"), texts_of(tmp_path / "high")
    assert low and high
    assert not low.keys() & high.keys()
    assert len(low | high) == len(ENTRIES)


def test_added_record_moves_no_other(tmp_path: Path) -> None:
    for name, entries in {"a": ENTRIES, "b": ENTRIES | {"New": ENTRIES["Entry 1"]}}.items():
        source = package(tmp_path / name, {"data/entries.json": entries})
        run_ingest(config_of(shards=4), source, tmp_path / f"out-{name}")
    before, after = adopt(tmp_path / "out-a").parts, adopt(tmp_path / "out-b").parts
    assert sum(before[shard] != after[shard] for shard in before) == 1


def test_bad_records_cost_themselves_and_are_named(tmp_path: Path) -> None:
    entries = {"good": {"title": "T", "body": "B"}, "lacks body": {"title": "T"}, "list": [1]}
    entries |= {"surrogate": {"title": "\ud800", "body": "B"}}
    source = package(tmp_path / "p", {"data/entries.json": entries})
    counts = run_ingest(config_of(), source, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/dropped.parquet").to_pylist()
    assert [row["url"].split("#")[1] for row in rows] == ["lacks%20body", "list", "surrogate"]
    assert {row["rule"] for row in rows} == {"template"}
    assert (counts["num_documents"], counts["num_dropped"]) == (1, 3)


def test_repeated_key_and_empty_text_are_dropped(tmp_path: Path) -> None:
    entries = [{"title": "A", "id": 1}, {"title": "B", "id": 1}, {"title": " ", "id": 2}]
    source = package(tmp_path / "p", {"data/entries.json": entries})
    run_ingest(config_of(template="{{ title }}", key="{{ id }}"), source, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/dropped.parquet").to_pylist()
    assert [row["rule"] for row in rows] == ["key", "empty"]
    assert list(texts_of(tmp_path / "out").values()) == ["A"]


def test_jsonl_and_one_record_a_file(tmp_path: Path) -> None:
    members = {"d/a.json": {"x": {"name": "A b"}}, "d/b.json": {"x": {"name": "B"}}}
    source = package(
        tmp_path / "p", {**members, "d/lines.jsonl": b'{"n": "one"}\n\n{"n": "two"}\n'}
    )
    one = config_of(member="d/?.json", format="document", template="{{ record.x.name }}")
    run_ingest(one, source, tmp_path / "one")
    assert texts_of(tmp_path / "one") == {
        "pypi://texts/1.0/d/a.json#a": "A b",
        "pypi://texts/1.0/d/b.json#b": "B",
    }
    lines = config_of(member="*.jsonl", format="jsonl", template="{{ n }} {{ key }}")
    run_ingest(lines, source, tmp_path / "lines")
    assert sorted(texts_of(tmp_path / "lines").values()) == ["one 0", "two 1"]


def test_source_archives_are_read_too(tmp_path: Path) -> None:
    data = b'{"k": {"title": "T", "body": "B"}}'
    (tmp_path / "p").mkdir()
    with tarfile.open(tmp_path / "p/texts-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("texts-1.0/entries.json")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    run_ingest(config_of(), adopt(tmp_path / "p"), tmp_path / "out")
    assert list(texts_of(tmp_path / "out").values()) == ["T\n\nB"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"member": "*/nothing.json"}, "no records in a file that matches"),
        ({"template": "{{ missing }}"}, "no record gives a text .*missing"),
        ({"member": "*/broken.json"}, "broken.json is no json file"),
        ({"member": "*/number.json"}, "neither a map nor a list"),
    ],
)
def test_source_that_gives_nothing_is_an_error_in_one_line(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    members = {"d/entries.json": ENTRIES, "d/broken.json": b"{", "d/number.json": b"1"}
    source = package(tmp_path / "p", members)
    with pytest.raises(SourceError, match=reason) as caught:
        run_ingest(config_of(**changes), source, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_template_mistakes_are_recipe_errors(tmp_path: Path) -> None:
    source = package(tmp_path / "p", {"d/entries.json": ENTRIES})
    with pytest.raises(RecipeError, match="template"):
        run_ingest(config_of(template="{{ title"), source, tmp_path / "out")


def test_templates_cannot_reach_python(tmp_path: Path) -> None:
    source = package(tmp_path / "p", {"d/entries.json": ENTRIES})
    config = config_of(template="{{ title.__class__.__mro__ }}")
    with pytest.raises(SourceError, match="no record gives a text"):
        run_ingest(config, source, tmp_path / "out")


def test_file_that_is_no_archive_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/texts-1.0.whl").write_bytes(b"not an archive")
    with pytest.raises(SourceError, match="no readable archive"):
        run_ingest(config_of(), adopt(tmp_path / "p"), tmp_path / "out")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_record_url_holds_the_key(key: str) -> None:
    url = ingest.record_url("a==1", "m.json", key)
    assert unquote(url.split("#", 1)[1]) == key
    assert url.isascii() and " " not in url
