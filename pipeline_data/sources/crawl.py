"""Stage ``crawl``: pages over real HTTP into sharded WARC files.

Optional input role ``site`` (the practice site), which is then served on this machine during the
crawl. Output: the shards of :mod:`warc_shards`, ``provenance/refused.jsonl`` with every URL that
gave no page and why, and ``provenance/crawl.log``.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from pipeline_data.artifact import Counts
from pipeline_data.errors import SourceError, UnreachableError
from pipeline_data.faults import full_disk
from pipeline_data.formats import read_jsonl
from pipeline_data.sources.server import serve_site
from pipeline_data.sources.settings import CrawlConfig
from pipeline_data.sources.warc_shards import LOG, PAGES, REFUSED
from pipeline_data.stage_run import Inputs, Progress, Runtime

SITE = "site"
"""The folder of a site artefact that is served."""


def run(config: CrawlConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Crawl into ``out``; returns how many pages were kept, and how many refused for what.

    Raises:
        UnreachableError: no page came, as the network or the server failed.
        TransientError: the disk is full.
        SourceError: no page came for another reason, or the crawler broke.
    """
    site = inputs.optional("site")
    out.mkdir(parents=True, exist_ok=True)
    with serve_site(site.directory / SITE) if site else nullcontext() as proxy:
        _spawn(config, out, _environment(proxy), runtime.progress)
    pages = [row for path in sorted(out.glob(f"*/{PAGES}")) for row in read_jsonl(path)]
    refused = list(read_jsonl(out / REFUSED))
    if not pages:
        raise _explain_nothing(config, refused)
    reasons = Counter(row["reason"] for row in refused)
    return {
        "num_pages": len(pages),
        "num_bytes": sum(row["num_bytes"] for row in pages),
        "num_refused": len(refused),
        **{f"num_refused_{reason}": count for reason, count in sorted(reasons.items())},
    }


def _environment(proxy: str | None) -> dict[str, str]:
    """The environment of the crawling process; with a proxy nothing leaves this machine."""
    if proxy is None:
        return dict(os.environ)
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return kept | {"http_proxy": proxy, "https_proxy": proxy}


def _spawn(
    config: CrawlConfig, out: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    command = [sys.executable, "-m", "pipeline_data.sources.spider"]
    with tempfile.TemporaryDirectory() as scratch:
        spec, errors = Path(scratch) / "spec.json", Path(scratch) / "errors"
        spec.write_text(config.model_dump_json())
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                [*command, str(spec), str(out)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=dict(environment),
            ) as process,
        ):
            assert process.stdout is not None, "asked for above"
            try:
                for line in process.stdout:
                    progress(int(line), None, "pages")
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0 or not (out / REFUSED).exists():
            error = SourceError(_last_words(process.returncode, errors, out / LOG))
            raise full_disk(error, out) or error


def _last_words(exit_code: int, *logs: Path) -> str:
    text = "\n".join(log.read_text(errors="replace") for log in logs if log.exists())
    errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", text, flags=re.MULTILINE)
    reason = errors[-1][:300] if errors else "it gave no reason"
    return f"the crawler ended early (exit {exit_code}): {reason}"


def _explain_nothing(config: CrawlConfig, refused: list[dict[str, str]]) -> SourceError:
    reasons = Counter(f"{row['reason']} {row['detail']}".strip() for row in refused)
    listed = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    start = config.start_urls[0]
    line = f"no page of {start} could be had ({listed})"
    if any(_may_pass(row) for row in refused):
        return UnreachableError(f"{line}; check that the server runs, and try again")
    return SourceError(f"{line}; correct the source's start_urls or its limits")


def _may_pass(row: Mapping[str, str]) -> bool:
    return row["reason"] == "network" or (
        row["reason"] == "status" and row["detail"].startswith(("429", "5"))
    )
