"""The corpus a model was trained on, as a Croissant dataset (MLCommons, version 1.0, with RAI).

Paths are relative to the root of the store; in a folder with these files, ``mlcroissant`` reads the
documents. Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flows.report.card import languages_of, masked_line
from flows.report.record import ModelRecord
from flows.report.sources import Source, total_dropped
from flows.report.wording import clean
from pipeline_data.artifact import Artifact
from pipeline_data.settings import fingerprint

if TYPE_CHECKING:
    from mlcroissant import Field, FileObject, FileSet, Metadata, RecordSet

PARQUET = "application/x-parquet"
TOKENS = "tokens.parquet"
SHARDS = "token-shards"
RECORDS = "documents"
COLUMNS = {
    "doc_id": ("TEXT", "name of the document for life: a hash of its source and address"),
    "url": ("TEXT", "address of the document"),
    "source": ("TEXT", "source of the recipe that brought it in"),
    "split": ("TEXT", "train, or heldout for documents that no training saw"),
    "num_bytes": ("INTEGER", "bytes of its text in UTF-8"),
    "num_tokens": ("INTEGER", "number of its tokens"),
    "tokens": ("INTEGER", "its tokens"),
}
"""Columns of a token shard: type, as `mlcroissant.DataType` names it, and meaning."""
SPDX = "https://spdx.org/licenses/"
COLLECTED = {
    "crawl": "Web Scraping",
    "public-dataset": "Secondary Data analysis",
    "licensed-dataset": "Secondary Data analysis",
    "private-dataset": "Secondary Data analysis",
    "user-data": "Direct measurement",
    "synthetic": "Software Collection",
}
"""What Croissant's RAI vocabulary calls the ways of coming by texts."""


def render_croissant(record: ModelRecord) -> str:
    """The corpus of a model as Croissant JSON-LD; the same record gives the same bytes.

    Raises:
        ValidationError: (mlcroissant's) it is not valid.
    """
    metadata = _describe(record).to_json()
    return json.dumps(metadata, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def corpus_digest(record: ModelRecord) -> str:
    """The identity of a corpus: a digest over its shards and theirs."""
    shards = [(shard.shard, shard.digest) for source in record.sources for shard in source.shards]
    return fingerprint(sorted(shards))


def _describe(record: ModelRecord) -> "Metadata":
    from mlcroissant import Metadata, Organization

    digest = corpus_digest(record)
    everything = (shard for source in record.sources for shard in source.shards)
    shards = [shard for shard in everything if record.erasure(shard) is None]
    times = [str(shard.facts["created"]) for shard in shards if "created" in shard.facts]
    provider = record.provider.name
    return Metadata(
        name=f"corpus-{digest[:12]}",
        description=_description(record, digest),
        version=f"1.0.0+{digest[:12]}",
        license=sorted({_licence(s.licence) for s in record.sources if s.licence}) or None,
        creators=[Organization(name=provider)] if provider else [],
        date_created=datetime.fromisoformat(max(times)) if times else None,
        in_language=languages_of(record) or None,
        keywords=["headwater", *(source.name for source in record.sources)],
        distribution=[*map(_file, shards), _file_set(shards)] if shards else [],
        record_sets=[_record_set()] if shards else [],
        **_responsible_ai(record),
    )


def _description(record: ModelRecord, digest: str) -> str:
    train, heldout = record.amount(), record.amount("heldout")
    lines = [
        f"The corpus of {record.title} {record.artifact.digest[:12]}: {train.num_documents:,} "
        f"documents with {train.num_tokens:,} tokens for training, {heldout.num_documents:,} held "
        f"out. Digest {digest}. Paths are relative to the root of the store."
    ]
    for source in record.sources:
        licence = source.licence or "not on record"
        text = source.documented.get("description") or "not on record"
        lines.append(f"{source.name}: {text} (licence: {licence})")
    return "\n".join(clean(line) for line in lines)


def _licence(licence: str) -> str:
    from cyclonedx.spdx import fixup_id

    found = fixup_id(licence)
    return f"{SPDX}{found}.html" if found else clean(licence)


def _path(shard: Artifact) -> str:
    """Where the store has a shard, below its root."""
    return f"{shard.stage}/{shard.key[:24]}/{shard.directory.name}/{TOKENS}"


def _file(shard: Artifact) -> "FileObject":
    from mlcroissant import FileObject

    file = next(file for file in shard.files if file.path == TOKENS)
    return FileObject(
        id=f"{SHARDS}/{quote(shard.shard or '')}",
        name=clean(f"{shard.shard}.parquet"),
        content_url=_path(shard),
        content_size=f"{file.bytes} B",
        encoding_formats=[PARQUET],
        sha256=file.sha256,
    )


def _file_set(shards: Sequence[Artifact]) -> "FileSet":
    from mlcroissant import FileSet

    return FileSet(
        id=SHARDS,
        name=SHARDS,
        description="all token shards, one a raw file",
        includes=[_path(shard) for shard in shards],
        encoding_formats=[PARQUET],
    )


def _record_set() -> "RecordSet":
    from mlcroissant import RecordSet

    return RecordSet(
        id=RECORDS,
        name=RECORDS,
        description="a row a document",
        fields=[_field(name) for name in COLUMNS],
    )


def _field(name: str) -> "Field":
    from mlcroissant import DataType, Extract, Field, Source

    data_type, description = COLUMNS[name]
    return Field(
        id=f"{RECORDS}/{name}",
        name=name,
        description=description,
        data_types=[getattr(DataType, data_type)],
        repeated=name == "tokens" or None,
        source=Source(file_set=SHARDS, extract=Extract(column=name)),
    )


def _responsible_ai(record: ModelRecord) -> dict[str, Any]:
    """The fields of the responsible AI vocabulary that the record can fill."""
    kinds = (COLLECTED.get(source.category or "", "Others") for source in record.sources)
    times = [time for period in record.corpus.periods.values() for time in period]
    frame = [datetime.fromisoformat(time) for time in (min(times), max(times))] if times else None
    return {
        "data_collection": " ".join(_collection(record)),
        "data_collection_type": sorted(set(kinds)),
        "data_collection_timeframe": frame,
        "data_preprocessing_protocol": list(_preprocessing(record)),
        "personal_sensitive_information": [
            f"Personal data masked: {masked_line(record) or 'none, no filter was asked to'}."
        ],
    }


def _collection(record: ModelRecord) -> Iterator[str]:
    for source in record.sources:
        yield f"{source.name}: {source.num_records:,} records, {_way(source)}."


def _way(source: Source) -> str:
    if source.is_practice:
        return "crawled from a practice site on the machine itself"
    return source.category or "how come by is not on record"


def _preprocessing(record: ModelRecord) -> Iterator[str]:
    """What went, and by which rule."""
    for stage, rule, number in total_dropped(record.sources):
        yield clean(f"{stage}: {number:,} documents dropped by {rule}")
    train, heldout = record.amount(), record.amount("heldout")
    yield (
        f"tokenize: {train.num_documents:,} documents for training, "
        f"{heldout.num_documents:,} held out"
    )
