"""Where sources are from, by the record of the stage that brought them in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.report.ancestry import Ancestry
from flows.report.record import ModelRecord
from flows.report.sources import Origin, Source, public_config, read_origin, read_sources
from flows.report.summary import render_summary
from pipeline_data.artifact import Artifact, FileRecord, Parent
from pipeline_data.settings import fingerprint
from tests.flows.report.homes import read_table

pytestmark = pytest.mark.xdist_group("lineage")

FILE = FileRecord("part/texts.jsonl", "f" * 64, 12)


def made(stage: str, config: dict[str, Any], parents: tuple[Parent, ...] = ()) -> Artifact:
    digest = fingerprint([stage, config])
    return Artifact(
        stage=stage, version=1, key=digest, digest=digest, directory=Path("/home/ada/secret"),
        config=config, parents=parents, files=(FILE,), facts={"created": "2025-07-24T10:00:00Z"},
    )  # fmt: skip


def parent_of(role: str, artifact: Artifact) -> Parent:
    return Parent(role, artifact.stage, artifact.key, artifact.digest)


def origin_of(artifact: Artifact, *others: Artifact) -> Origin:
    everything = {(a.stage, a.shard or "", a.digest): a for a in (artifact, *others)}
    return read_origin(Ancestry(list(everything.values()), everything), artifact)


def test_a_package_is_known_by_version_and_hash() -> None:
    download = made("download", {"package": "wiki==0.7", "sha256": "a" * 64, "sdist": False})
    ingest = made("ingest", {"package": "wiki==0.7"}, (parent_of("package", download),))
    origin = origin_of(ingest, download)
    assert origin == Origin("ingest", "wiki", "0.7", "a" * 64, 12, "2025-07-24T10:00:00Z")
    assert Source("s", {}, [origin]).category == "public-dataset"


def test_a_dataset_is_public_only_with_a_revision_of_the_hub() -> None:
    on_hub = origin_of(made("dataset", {"dataset": "openai/gsm8k", "revision": "b" * 40}))
    assert (on_hub.name, on_hub.version) == ("openai/gsm8k", "b" * 40)
    assert Source("s", {}, [on_hub]).category == "public-dataset"
    here = origin_of(made("dataset", {"dataset": "letters", "revision": None}))
    assert Source("s", {}, [here]).category is None
    assert Source("s", {"category": "user-data"}, [here]).category == "user-data"


def test_an_address_is_told_without_what_lets_somebody_in() -> None:
    url = "https://ada:secret@data.example/a/b.gz?token=secret"
    origin = origin_of(made("fetch", {"url": url}))
    assert origin.name == "https://data.example/a/b.gz"
    assert Source("s", {}, [origin]).category is None


def test_a_local_file_is_told_by_its_name_alone() -> None:
    origin = origin_of(made("file", {}))
    assert (origin.name, origin.sha256) == ("texts.jsonl", "f" * 64)


def test_a_copy_without_forgotten_pages_is_known_by_what_was_copied(record: ModelRecord) -> None:
    ancestry = record.ancestry
    (shard,) = (a for a in ancestry.of_stage("extract") if a.shard == "web-000")
    raw = shard.parents[0]
    copy = replace(made("redact", {"targets": ["http://ada.example/"]}), parents=(raw,))
    redacted = replace(shard, parents=(parent_of("raw", copy),))
    content = {(a.stage, a.shard or "", a.digest): a for a in (copy, redacted)}
    everything = [redacted if a is shard else a for a in ancestry.artifacts]
    changed = Ancestry([*everything, copy], ancestry.by_content | content)
    before, after = (
        [(s.origins, s.raw_bytes, s.num_kept) for s in read_sources(a, [])]
        for a in (ancestry, changed)
    )
    assert after == before


def test_what_was_forgotten_or_blocked_is_counted_and_not_named() -> None:
    copy = made("redact", {"targets": ["http://ada.example/"]})
    assert public_config(copy) == {"targets": 1}
    url = {"block_urls": ["http://ada.example/"], "block_domains": [], "allow_domains": []}
    config = public_config(made("filter", {"pii": [], "url": url}))
    assert config["url"] == {"block_urls": 1, "block_domains": 0, "allow_domains": []}


def test_a_licence_that_nobody_named_is_none() -> None:
    assert Source("s", {}).licence is None
    assert Source("s", {"licence": "unknown"}).licence is None
    assert Source("s", {"licence": "MIT"}).licence == "MIT"


def test_a_source_of_unknown_category_is_among_the_others_with_its_files(
    record: ModelRecord,
) -> None:
    files = [Origin("file", f"part-{i}.jsonl", None, "f" * 64, 1) for i in range(1_200)]
    letters = Source("letters", {}, files)
    text = render_summary(replace(record, sources=[*record.sources, letters]))
    section = text.split("### 2.6. Other sources of data")[1].split("\n## ")[0]
    assert "**Yes**" in section
    assert "`letters`: how it was come by is *not on record* (set its category" in section
    assert section.count("local file `part-") == 10
    assert "and 1,190 more" in section
    table = {row[0]: row for row in read_table(text, "source | section")}
    assert table["letters"][7] == "none: not in the mixture"
