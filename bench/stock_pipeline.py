"""The peer: a corpus made by the blocks of datatrove 0.10.1, as its users put them together.

The order is that of datatrove's own ``examples/fineweb.py``: one process reads, extracts and
filters a WARC and writes what is left; then MinHash signatures, buckets, clusters, and the filter
that applies them; then token files. Every setting comes from the config of our stage, so both do
the same work. Where stock and ours could differ for a reason other than the blocks, the stock
pipeline is given the better of it:

- trafilatura runs with ``fast=True`` and ``deduplicate=False``, as ours does (datatrove's defaults
  take a third longer), and with a time limit that no page reaches;
- the language model is ours, py3langid, on as many characters: datatrove's own is a download;
- personal data is masked before signatures are made, as ours is, and not after;
- documents in between are Parquet, its fastest writer, and not gzipped JSONL;
- no executor, logs or completion marks where CPU seconds are measured;
- the stand-ins for masked data begin anew with each document (by themselves they go on where the
  last document ended, so that a text would depend on its neighbours);
- a page on which a block raises costs that page, and a damaged WARC what follows the damage; by
  themselves they would end the run.

CPU seconds of a block and its decisions are those of one and the same run (``probes.py``).
"""

import multiprocessing
import os
import struct
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import ONE_THREAD
from bench.own_pipeline import Build, PipelineSettings
from bench.probes import CHILDREN, Trace, run_chain
from pipeline_data.errors import HeadwaterError

RULES = ("gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality")
STAGE_OF_BLOCK = {
    "read": "extract",
    "extract": "extract",
    CHILDREN: "extract",  # datatrove extracts in a process apart
    "language": "filter",
    **dict.fromkeys(RULES, "filter"),
    "pii": "filter",
    "write": "filter",
}
EXTRACT_TIMEOUT = 300.0


def prepare() -> None:
    """Import and load what the blocks need, so that it is not measured.

    Raises:
        HeadwaterError: a library of theirs is not there.
    """
    try:
        import cchardet  # noqa: F401
        import magic  # noqa: F401
    except ImportError as error:
        raise HeadwaterError(
            f"datatrove's WARC reader cannot run ({error}); install faust-cchardet, python-magic "
            "and the system's libmagic (Debian: libmagic1)"
        ) from None
    os.environ.update(ONE_THREAD, TQDM_DISABLE="1")
    # datatrove's sandbox is forked from a worker of its executor; a spawned process would spawn it.
    multiprocessing.set_start_method("fork", force=True)
    from loguru import logger

    logger.disable("datatrove")
    import logging

    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    trafilatura.extract("<html><body><p>A page.</p></body></html>", fast=True)
    _identifier()
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    load_word_tokenizer("eng").word_tokenize("A page.")


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _language_filter(settings: PipelineSettings) -> Any:
    from datatrove.data import Document
    from datatrove.pipeline.filters import LambdaFilter

    config = settings.filter

    def is_wanted(document: Document) -> bool:
        language, probability = _identifier().classify(document.text[: config.language_num_chars])
        wanted: bool = (
            language in config.languages and probability >= config.min_language_probability
        )
        return wanted

    return LambdaFilter(is_wanted)


def _guard(block: Any) -> Any:
    """Make an error on one page cost that page."""
    judge = block.filter

    def judge_safely(document: Any) -> Any:
        try:
            return judge(document)
        except Exception:
            return False, "failed"

    block.filter = judge_safely
    return block


def _read_until_damage(reader: Any) -> Any:
    """Make a damaged WARC end where it is damaged."""
    read_file = reader.read_file

    def read_safely(path: str) -> Iterator[Any]:
        documents = read_file(path)
        while True:
            try:
                document = next(documents, None)
            except Exception:
                return
            if document is None:
                return
            yield document

    reader.read_file = read_safely
    return reader


def _begin_masks_anew(formatter: Any) -> Any:
    """Make the stand-ins for masked data independent of the documents before."""
    mask = formatter.format

    def mask_afresh(text: str) -> str:
        formatter.emails_replacer._replace_i = formatter.ip_replacer._replace_i = 0
        return str(mask(text))

    formatter.format = mask_afresh
    return formatter


def page_blocks(build: Build) -> list[tuple[str, Any]]:
    """Read, extract, filter, mask and write: one process's work on one WARC."""
    from datatrove.pipeline import filters
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import WarcReader
    from datatrove.pipeline.writers import ParquetWriter

    settings = build.settings
    classes = (
        filters.GopherRepetitionFilter,
        filters.GopherQualityFilter,
        filters.C4QualityFilter,
        filters.FineWebQualityFilter,
    )
    rules = [
        (name, _guard(block(**{k: v for k, v in getattr(settings.filter, name) if v != ()})))
        for name, block in zip(RULES, classes, strict=True)
    ]
    reader = WarcReader(str(build.warcs[0].parent), recursive=False, glob_pattern="*.warc*")
    extractor = Trafilatura(
        favour_precision=settings.extract.favour == "precision",
        timeout=EXTRACT_TIMEOUT,
        deduplicate=False,
        fast=True,
        favor_recall=settings.extract.favour == "recall",
        include_tables=settings.extract.include_tables,
    )
    return [
        ("read", _read_until_damage(reader)),
        ("extract", extractor),
        ("language", _language_filter(settings)),
        *rules,
        ("pii", _begin_masks_anew(PIIFormatter())),
        ("write", ParquetWriter(str(build.out / "pages"))),
    ]


def signature_blocks(build: Build) -> list[tuple[str, Any]]:
    """MinHash signatures of one task's documents."""
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.readers import ParquetReader

    return [
        ("signature read", ParquetReader(str(build.out / "pages"))),
        (
            "signature",
            MinhashDedupSignature(str(build.out / "signatures"), _minhash_config(build.settings)),
        ),
    ]


def dedup_blocks(build: Build) -> tuple[Any, Any]:
    """Buckets (a task each) and clusters (one task)."""
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster

    config = _minhash_config(build.settings)
    return (
        MinhashDedupBuckets(
            str(build.out / "signatures"), str(build.out / "buckets"), config=config
        ),
        MinhashDedupCluster(str(build.out / "buckets"), str(build.out / "removed"), config=config),
    )


def token_blocks(build: Build) -> list[tuple[str, Any]]:
    """Token files of one task's documents that dedup kept, in their order."""
    from datatrove.pipeline.dedup import MinhashDedupFilter
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    write = DocumentTokenizer(
        str(build.out / "tokens"),
        str(build.tokenizer / "tokenizer.json"),
        shuffle_documents=False,
        save_final_metadata=False,
    )
    return [
        ("tokenize read", ParquetReader(str(build.out / "pages"))),
        ("tokenize filter", MinhashDedupFilter(str(build.out / "removed"))),
        ("tokenize", write),
    ]


def _minhash_config(settings: PipelineSettings) -> Any:
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = settings.signature
    return MinhashConfig(config.ngram, config.bands, config.rows_per_band, config.seed)


def run_pages(build: Build, rank: int) -> Trace:
    """Read to signatures of shard ``rank``; seconds by block and by stage."""
    num_shards = len(build.warcs)
    trace = run_chain(page_blocks(build), rank, num_shards)
    _write_if_missing(_pages_path(build.out, rank))
    signatures = run_chain(signature_blocks(build), rank, num_shards)
    for block, seconds in list(trace.seconds.items()):
        trace.seconds[f"stage {STAGE_OF_BLOCK[block]}"] += seconds
    trace.seconds["stage signature"] = sum(signatures.seconds.values())
    return trace


def _pages_path(out: Path, rank: int) -> Path:
    return out / "pages" / f"000_{rank:05d}.parquet"


def _write_if_missing(path: Path) -> None:
    """datatrove writes no file for no documents, and would then take the next shard for this."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.schema([("text", pa.string()), ("id", pa.string())]).empty_table(), path)


def run_dedup(build: Build) -> None:
    """Buckets and clusters over all shards."""
    buckets, cluster = dedup_blocks(build)
    num_buckets = build.settings.signature.bands
    for rank in range(num_buckets):
        buckets(None, rank, num_buckets)
    cluster(None, 0, 1)


def run_tokens(build: Build, rank: int) -> list[str]:
    """Token file of shard ``rank``; the URLs of its documents in order."""
    trace = run_chain(token_blocks(build), rank, len(build.warcs))
    return list(trace.passed["tokenize filter"])


def run_all(build: Build, num_cores: int) -> float:
    """The whole pipeline by datatrove's executor on all cores; returns wall seconds.

    Its processes are forked from this one, which has imported everything.
    """
    from datatrove.executor import LocalPipelineExecutor

    def execute(name: str, pipeline: list[Any], tasks: int) -> None:
        LocalPipelineExecutor(
            pipeline, tasks, num_cores, str(build.out / "logs" / name), start_method="fork"
        ).run()

    start = time.perf_counter()
    num_shards = len(build.warcs)
    buckets, cluster = dedup_blocks(build)
    execute("pages", [block for _, block in page_blocks(build)], num_shards)
    for rank in range(num_shards):
        _write_if_missing(_pages_path(build.out, rank))
    execute("signatures", [block for _, block in signature_blocks(build)], num_shards)
    execute("buckets", [buckets], build.settings.signature.bands)
    execute("cluster", [cluster], 1)
    execute("tokens", [block for _, block in token_blocks(build)], num_shards)
    return time.perf_counter() - start


def read_pages(out: Path, rank: int) -> list[dict[str, Any]]:
    """URL and text of a shard's documents after filters and masking, in order."""
    rows = pq.read_table(_pages_path(out, rank)).to_pylist()
    return [{"url": row["metadata"]["url"], "text": row["text"]} for row in rows]


def read_minima(settings: PipelineSettings, out: Path, rank: int) -> dict[int, Any]:
    """The MinHash minima of a shard's documents by their number, each of shape (num_hashes,)."""
    config = settings.signature
    size = config.rows_per_band
    minima: dict[int, Any] = {}
    row = struct.Struct(f"<{size}QI")
    for band in range(config.bands):
        path = out / "signatures" / f"bucket_{band:03d}" / f"{rank:05d}.minhash.sig"
        for *values, number in row.iter_unpack(path.read_bytes()):
            whole = minima.setdefault(number, np.zeros(config.bands * size, np.uint64))
            whole[band * size : (band + 1) * size] = values
    return minima


def read_tokens(out: Path, rank: int) -> list[list[int]]:
    """The token ids of a shard's documents, in order."""
    path = out / "tokens" / f"{rank:05d}_unshuffled.ds"
    if not path.is_file():
        return []
    ids = np.fromfile(path, "<u2")
    ends = np.fromfile(path.with_name(f"{path.name}.index"), "<u8")
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return [ids[start:end].tolist() for start, end in zip(starts, ends, strict=False)]
