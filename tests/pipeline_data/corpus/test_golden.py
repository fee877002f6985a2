"""Every corpus stage on a tiny corpus: its bytes are known, and the same in any process.

A digest that changed means other artefacts for the same key: raise the stage's version, then put
the new digest here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline_data.artifact import content_digest, describe
from pipeline_data.corpus.deduplication import dedup, signature
from pipeline_data.corpus.extraction import extract
from pipeline_data.corpus.filters import filter
from pipeline_data.corpus.settings import (
    DedupConfig,
    ExtractConfig,
    FilterConfig,
    SampleConfig,
    SignatureConfig,
    TokenizeConfig,
    TokenizerConfig,
)
from pipeline_data.corpus.tokenization import sample, tokenize, tokenizer
from pipeline_data.sources.settings import ReaderConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import as_artifact, make_page, warc_artifact

GOLDEN = {
    "dedup": "3846f42bfe195053c5dbe67871372165350b2756b6ecafbe9eac4361005efb7b",
    "extract": "7e772d594927f7adcd7f143afc54a9efebf3fa8115867abdf282419581279e02",
    "filter": "9c75f25b7f002f5a4bd5b707375b23389821331328bbb5533aa082746759ac70",
    "sample": "893662e4b1bf1b9734efe919e827ae0d7380204219c5ceb87958b1b72385b2d1",
    "signature": "5d8825533a08c0f094d88bb5f3880db2b7652b7291569d42a4209a852f7fcb73",
    "tokenize": "0abd7effd5b98a009f84bae62238edff1d0cd1bc14355894ecb524c4eb42f17d",
    "tokenizer": "20db1e35a2234fdd1552c781cdcc9bceca7fd2531b61f945dcceb439ce49b7c7",
}
CONTACT = "<p>Write to the baker at old.baker@mail.example or call +44 20 7946 0958 today.</p>"


def run_stages(folder: Path) -> dict[str, str]:
    """Run every stage below ``folder`` on one shard; the content digest of each."""
    pages = [make_page(seed, CONTACT) for seed in (1, 2, 3, 4, 1)]
    pages += [make_page(1, CONTACT).replace("winter", "summer"), "<p>Trop court.</p>"]
    raw = warc_artifact(
        folder / "raw",
        [(f"https://a.example/{number}", page.encode()) for number, page in enumerate(pages)],
        "2026-01-02T03:04:05Z",
    )
    runtime = Runtime()

    reader = ReaderConfig(format="warc")
    extract.run(
        ExtractConfig(source="web", reader=reader),
        Inputs({"raw": raw}),
        folder / "extract",
        runtime,
    )
    filter_config = FilterConfig(
        languages=("en",),
        rules=("url", "gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality"),
        pii=("email", "ip", "iban", "card", "phone"),
    )
    documents = Inputs({"documents": as_artifact(folder / "extract", "web-000")})
    filter.run(filter_config, documents, folder / "filter", runtime)
    filtered = as_artifact(folder / "filter", "web-000")
    signature.run(SignatureConfig(), Inputs({"documents": filtered}), folder / "signature", runtime)
    signed = as_artifact(folder / "signature", "web-000")
    dedup.run(DedupConfig(), Inputs({"signatures": [signed]}), folder / "dedup", runtime)
    kept = as_artifact(folder / "dedup").part("web-000")
    sample_inputs = Inputs({"documents": filtered, "kept": kept})
    sample.run(SampleConfig(fraction=1.0), sample_inputs, folder / "sample", runtime)
    samples = Inputs({"samples": [as_artifact(folder / "sample", "web-000")]})
    tokenizer.run(TokenizerConfig(vocab_size=300), samples, folder / "tokenizer", runtime)
    trained = as_artifact(folder / "tokenizer")
    tokenize_inputs = Inputs({"documents": filtered, "kept": kept, "tokenizer": trained})
    tokenize.run(
        TokenizeConfig(heldout_fraction=0.3), tokenize_inputs, folder / "tokenize", runtime
    )
    return {stage: content_digest(describe(folder / stage)) for stage in GOLDEN}


def test_digests_are_the_known_ones(tmp_path: Path) -> None:
    assert run_stages(tmp_path) == GOLDEN
    assert len(describe(tmp_path / "dedup")) == 2


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path;"
        "from tests.pipeline_data.corpus.test_golden import run_stages;"
        "print(json.dumps(run_stages(Path(sys.argv[1]))))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "RAYON_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(process.stdout.splitlines()[-1]) == GOLDEN
