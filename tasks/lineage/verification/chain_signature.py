"""Signatures of the chains in a store."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.chain import (
    Link,
    chain_path,
    load_chain,
    read_records,
    record_chain,
)
from tasks.lineage.verification.finding import Finding
from tasks.lineage.verification.name_check import BACK, broken_links
from tasks.lineage.verification.signing import key_id, sign_path, signature_flaw
from tasks.lineage.verification.verification import Records, record_place, walk
from tasks.store import Store


def sign_chain(catalogue: Catalogue, artifact: Artifact, private_key: Path) -> str:
    """Sign the chain of an artefact as it is; returns where the store has the signature.

    Raises:
        ArtifactError: a record is gone, or the key cannot be used.
    """
    signer = key_id(private_key)
    store = catalogue.store
    path = chain_path(artifact.digest, record_chain(catalogue, artifact))
    with TemporaryDirectory() as folder:
        chain, signature = Path(folder, "chain.json"), Path(folder, "chain.sig")
        chain.write_bytes(store.fs.cat_file(store.place(f"{path}.json")))
        sign_path(chain, signature, private_key)
        place = store.place(f"{path}.{signer}.sig")
        store.fs.pipe_file(place, signature.read_bytes())
    return place


def check_signature(catalogue: Catalogue, artifact: Artifact, public_key: Path) -> list[Finding]:
    """What is wrong with a key's signature of the chain of an artefact, and with the chain.

    Of several chains it signed, the one that fits the records best is meant.

    Raises:
        ArtifactError: the key cannot be read.
    """
    signer = key_id(public_key)
    store = catalogue.store
    ancestry = walk(catalogue, [artifact])
    records = {
        (made.stage, made.key): record
        for made, record in zip(ancestry, read_records(store, ancestry), strict=True)
        if record is not None
    }
    candidates = [
        _check_signed_chain(store, artifact, digest, public_key, records)
        for digest in _signed_chains(store, artifact, signer)
    ]
    if candidates:
        return min(candidates, key=len)
    place = store.place(f"signatures/{artifact.digest}")
    mend = "'headwater sign' signs it, with the private half of the key"
    what = f"it is not signed with the key {signer}"
    return [Finding("signature", artifact.label, what, place, mend)]


def _signed_chains(store: Store, artifact: Artifact, signer: str) -> Iterator[str]:
    ending = f".{signer}.sig"
    for path in store.list_folder(f"signatures/{artifact.digest}"):
        name = PurePosixPath(path).name
        if name.endswith(ending):
            yield name.removesuffix(ending)


def _check_signed_chain(
    store: Store, artifact: Artifact, digest: str, public_key: Path, records: Records
) -> list[Finding]:
    """What is wrong with one signed chain."""
    path = store.place(chain_path(artifact.digest, digest))
    signed_by = f"{path}.{key_id(public_key)}.sig"
    links = load_chain(store, artifact.digest, digest)
    if links is None:
        what = "the chain that was signed is gone or was edited"
        return [Finding("signature", artifact.label, what, f"{path}.json", BACK)]
    with TemporaryDirectory() as folder:
        chain, signature = Path(folder, "chain.json"), Path(folder, "chain.sig")
        chain.write_bytes(store.fs.cat_file(f"{path}.json"))
        signature.write_bytes(store.fs.cat_file(signed_by))
        flaw = signature_flaw(chain, signature, public_key)
    if flaw:
        return [Finding("signature", artifact.label, flaw, signed_by, BACK)]
    return list(_compare_signed(store, links, records))


def _compare_signed(store: Store, links: list[Link], records: Records) -> Iterator[Finding]:
    """The records that are not as they were signed, or were not signed."""
    mend = "put a copy of it back; if it was made again, verify and sign anew"
    for link, record in broken_links(store, links, records):
        what = "its record is gone" if record is None else "its record is not the one signed"
        place = record_place(store, link.stage, link.key)
        yield Finding("signature", f"{link.stage} {link.digest[:12]}", what, place, mend)
    signed = {(link.stage, link.key) for link in links}
    for stage, key in records.keys() - signed:
        what = "its record is not among those that were signed"
        digest = str(records[stage, key].get("digest"))
        place = record_place(store, stage, key)
        yield Finding("signature", f"{stage} {digest[:12]}", what, place, mend)
