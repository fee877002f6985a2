"""The ML-BOM: valid against CycloneDX's schema, complete, and the same each time."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from flows.report.bom import render_bom
from flows.report.record import ModelRecord
from flows.report.sources import Origin, Source
from tasks.machine import library_lock
from tests.flows.report.truth import one, read_truth, records

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def bom(record: ModelRecord) -> dict[str, Any]:
    text = render_bom(record)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    assert render_bom(record) == text
    document: dict[str, Any] = json.loads(text)
    return document


def components(bom: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    everything = [bom["metadata"]["component"], *bom["components"]]
    return {c["bom-ref"]: c for c in everything if c["type"] == kind}


def test_it_names_every_model_with_the_hashes_of_its_files(
    bom: dict[str, Any], report_home: Path
) -> None:
    models = components(bom, "machine-learning-model")
    for stage in ("pretrain", "sft", "reward", "ppo", "practice"):
        made, folder = one(report_home, stage)
        (model,) = (m for ref, m in models.items() if ref.startswith(f"{stage}:"))
        assert model["version"] == made["digest"][:12]
        for file in model["components"]:
            content = (folder / file["name"]).read_bytes()
            assert file["hashes"] == [
                {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
            ]
        assert {f["name"] for f in model["components"]} >= {"model/model.safetensors"}
    assert len(models) == 5


def test_its_data_are_the_sources_with_each_shard_and_its_hash(
    bom: dict[str, Any], report_home: Path
) -> None:
    data = components(bom, "data")
    truth = read_truth(report_home)
    for source in ("web", "world"):
        component = data[f"source:{source}"]
        facts = {p["name"]: p["value"] for p in component["data"][0]["contents"]["properties"]}
        assert int(facts["headwater:train:tokens"]) == truth.tokens[source, "train"]
        assert component["licenses"] == [{"license": {"id": "Apache-2.0"}}]
        expected = {
            hashlib.sha256((folder / "tokens.parquet").read_bytes()).hexdigest()
            for record, folder in records(report_home, "tokenize")
            if record["shard"].startswith(source)
        }
        assert {c["hashes"][0]["content"] for c in component["components"]} == expected


def test_its_metrics_are_the_measures(bom: dict[str, Any], report_home: Path) -> None:
    card = bom["metadata"]["component"]["modelCard"]
    measures = json.loads((one(report_home, "evaluate-practice")[1] / "measures.json").read_text())
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert [(m["type"], float(m["value"])) for m in metrics] == [
        (m["name"], m["value"]) for m in measures
    ]
    interval = metrics[0]["confidenceInterval"]
    assert [float(v) for v in interval.values()] == [measures[0]["low"], measures[0]["high"]]


def test_dependencies_lead_from_the_model_to_sources_and_libraries(bom: dict[str, Any]) -> None:
    edges = {d["ref"]: d.get("dependsOn", []) for d in bom["dependencies"]}
    reached, queue = set(), [bom["metadata"]["component"]["bom-ref"]]
    while queue:
        ref = queue.pop()
        if ref not in reached:
            reached.add(ref)
            queue += edges[ref]
    assert reached >= {"source:web", "source:world"}
    assert {ref.partition(":")[0] for ref in reached} >= {"pretrain", "sft", "reward", "ppo"}
    assert any(ref.startswith("pkg:pypi/torch@2.13.0") for ref in reached)


def test_libraries_are_listed_only_where_the_records_lock_is_here(
    bom: dict[str, Any], record: ModelRecord
) -> None:
    assert record.artifact.facts["lock"] == library_lock()
    assert {"torch", "transformers", "duckdb"} <= {
        c["name"] for c in components(bom, "library").values()
    }
    facts = dict(record.artifact.facts) | {"lock": "requirements.lock 0000"}
    elsewhere = _with_facts(record, facts)
    document = json.loads(render_bom(elsewhere))
    assert not components(document, "library")
    told = {p["name"]: p["value"] for p in document["metadata"]["properties"]}
    assert told["headwater:libraries"].endswith("requirements.lock 0000")


def test_packages_that_texts_came_from_are_named_with_their_hashes(record: ModelRecord) -> None:
    package = Origin("ingest", "wiki", "0.7", "a" * 64, 12, "2025-07-24T10:00:00Z")
    file = Origin("file", "texts.jsonl", None, "b" * 64, 12)
    sources = [Source("letters", {}, [package, file, Origin("crawl", "http://a.example/")])]
    text = render_bom(replace(record, sources=sources))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {c["name"]: c for c in components(json.loads(text), "data").values()}
    assert found["wiki"]["purl"] == "pkg:pypi/wiki@0.7"
    assert [found[n]["hashes"][0]["content"] for n in ("wiki", "texts.jsonl")] == [
        "a" * 64,
        "b" * 64,
    ]
    edges = {d["ref"]: d.get("dependsOn", []) for d in json.loads(text)["dependencies"]}
    assert set(edges["source:letters"]) == {found[n]["bom-ref"] for n in ("wiki", "texts.jsonl")}


def test_another_record_has_another_serial_number(bom: dict[str, Any], record: ModelRecord) -> None:
    facts = dict(record.artifact.facts) | {"lock": "requirements.lock 0000"}
    other = json.loads(render_bom(_with_facts(record, facts)))
    assert other["serialNumber"] != bom["serialNumber"]


def _with_facts(record: ModelRecord, facts: dict[str, Any]) -> ModelRecord:
    return replace(record, artifact=replace(record.artifact, facts=facts))
