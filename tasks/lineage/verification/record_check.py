"""Whether a record agrees with itself: what each field says follows from, or is sealed by, others.

Works on the JSON values of a record, so that one from a store and one from an exported folder are
checked alike, and one that was edited beyond recognition is a finding and no crash.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact, content_digest, from_record, part_digests
from pipeline_data.settings import fingerprint
from tasks.record_shape import shape_flaws
from tasks.seal import SEAL, seal_of
from tasks.stages import STAGES
from tasks.store import EXTERNAL, Request


def flaws_of(record: Any) -> list[str]:
    """What is wrong with the JSON values of a record, as far as they tell by themselves."""
    return shape_flaws(record) or list(_inconsistencies(record))


def _inconsistencies(record: Mapping[str, Any]) -> Iterator[str]:
    """What an edit left inconsistent in a record that has the fields of one."""
    artifact = from_record(record, Path(record["folder"]))
    if content_digest(artifact.files) != artifact.digest:
        yield "does not match its own digest: digest or files were edited"
    if _key_of(artifact) != artifact.key:
        yield "does not match its own key: version, config, shard or parents were edited"
    stage = STAGES.get(artifact.stage)
    if (artifact.parts or (stage and stage.sharded)) and (
        part_digests(artifact.files) != dict(artifact.parts)
    ):
        yield "does not match the digests of its parts: parts or files were edited"
    if SEAL in record and record[SEAL] != seal_of(record):
        yield "does not match its own seal: a field was edited, counts and facts among them"


def _key_of(artifact: Artifact) -> str:
    """The key that follows from what a record says was asked for."""
    if artifact.stage == EXTERNAL:
        contents = [[file.path, file.sha256] for file in artifact.files]
        return fingerprint([EXTERNAL, str(artifact.directory), contents])
    return Request(
        artifact.stage, artifact.version, artifact.config, artifact.parents, artifact.shard
    ).key


def missing_parents(
    records: Collection[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(record, entry) of every parent whose content none of the records is of."""
    contents = set()
    for record in records:
        contents.add((record["stage"], record["digest"], record["shard"]))
        contents |= {(record["stage"], d, shard) for shard, d in record["parts"].items()}
    for record in records:
        for parent in record["parents"]:
            if (parent["stage"], parent["digest"], parent["shard"]) not in contents:
                yield record, parent
