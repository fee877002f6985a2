"""The chain of a model: the seal of every record it was made of, kept where the records are not.

    <root>/signatures/<model digest>/<chain digest>.json           the seals
    <root>/signatures/<model digest>/<chain digest>.<key id>.sig   signatures of that file

The digest of a chain is kept with the version of the name it was made for, so whoever edits a
record and seals it anew would have to change the chain, and the version, too. Against someone who
does all of that only a signature helps.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any

from pipeline_data.artifact import MANIFEST, Artifact
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint
from tasks.lineage.catalogue import Catalogue
from tasks.seal import seal_of
from tasks.store import Store
from tasks.store_files import TOMBSTONE

FORMAT = 1
NUM_READERS = 16


@dataclass(frozen=True, order=True)
class Link:
    """One record of a chain: its place in the store, its artefact's digest and its seal."""

    stage: str
    key: str
    digest: str
    seal: str


def read_record(store: Store, stage: str, key: str) -> dict[str, Any] | None:
    """The JSON values of a record as they stand, be its artefact erased; or nothing."""
    folder = f"{stage}/{key[:24]}"
    record = store.read_json(f"{folder}/{MANIFEST}")
    if record is None:
        tombstone = store.read_json(f"{folder}/{TOMBSTONE}")
        record = tombstone.get("record") if isinstance(tombstone, dict) else None
    return record if isinstance(record, dict) else None


def read_records(store: Store, artifacts: Sequence[Artifact]) -> list[dict[str, Any] | None]:
    """The JSON values of the records of artefacts, in their order."""

    def read(artifact: Artifact) -> dict[str, Any] | None:
        return read_record(store, artifact.stage, artifact.key)

    if store.is_local:
        return [read(artifact) for artifact in artifacts]
    with ThreadPoolExecutor(NUM_READERS) as readers:
        return list(readers.map(read, artifacts))


def links_of(records: Iterable[Mapping[str, Any]]) -> list[Link]:
    """The links of a chain of records, in the one order they are written in."""
    return sorted(Link(r["stage"], r["key"], r["digest"], seal_of(r)) for r in records)


def chain_values(model: Artifact, links: Sequence[Link]) -> dict[str, Any]:
    """A chain as JSON values; its digest is their fingerprint."""
    return {
        "format": FORMAT,
        "model": {"stage": model.stage, "key": model.key, "digest": model.digest},
        "records": [list(astuple(link)) for link in links],
    }


def build_chain(catalogue: Catalogue, artifact: Artifact) -> dict[str, Any]:
    """The chain of all that an artefact was made of, itself too, as the store has it.

    Raises:
        ArtifactError: a record is gone.
    """
    ancestry = catalogue.ancestry(artifact)
    records = read_records(catalogue.store, ancestry)
    for known, record in zip(ancestry, records, strict=True):
        if record is None:
            raise ArtifactError(f"the record of {known.label} is gone: headwater run rebuilds it")
    return chain_values(artifact, links_of(record for record in records if record))


def record_chain(catalogue: Catalogue, artifact: Artifact) -> str:
    """Keep the chain of an artefact in the store; returns its digest.

    Raises:
        ArtifactError: a record is gone.
    """
    chain = build_chain(catalogue, artifact)
    digest = fingerprint(chain)
    if load_chain(catalogue.store, artifact.digest, digest) is None:
        catalogue.store.write_json(f"{chain_path(artifact.digest, digest)}.json", chain)
    return digest


def load_chain(store: Store, model: str, digest: str) -> list[Link] | None:
    """The links of a chain that was kept; nothing when it is gone or is another by now.

    Args:
        model: the digest of the artefact that it is the chain of.
    """
    chain = store.read_json(f"{chain_path(model, digest)}.json")
    if chain is None or fingerprint(chain) != digest or chain["model"]["digest"] != model:
        return None
    return [Link(*link) for link in chain["records"]]


def chain_path(model: str, digest: str) -> str:
    """Where a chain and its signatures lie below the root of the store, without an ending."""
    return f"signatures/{model}/{digest}"
