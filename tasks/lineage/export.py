"""Writes a model as a folder of its own, which carries the records of all it was made of.

What lies in such a folder is told by :mod:`tasks.lineage.exported_folder`, which checks it.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp

from pipeline_data.artifact import Artifact, hash_file
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.exported_folder import (
    CHAIN,
    MANIFESTS,
    MODEL,
    SIGNATURE,
    FolderVerification,
    verify_folder,
)
from tasks.lineage.verification.chain import chain_values, links_of, read_records
from tasks.lineage.verification.signing import key_id, sign_path


def export_model(
    catalogue: Catalogue,
    artifact: Artifact,
    folder: Path,
    documents: Mapping[str, str],
    private_key: Path | None = None,
) -> FolderVerification:
    """Write a model folder, at once or not at all; returns what it holds.

    Args:
        documents: further texts for the folder, by path below it.

    Raises:
        ArtifactError: it is no model, it is damaged or erased, a record of its ancestry is gone,
            the folder is not empty, or the key cannot be used.
    """
    if private_key:
        key_id(private_key)  # says what is wrong with a key, before anything is written
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} is there and not empty: name another folder")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
    try:
        partial = beside / folder.name  # a signature tells the name
        _copy_model(catalogue, artifact, partial)
        _write_lineage(catalogue, artifact, partial, documents)
        if private_key:
            sign_path(partial, partial / SIGNATURE, private_key, unsigned=[SIGNATURE])
        written = verify_folder(partial)
        if written.problems:
            raise ArtifactError(f"not exported: {written.problems[0]}")
        partial.replace(folder)
    finally:
        shutil.rmtree(beside)
    return written


def _copy_model(catalogue: Catalogue, artifact: Artifact, folder: Path) -> None:
    erasure = catalogue.erasure(artifact)
    if erasure:
        raise ArtifactError(f"{artifact.label} was erased on {erasure.date}: {erasure.reason}")
    if not any(file.path.startswith(f"{MODEL}/") for file in artifact.files):
        known = ", ".join(name for name in catalogue.store.names() if name != "corpus")
        raise ArtifactError(f"{artifact.label} is no model (models with a name: {known})")
    stored = catalogue.store.load(artifact.stage, artifact.key) or artifact
    shutil.copytree(catalogue.store.fetch(stored).path(MODEL), folder)


def _write_lineage(
    catalogue: Catalogue, artifact: Artifact, folder: Path, documents: Mapping[str, str]
) -> None:
    """The records of the ancestry, texts, and the chain that seals the records and lists these."""
    ancestry = catalogue.ancestry(artifact)
    records = read_records(catalogue.store, ancestry)
    for name, text in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / MANIFESTS).parent.mkdir(exist_ok=True)
    with (folder / MANIFESTS).open("w", encoding="utf-8", newline="\n") as handle:
        for made, record in zip(ancestry, records, strict=True):
            erasure = catalogue.erasure(made)
            row = {"record": record, "erased": asdict(erasure) if erasure else None}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
    chain = chain_values(artifact, links_of(record for record in records if record))
    others = [folder / name for name in [*documents, MANIFESTS]]
    listed = [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": hash_file(path),
            "bytes": path.stat().st_size,
        }
        for path in others
    ]
    values = {"digest": fingerprint(chain), "chain": chain, "files": listed}
    (folder / CHAIN).write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
