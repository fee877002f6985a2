"""The bill of materials: CycloneDX 1.6 JSON with a model card and the data (ML-BOM).

The components, hashes, licences and dependencies are cyclonedx-python-lib's; ``modelCard`` and
``data``, which the library cannot write, are put in afterwards as the schema of version 1.6 has
them; the tests check the whole against that schema.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from flows.report.card import ARCHITECTURE
from flows.report.libraries import read_libraries
from flows.report.record import ModelRecord
from flows.report.sources import Origin, Source
from flows.report.training import Measure, Training
from flows.report.wording import clean, is_plain_url
from pipeline_data.artifact import Artifact, FileRecord
from pipeline_data.settings import canonical_json, fingerprint
from tasks.store import Tombstone

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

APPROACHES = {
    "pretrain": "self-supervised",
    "ppo": "reinforcement-learning",
    "practice": "reinforcement-learning",
}
"""How a stage learns; the others are supervised."""
DATA_STAGES = ("curriculum", "responses", "preferences")
"""The data of alignment: what was generated, sampled and ranked."""
NAMESPACE = uuid5(NAMESPACE_URL, "headwater/ml-bom")


def render_bom(record: ModelRecord) -> str:
    """The bill of materials of a model as JSON; the same record gives the same bytes."""
    from cyclonedx.output.json import JsonV1Dot6

    document = json.loads(JsonV1Dot6(_assemble(record)).output_as_string())
    _add_model_cards(document, record)
    _add_data(document, record)
    del document["serialNumber"]
    document["serialNumber"] = uuid5(NAMESPACE, canonical_json(document)).urn
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _assemble(record: ModelRecord) -> "Bom":
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.dependency import Dependency

    models = {t.artifact.key: _model(record, t) for t in record.trainings}
    model = models[record.artifact.key]
    data = {a.key: _data(a) for stage in DATA_STAGES for a in record.ancestry.of_stage(stage)}
    sources = [_source(record, source) for source in record.sources]
    origins = {o: _origin(o) for source in record.sources for o in _pinned(source)}
    libraries = [_library(*library) for library in read_libraries(record.artifact) or ()]
    needs = _dependencies(record, models | data)
    needs[_ref(record.base.artifact)] += sources
    needs[_ref(record.artifact)] += libraries
    for source in record.sources:
        needs[_source_ref(source)] = [origins[origin] for origin in _pinned(source)]
    others = [component for key, component in models.items() if key != record.artifact.key]
    components = [*others, *sources, *origins.values(), *data.values(), *libraries]
    return Bom(
        metadata=BomMetaData(
            timestamp=datetime.fromisoformat(record.as_of),
            component=model,
            properties=_properties(_facts_of_libraries(record)),
        ),
        components=components,
        dependencies=[
            Dependency(c.bom_ref, [Dependency(d.bom_ref) for d in needs.get(str(c.bom_ref), [])])
            for c in [model, *components]
        ],
    )


def _dependencies(
    record: ModelRecord, components: "Mapping[str, Component]"
) -> "dict[str, list[Component]]":
    """The models and data that each was made of, by the reference of what was made."""
    made = [artifact for artifact in record.ancestry.artifacts if artifact.key in components]
    return {
        _ref(artifact): [
            components[parent.key]
            for _, parent in record.ancestry.parents(artifact)
            if parent.key in components
        ]
        for artifact in made
    }


def _model(record: ModelRecord, training: Training) -> "Component":
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity

    artifact, provider = training.artifact, record.provider
    is_subject = artifact.key == record.artifact.key
    papers = {
        ExternalReferenceType.MODEL_CARD: "model-card.md",
        ExternalReferenceType.DOCUMENTATION: "training-content-summary.md",
    }
    return Component(
        name=record.title if is_subject else artifact.stage,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_ref(artifact),
        version=artifact.digest[:12],
        supplier=OrganizationalEntity(name=clean(provider.name)) if provider.name else None,
        licenses=[LicenseFactory().make_from_string(clean(provider.model_licence))]
        if provider.model_licence
        else None,
        external_references=[ExternalReference(type=k, url=XsUri(v)) for k, v in papers.items()]
        if is_subject
        else None,
        properties=_properties(_facts(artifact)),
        components=[_file(artifact, file) for file in artifact.files if not file.is_provenance],
    )


def _source(record: ModelRecord, source: Source) -> "Component":
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
    from cyclonedx.model.component import Component, ComponentType

    homepage = source.documented.get("homepage") or ""
    shards = [[shard.shard, shard.digest] for shard in source.shards]
    return Component(
        name=clean(source.name),
        type=ComponentType.DATA,
        bom_ref=_source_ref(source),
        version=fingerprint(shards)[:12],
        description=clean(source.documented.get("description") or "not on record"),
        licenses=[LicenseFactory().make_from_string(clean(source.licence))]
        if source.licence
        else None,
        external_references=[
            ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(homepage))
        ]
        if is_plain_url(homepage)
        else None,
        properties=_properties(
            [
                ("category", source.category or "not on record"),
                ("licence", source.licence or "not on record"),
                *(
                    ("origin", " ".join(filter(None, (o.kind, o.name, o.version, o.sha256))))
                    for o in source.origins
                ),
            ]
        ),
        components=[
            _data(shard, f"{source.name}/", record.erasure(shard)) for shard in source.shards
        ],
    )


def _pinned(source: Source) -> list[Origin]:
    """What a source was taken from, as far as it is known by its hash."""
    packages = (package for crawl in source.crawls for package in crawl.packages)
    return [origin for origin in dict.fromkeys((*source.origins, *packages)) if origin.sha256]


def _origin(origin: Origin) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    is_package = origin.kind == "ingest" and origin.version
    purl = _purl(origin.name, origin.version or "") if is_package else None
    return Component(
        name=clean(origin.name),
        type=ComponentType.DATA,
        bom_ref=f"origin:{fingerprint([origin.name, origin.version, origin.sha256])[:24]}",
        version=origin.version,
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=origin.sha256 or "")],
        properties=_properties([("stage", origin.kind), ("obtained", origin.obtained or "")]),
    )


def _data(artifact: Artifact, prefix: str = "", erasure: Tombstone | None = None) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    files = [file for file in artifact.files if not file.is_provenance]
    is_one = len(files) == 1
    facts = [*_facts(artifact), *([("erased", erasure.date)] if erasure else [])]
    return Component(
        name=f"{prefix}{artifact.shard or artifact.stage}",
        type=ComponentType.DATA,
        bom_ref=_ref(artifact),
        version=artifact.digest[:12],
        hashes=[_sha256(files[0])] if is_one else None,
        properties=_properties(facts),
        components=() if is_one else [_file(artifact, file) for file in files],
    )


def _file(artifact: Artifact, file: FileRecord) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=file.path,
        type=ComponentType.FILE,
        bom_ref=f"{_ref(artifact)}/{file.path}",
        hashes=[_sha256(file)],
        properties=_properties([("bytes", file.bytes)]),
    )


def _library(name: str, version: str) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    purl = _purl(name, version)
    return Component(
        name=name, type=ComponentType.LIBRARY, bom_ref=str(purl), version=version, purl=purl
    )


def _purl(name: str, version: str) -> "PackageURL":
    from packageurl import PackageURL

    return PackageURL("pypi", name=name.lower().replace("_", "-"), version=version)


def _sha256(file: FileRecord) -> "HashType":
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)


def _ref(artifact: Artifact) -> str:
    return f"{artifact.stage}:{artifact.key[:24]}"


def _source_ref(source: Source) -> str:
    return f"source:{source.name}"


def _facts(artifact: Artifact) -> Iterator[tuple[str, object]]:
    """What identifies an artefact, and what made it."""
    yield "stage", artifact.stage
    yield "digest", artifact.digest
    yield "key", artifact.key
    for name in ("run", "commit", "lock", "created"):
        if name in artifact.facts:
            yield name, artifact.facts[name]


def _facts_of_libraries(record: ModelRecord) -> Iterator[tuple[str, object]]:
    if read_libraries(record.artifact) is None:
        lock = record.artifact.facts.get("lock", "no lock")
        yield "libraries", f"not on record here: the model was made with {lock}"


def _properties(facts: Iterable[tuple[str, object]]) -> "list[Property]":
    from cyclonedx.model import Property

    return [Property(name=f"headwater:{name}", value=clean(value)) for name, value in facts]


def _add_model_cards(document: dict[str, Any], record: ModelRecord) -> None:
    cards = {_ref(training.artifact): _card(record, training) for training in record.trainings}
    for component in [document["metadata"]["component"], *document["components"]]:
        if component["bom-ref"] in cards:
            component["modelCard"] = cards[component["bom-ref"]]


def _card(record: ModelRecord, training: Training) -> dict[str, Any]:
    is_base = training.artifact.key == record.base.artifact.key
    parents = (made for _, made in record.ancestry.parents(training.artifact))
    refs = [_source_ref(source) for source in record.sources] if is_base else []
    refs += [_ref(made) for made in parents if made.stage in DATA_STAGES]
    task = "scoring" if training.stage == "reward" else "text-generation"
    parameters = {
        "approach": {"type": APPROACHES.get(training.stage, "supervised")},
        "task": task,
        "architectureFamily": "transformer",
        "modelArchitecture": ARCHITECTURE,
        "datasets": [{"ref": ref} for ref in dict.fromkeys(refs)],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "number" if task == "scoring" else "text"}],
    }
    card: dict[str, Any] = {"modelParameters": parameters}
    if training.measures:
        metrics = [_metric(measure) for measure in training.measures]
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
        card["properties"] = [
            {"name": f"headwater:baseline:{measure.name}", "value": str(measure.baseline)}
            for measure in training.measures
        ]
    if record.provider.intended_use:
        card["considerations"] = {"useCases": [record.provider.intended_use]}
    return card


def _metric(measure: Measure) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": measure.name, "value": str(measure.value)}
    if measure.low is not None and measure.high is not None:
        bounds = {"lowerBound": str(measure.low), "upperBound": str(measure.high)}
        metric["confidenceInterval"] = bounds
    return metric


def _add_data(document: dict[str, Any], record: ModelRecord) -> None:
    """Say of each source what its data are: how much, in which languages, what was masked."""
    by_ref = {_source_ref(source): source for source in record.sources}
    for component in document["components"]:
        if source := by_ref.get(component["bom-ref"]):
            component["data"] = [_contents(record, source)]


def _contents(record: ModelRecord, source: Source) -> dict[str, Any]:
    train, heldout = (record.corpus.amount(source.name, s) for s in ("train", "heldout"))
    first, last = record.corpus.periods.get(source.name, (None, None))
    facts: dict[str, object] = {
        "train:documents": train.num_documents,
        "train:tokens": train.num_tokens,
        "train:bytes": train.num_bytes,
        "heldout:documents": heldout.num_documents,
        "heldout:tokens": heldout.num_tokens,
        "languages": " ".join(record.corpus.languages.get(source.name, {})).strip()
        or "not identified",
        **({"fetched:first": first, "fetched:last": last} if first else {}),
        **{f"masked:{kind}": source.masked[kind] for kind in sorted(source.asked_to_mask)},
    }
    return {
        "type": "dataset",
        "name": source.name,
        "contents": {
            "properties": [{"name": f"headwater:{n}", "value": str(v)} for n, v in facts.items()]
        },
    }
