"""Whether all that a model was made of is there, as it was when the model was made.

Every byte is read once and compared with its record; every record with itself and with the records
of what was made of it. Damage is a finding that says where it is and how to mend it, never an
error: an auditor wants to see all of it.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_data.artifact import MANIFEST, Artifact, from_record
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.exposure import ORDERS
from tasks.lineage.verification.chain import read_record, read_records
from tasks.lineage.verification.file_check import Told, check_files, place_of
from tasks.lineage.verification.finding import RERUN, Finding, Findings
from tasks.lineage.verification.order_check import EXPECTED, TOKENIZE, order_flaws
from tasks.lineage.verification.record_check import flaws_of, missing_parents
from tasks.record_shape import shape_flaws
from tasks.store import EXTERNAL, Store
from tasks.store_files import TOMBSTONE

Name = tuple[str, str]
"""Stage and key."""
Records = Mapping[Name, Mapping[str, Any]]

BACK = f"put a copy of it back, or delete the folder it lies in and {RERUN}"


@dataclass
class Verification(Findings):
    """What was read, and what was found wrong with it.

    Attributes:
        models: what was asked for, by what it was called.
        artifacts: what was examined, erased ones too.
        records: the records as they stand, as far as they can be read.
    """

    models: Mapping[str, Artifact] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    records: dict[Name, Mapping[str, Any]] = field(default_factory=dict)
    num_bytes: int = 0
    seconds: float = 0.0


def verify_lineage(
    catalogue: Catalogue, models: Mapping[str, Artifact], told: Told | None = None
) -> Verification:
    """Examine artefacts and all they were made of, each once.

    Args:
        models: the artefacts, by what to call them.
        told: told of the bytes that were read, from several threads, one at a time.
    """
    started = time.monotonic()
    result = Verification(models=models, artifacts=walk(catalogue, models.values()))
    live = []
    records = read_records(catalogue.store, result.artifacts)
    for artifact, record in zip(result.artifacts, records, strict=True):
        result.problems += check_record(catalogue.store, artifact, record)
        if record is not None and not shape_flaws(record):
            result.records[artifact.stage, artifact.key] = record
            if erasure := catalogue.erasure(artifact):
                why = f"{erasure.date[:10]}: {erasure.reason}"
                result.notes.append(f"{artifact.label}: its files were erased on {why}")
                result.problems += check_erasure(catalogue.store, artifact)
            else:
                live.append(reopen(catalogue.store, artifact, record))
    result.problems += check_parents(catalogue.store, result)
    damage = check_files([place_of(catalogue.store, artifact) for artifact in live], told)
    result.problems += damage
    damaged = {finding.subject for finding in damage}
    result.problems += check_orders(
        catalogue, [artifact for artifact in live if artifact.label not in damaged]
    )
    result.num_bytes = sum(file.bytes for artifact in live for file in artifact.files)
    result.seconds = time.monotonic() - started
    return result


def walk(catalogue: Catalogue, roots: Iterable[Artifact]) -> list[Artifact]:
    """Artefacts and all they were made of, nearest first, as far as records lead."""
    found: dict[Name, Artifact] = {}
    for root in roots:
        try:
            ancestry: Iterable[Artifact] = catalogue.ancestry(root)
        except ArtifactError:  # a record is gone: go on beside the gap
            ancestry = _walk_what_is_left(catalogue, root)
        for artifact in ancestry:
            found.setdefault((artifact.stage, artifact.key), artifact)
    return list(found.values())


def _walk_what_is_left(catalogue: Catalogue, root: Artifact) -> Iterator[Artifact]:
    time_of_root = catalogue.created(root)
    seen = {(root.stage, root.key)}
    queue = [root]
    while queue:
        child = queue.pop(0)
        yield child
        for parent in child.parents:
            try:
                ((_, made),) = catalogue.inputs(replace(child, parents=(parent,)), time_of_root)
            except ArtifactError:
                continue
            whole = catalogue.get(made.stage, made.key)
            if whole and (whole.stage, whole.key) not in seen:
                seen.add((whole.stage, whole.key))
                queue.append(whole)


def check_record(
    store: Store, artifact: Artifact, record: Mapping[str, Any] | None
) -> list[Finding]:
    """What is wrong with a record by itself.

    Args:
        artifact: what the catalogue knows of it.
        record: its JSON values as they stand; nothing if they cannot be read.
    """
    place = record_place(store, artifact.stage, artifact.key)
    if record is None:
        return [Finding("record-missing", artifact.label, "its record is gone", place, RERUN)]
    flaws = flaws_of(record)
    stands = (record.get("stage"), str(record.get("key"))[:24])
    if stands != (artifact.stage, artifact.key[:24]):
        flaws.append(f"is that of {stands[0]} {stands[1]}")
    return [
        Finding("record-edited", artifact.label, f"its record {flaw}", place, BACK)
        for flaw in flaws
    ]


def check_parents(store: Store, result: Verification) -> list[Finding]:
    """What records name as their parents and no sound record is of."""
    wrong = {finding.place for finding in result.problems}
    found: dict[str, Finding] = {}
    for child, parent in missing_parents(result.records.values()):
        place = record_place(store, parent["stage"], parent["key"])
        if place not in wrong:
            found.setdefault(place, _miss_parent(store, child, parent, place))
    return list(found.values())


def _miss_parent(
    store: Store, child: Mapping[str, Any], parent: Mapping[str, Any], place: str
) -> Finding:
    shard = f"[{parent['shard']}]" if parent["shard"] else ""
    subject = f"{parent['stage']}{shard} {parent['digest'][:12]}"
    made_of_it = f"{child['stage']} {child['digest'][:12]} was made of it"
    if not store.fs.exists(place):
        what = f"its record is gone; {made_of_it}"
        return Finding("record-missing", subject, what, place, RERUN)
    record = read_record(store, parent["stage"], parent["key"])
    flaws = flaws_of(record)
    if flaws:
        return Finding(
            "record-edited", subject, f"its record {flaws[0]}; {made_of_it}", place, BACK
        )
    what = f"the store has another content in its place; {made_of_it}"
    mend = "put a copy of the old one back, or 'headwater run' makes a model of what is there"
    return Finding("parent-mismatch", subject, what, place, mend)


def check_erasure(store: Store, artifact: Artifact) -> list[Finding]:
    """What is left of an artefact whose files were erased."""
    places = store.list_folder(f"{artifact.stage}/{artifact.key[:24]}")
    return [
        Finding(
            "erasure", artifact.label, "it was erased, and this is left of it", place, "delete it"
        )
        for place in places
        if PurePosixPath(place).name != TOMBSTONE
    ]


def check_orders(catalogue: Catalogue, artifacts: Sequence[Artifact]) -> list[Finding]:
    """Trainings that do not tell all of what they saw, or tell of what they were not given.

    The latter is compared where the inputs are on this machine.

    Args:
        artifacts: those whose files are sound.
    """
    sound = {(artifact.stage, artifact.digest, artifact.shard): artifact for artifact in artifacts}
    found = []
    for artifact in artifacts:
        if artifact.stage not in EXPECTED:
            continue
        given = [p for p in artifact.parents if p.stage == TOKENIZE]
        shards = [sound.get((p.stage, p.digest, p.shard)) for p in given]
        here = [shard for shard in shards if shard and shard.directory.is_dir()]
        training = catalogue.store.fetch(artifact)
        for flaw in order_flaws(training, here if len(here) == len(given) else ()):
            mend = f"'headwater run --force {artifact.stage}' trains it again"
            place = str(training.directory / ORDERS)
            found.append(Finding("order", artifact.label, flaw, place, mend))
    return found


def reopen(store: Store, artifact: Artifact, record: Mapping[str, Any]) -> Artifact:
    """The artefact of a record as it stands, where the store is by now.

    Args:
        artifact: what the catalogue knows of it.
    """
    if record["stage"] == EXTERNAL:
        return from_record(record, Path(record["folder"]))
    folder = f"{artifact.stage}/{artifact.key[:24]}/{record['folder']}"
    local = Path(store.place(folder)) if store.is_local else store.cache / folder
    return from_record(record, local)


def record_place(store: Store, stage: str, key: str) -> str:
    """Where the record of a key lies."""
    return store.place(f"{stage}/{key[:24]}/{MANIFEST}")
