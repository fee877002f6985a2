"""Stage ``extract``: raw records to documents of plain text, one shard at a time.

HTML goes through trafilatura (Barbaresi, ACL 2021) in its fast mode: without the deduplication that
would carry state from page to page, and without a time limit that would let a busy
machine decide; or through the extractor in ``main_content``. Records that are text already pass
through.
"""

from collections import Counter
from pathlib import Path

from pipeline_data.artifact import PROVENANCE as PROVENANCE_FOLDER
from pipeline_data.artifact import Counts
from pipeline_data.corpus.filters.quality import Drop
from pipeline_data.corpus.settings import ExtractConfig
from pipeline_data.formats import (
    DOCUMENTS,
    DROPPED,
    PASSED,
    PROVENANCE,
    document_id,
    open_table,
    write_table,
)
from pipeline_data.sources.raw.reader import (
    DamagedRecord,
    PassedRecord,
    RawRecord,
    RawResult,
    decode_html,
    read_raw,
)
from pipeline_data.stage_run import Inputs, Runtime


def run(config: ExtractConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write documents, dropped and passed.parquet, and provenance/provenance.parquet.

    Input ``raw``: one raw shard. Of several records of a URL the first that gives a document
    counts. Every record that stands for a page, or should, has a row in provenance and is a
    document or dropped; those that stand for none (requests, metadata) are counted in passed.
    """
    raw = inputs.one("raw")
    seen: set[str] = set()
    drops: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    num_bytes = num_lost_bytes = 0
    with (
        open_table(out / "documents.parquet", DOCUMENTS) as keep,
        open_table(out / "dropped.parquet", DROPPED) as drop,
        open_table(out / PROVENANCE_FOLDER / "provenance.parquet", PROVENANCE) as note,
    ):
        for num_read, record in enumerate(read_raw(raw, config.reader), 1):
            runtime.progress(num_read, None, "records")
            if isinstance(record, PassedRecord) and not record.url:
                passed[record.reason] += 1
                continue
            url = _encodable(record.url)
            doc_id = document_id(config.source, url) if url else ""
            is_repeated = isinstance(record, RawRecord) and doc_id in seen
            result = Drop("repeated_url") if is_repeated else extract_text(config, record)
            row = {"doc_id": doc_id, "url": url}
            if isinstance(result, Drop):
                drops[result.reason] += 1
                drop(row | _describe(result))
            else:
                seen.add(doc_id)
                num_bytes += len(result.encode())
                keep(row | {"source": config.source, "text": result})
            if isinstance(record, DamagedRecord):
                num_lost_bytes += record.num_bytes
            fetched = record.fetched if isinstance(record, RawRecord) else None
            place = {"raw_shard": raw.shard or "", "offset": record.offset, "fetched": fetched}
            note({"doc_id": doc_id} | place)
    rows = [{"reason": reason, "num_records": n} for reason, n in sorted(passed.items())]
    write_table(out / "passed.parquet", PASSED, rows)
    return {
        "num_documents": len(seen),
        "num_dropped": drops.total(),
        "num_passed": passed.total(),
        "num_bytes": num_bytes,
        "num_lost_bytes": num_lost_bytes,
        **{f"num_dropped_{rule}": count for rule, count in sorted(drops.items())},
    }


def _describe(drop: Drop) -> dict[str, str | float | None]:
    return {
        "stage": "extract",
        "rule": drop.reason,
        "detail": drop.detail,
        "value": drop.value,
        "threshold": drop.threshold,
    }


def extract_text(config: ExtractConfig, record: RawResult) -> str | Drop:
    """The text of a record, or why it has none."""
    if isinstance(record, DamagedRecord):
        return _describe_damage(record)
    if isinstance(record, PassedRecord):
        return Drop(record.reason, record.detail)
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
        return Drop("too_short", value=len(text), threshold=config.min_chars)
    return text


def _describe_damage(record: DamagedRecord) -> Drop:
    """Why a record is lost, where it lay, and how many bytes went with it."""
    where = f"at {record.offset}"
    if not record.num_bytes:
        return Drop("damaged", f"{record.reason} ({where})")
    lost = f"{record.num_bytes} bytes passed over"
    return Drop("damaged", f"{record.reason} ({where}, {lost})", value=record.num_bytes)


def html_to_text(config: ExtractConfig, html: str) -> str:
    """The main text of an HTML page; nothing if there is none."""
    if config.extractor == "fast":
        from pipeline_data.corpus.extraction.main_content import extract_main_content

        return extract_main_content(html)
    from pipeline_data.corpus.extraction.trafilatura_text import extract_by_trafilatura

    return extract_by_trafilatura(
        html,
        favor_precision=config.favour == "precision",
        favor_recall=config.favour == "recall",
        include_comments=False,
        include_tables=config.include_tables,
        deduplicate=False,
    )


def _clean(text: str) -> str:
    return _encodable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
