"""Checks a folder that :mod:`tasks.lineage.export` wrote, with nothing but that folder.

    <folder>/config.json, model.safetensors, ...    the model, for ``transformers``
    <folder>/README.md                              its model card
    <folder>/lineage/lineage.html                   its lineage to look at
    <folder>/lineage/manifests.jsonl                the records of its ancestry, itself first
    <folder>/lineage/chain.json                     their seals, and the hashes of the files above
    <folder>/lineage/model.sig                      a signature of all of it, if one was asked for

Whoever can write the folder can make all of it fit together anew, the chain's digest being another
then: compare that with the one of the store, or have the folder signed.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_data.artifact import FileRecord
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint
from tasks.lineage.verification.chain import Link, links_of
from tasks.lineage.verification.file_check import Place, Told, check_files
from tasks.lineage.verification.finding import Finding, Findings
from tasks.lineage.verification.record_check import flaws_of, missing_parents
from tasks.lineage.verification.signing import signature_flaw
from tasks.record_shape import Kind, fits, shape_flaws

MODEL = "model"
"""The folder of an artefact that is exported."""
MANIFESTS = "lineage/manifests.jsonl"
CHAIN = "lineage/chain.json"
SIGNATURE = "lineage/model.sig"
MEND = "export it again"
LISTED: Mapping[str, Kind] = {"path": str, "sha256": str, "bytes": int}
"""The fields of a file that no record tells of."""


@dataclass
class FolderVerification(Findings):
    """What a folder holds, and what is wrong with it.

    Attributes:
        model: stage, key and digest of the artefact it holds.
        chain: digest over the records; the store keeps it with the version of the name.
    """

    model: Mapping[str, str] = field(default_factory=dict)
    chain: str = ""
    num_records: int = 0
    num_bytes: int = 0
    is_signed: bool = False
    seconds: float = 0.0


def is_exported(folder: Path) -> bool:
    """Whether a folder carries a lineage."""
    return (folder / CHAIN).is_file() or (folder / MANIFESTS).is_file()


def verify_folder(
    folder: Path, public_key: Path | None = None, told: Told | None = None
) -> FolderVerification:
    """Examine an exported folder: its files, the records it carries, and its signature.

    Args:
        public_key: of whoever must have signed the folder.

    Raises:
        ArtifactError: the folder carries no lineage, or the key cannot be read.
    """
    started = time.monotonic()
    if not is_exported(folder):
        raise ArtifactError(f"{folder} carries no lineage: 'headwater export' writes such folders")
    result = FolderVerification(is_signed=(folder / SIGNATURE).is_file())
    try:
        carried = _read_lineage(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"its lineage cannot be read ({type(error).__name__}: {error})"
        place = str(folder / "lineage")
        result.problems.append(Finding("lineage-unreadable", folder.name, what, place, MEND))
        return result
    result.model, result.chain = carried.chain["model"], carried.digest
    result.num_records = len(carried.records)
    result.problems += _check_records(folder, carried.records)
    result.problems += _check_chain(folder, carried)
    files = [*_model_files(carried), *carried.files]
    beside = {str(folder / CHAIN), str(folder / SIGNATURE)}
    found = check_files([Place(folder.name, str(folder), files, MEND)], told)
    result.problems += [finding for finding in found if finding.place not in beside]
    result.num_bytes = sum(file.bytes for file in files)
    flaw = signature_flaw(folder, folder / SIGNATURE, public_key) if public_key else None
    if flaw:
        mend = "get the folder from whoever signed it"
        place = str(folder / SIGNATURE)
        result.problems.append(Finding("signature", folder.name, flaw, place, mend))
    result.seconds = time.monotonic() - started
    return result


@dataclass(frozen=True)
class _Lineage:
    """What a folder carries beside the model."""

    digest: str
    chain: Mapping[str, Any]
    files: Sequence[FileRecord]
    records: Sequence[Mapping[str, Any]]

    @property
    def readable(self) -> list[Mapping[str, Any]]:
        return [record for record in self.records if not shape_flaws(record)]


def _read_lineage(folder: Path) -> _Lineage:
    """What a folder carries, of the kinds it should be; any of several errors where it is not."""
    kept = json.loads((folder / CHAIN).read_bytes())
    lines = (folder / MANIFESTS).read_bytes().splitlines()
    records = [json.loads(line)["record"] for line in lines]
    chain = kept["chain"]
    model_fits = fits(chain["model"], dict.fromkeys(("stage", "key", "digest"), str))
    links_fit = all(isinstance(text, str) for link in chain["records"] for text in link)
    files_fit = all(fits(file, LISTED) for file in kept["files"])
    if not (model_fits and links_fit and files_fit and isinstance(kept["digest"], str)):
        raise ValueError(f"{CHAIN} has something of the wrong kind")
    if not all(isinstance(record, dict) for record in records):
        raise ValueError(f"{MANIFESTS} has something of the wrong kind")
    return _Lineage(kept["digest"], chain, [FileRecord(**file) for file in kept["files"]], records)


def _model_files(carried: _Lineage) -> list[FileRecord]:
    """The files of the model as the folder has them, as the record of the model tells."""
    prefix = f"{MODEL}/"
    model = (carried.chain["model"]["stage"], carried.chain["model"]["key"])
    return [
        FileRecord(**{**file, "path": file["path"].removeprefix(prefix)})
        for record in carried.readable
        if (record["stage"], record["key"]) == model
        for file in record["files"]
        if file["path"].startswith(prefix)
    ]


def _check_records(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Each record by itself, and if those of its parents are there."""
    found = []
    place = str(folder / MANIFESTS)
    readable = [record for record in records if not shape_flaws(record)]
    for line, record in enumerate(records, 1):
        subject = f"{record.get('stage')} {str(record.get('digest'))[:12]}"
        what = f"its record (line {line})"
        found += [
            Finding("record-edited", subject, f"{what} {flaw}", place, MEND)
            for flaw in flaws_of(record)
        ]
    for child, parent in missing_parents(readable):
        subject = f"{parent['stage']} {parent['digest'][:12]}"
        what = f"its record is missing, and {child['stage']} {child['digest'][:12]} was made of it"
        found.append(Finding("record-missing", subject, what, place, MEND))
    return found


def _check_chain(folder: Path, carried: _Lineage) -> list[Finding]:
    """The seals of the records against those of the chain, and the chain against its digest."""
    place = str(folder / CHAIN)
    found = []
    if fingerprint(carried.chain) != carried.digest:
        what = "the chain does not match its own digest"
        found.append(Finding("chain-edited", folder.name, what, place, MEND))
    sealed = {Link(*link) for link in carried.chain["records"]}
    there = set(links_of(carried.readable))
    what = "its record is not the one that the chain has the seal of"
    labels = {f"{link.stage} {link.digest[:12]}" for link in sealed ^ there}
    found += [Finding("record-edited", label, what, place, MEND) for label in sorted(labels)]
    model = carried.chain["model"]
    if model not in [{n: record[n] for n in model} for record in carried.readable]:
        what = "the record of the model itself is missing"
        found.append(Finding("record-missing", folder.name, what, place, MEND))
    return found
