"""Stage ``corpus-report``: what came in, what each rule took out, and what is left.

Everything is asked of DuckDB over the files of the corpus, so that a large corpus costs no more
than a few scans of small columns. The artefact's parents are the corpus; ``headwater sql`` makes
the same views of them.
"""

import tempfile
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import duckdb

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.report.page import render_page, render_summary, sum_up
from pipeline_data.corpus.report.queries import QUERIES, Answer, ask
from pipeline_data.corpus.report.views import create_views
from pipeline_data.corpus.settings import CorpusReportConfig
from pipeline_data.settings import canonical_json
from pipeline_data.stage_run import Inputs, Runtime

ROLES = ("extracted", "filtered", "dedup", "decontaminated", "evaluation", "tokens")
SAMPLE_CHARS = 200


def run(config: CorpusReportConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write report.html, report.md and report.json (each question with its answer).

    Inputs, each of them many: ``extracted``, ``filtered``, ``decontaminated`` and ``tokens``, one
    a shard, in the corpus's order; ``dedup``, one in all; ``evaluation``, one a set.
    """
    with (
        tempfile.TemporaryDirectory(prefix="report-", dir=out.parent) as spill,
        _connect(Path(spill), runtime) as database,
    ):
        create_views(database, {role: inputs.many(role) for role in ROLES})
        answers = {}
        for number, name in enumerate(QUERIES, 1):
            answers[name] = ask(database, name, config.num_samples, config.num_top)
            runtime.progress(number, len(QUERIES), "queries")
        texts = _read_texts(database, inputs.many("extracted"), answers["samples"].records())
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "report.html": render_page(answers, texts),
        "report.md": render_summary(answers),
        "report.json": canonical_json({name: _to_json(answers[name]) for name in answers}) + "\n",
    }
    for file, content in files.items():
        (out / file).write_text(content, encoding="utf-8", newline="\n")
    _, total = sum_up(answers)
    return dict(total)


def _connect(spill: Path, runtime: Runtime) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "threads": runtime.threads,
            "memory_limit": f"{runtime.memory_mb}MB",
            "temp_directory": str(spill),
        }
    )


def _read_texts(
    database: duckdb.DuckDBPyConnection,
    extracted: Iterable[Artifact],
    samples: Iterable[Mapping[str, Any]],
) -> dict[tuple[str, str], str]:
    """The start of the text of each sample that has one, read from the shards it needs alone."""
    wanted: dict[str, list[str]] = {}
    for sample in samples:
        wanted.setdefault(sample["shard"], []).append(sample["doc_id"])
    texts = {}
    for artifact in extracted:
        shard = artifact.shard or ""
        if shard in wanted:
            rows = database.execute(
                f"SELECT doc_id, left(text, {SAMPLE_CHARS}) FROM read_parquet($path) "
                "WHERE list_contains($ids, doc_id)",
                {"path": str(artifact.path("documents.parquet")), "ids": wanted[shard]},
            ).fetchall()
            texts.update({(shard, doc_id): text for doc_id, text in rows})
    return texts


def _to_json(answer: Answer) -> dict[str, Any]:
    rows = [
        [None if isinstance(cell, float) and not isfinite(cell) else cell for cell in row]
        for row in answer.rows
    ]
    return {"query": answer.query, "columns": answer.columns, "rows": rows}
