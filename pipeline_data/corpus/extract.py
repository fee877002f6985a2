"""Stage ``extract``: raw records to documents of plain text, one shard at a time.

HTML goes through trafilatura (Barbaresi, ACL 2021) in its fast mode: without the deduplication that
would carry state from page to page, and without a time limit that would let a busy
machine decide. Records that are text already pass through.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline_data.artifact import PROVENANCE as PROVENANCE_FOLDER
from pipeline_data.artifact import Counts
from pipeline_data.corpus.quality import Drop
from pipeline_data.corpus.settings import ExtractConfig
from pipeline_data.formats import DOCUMENTS, DROPPED, PROVENANCE, document_id, write_table
from pipeline_data.sources.raw import DamagedRecord, RawRecord, decode_html, read_raw
from pipeline_data.stage_run import Inputs, Runtime


def run(config: ExtractConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write documents.parquet, dropped.parquet and provenance/provenance.parquet.

    Input ``raw``: one raw shard. Of several records of a URL the first that gives a document
    counts. Provenance has a row for every record, in its order, dropped ones too.
    """
    raw = inputs.one("raw")
    documents: dict[str, dict[str, Any]] = {}
    dropped, provenance = [], []
    for num_read, record in enumerate(read_raw(raw, config.reader), 1):
        url = _encodable(record.url)
        doc_id = document_id(config.source, url) if url else ""
        result = Drop("repeated_url") if doc_id in documents else extract_text(config, record)
        row = {"doc_id": doc_id, "url": url}
        if isinstance(result, Drop):
            dropped.append(
                row | {"stage": "extract", "rule": result.reason, "detail": result.detail}
            )
        else:
            documents[doc_id] = row | {"source": config.source, "text": result}
        fetched = record.fetched if isinstance(record, RawRecord) else None
        provenance.append(
            {
                "doc_id": doc_id,
                "raw_shard": raw.shard or "",
                "offset": record.offset,
                "fetched": fetched,
            }
        )
        runtime.progress(num_read, None, "records")
    write_table(out / "documents.parquet", DOCUMENTS, list(documents.values()))
    write_table(out / "dropped.parquet", DROPPED, dropped)
    write_table(out / PROVENANCE_FOLDER / "provenance.parquet", PROVENANCE, provenance)
    drops = Counter(row["rule"] for row in dropped)
    return {
        "num_documents": len(documents),
        "num_dropped": len(dropped),
        "num_bytes": sum(len(row["text"].encode()) for row in documents.values()),
        **{f"num_dropped_{rule}": count for rule, count in sorted(drops.items())},
    }


def extract_text(config: ExtractConfig, record: RawRecord | DamagedRecord) -> str | Drop:
    """The text of a record, or why it has none."""
    if isinstance(record, DamagedRecord):
        return Drop("damaged", record.reason)
    if not record.url:
        return Drop("damaged", "no URL")
    if record.text is not None:
        text = record.text
    else:
        try:
            text = html_to_text(config, decode_html(record.payload or b"", record.content_type))
        except Exception as error:  # whatever one page does to the parser, it costs that page
            return Drop("unparsable", type(error).__name__)
    text = _clean(text)
    if not text:
        return Drop("empty")
    if len(text) < config.min_chars:
        return Drop("too_short", f"{len(text)} characters")
    return text


def html_to_text(config: ExtractConfig, html: str) -> str:
    """The main text of an HTML page; nothing if there is none."""
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    text = trafilatura.extract(
        html,
        fast=True,
        favor_precision=config.favour == "precision",
        favor_recall=config.favour == "recall",
        include_comments=False,
        include_tables=config.include_tables,
        deduplicate=False,
    )
    return text or ""


def _clean(text: str) -> str:
    return _encodable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
