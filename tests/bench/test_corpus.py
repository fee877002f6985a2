"""The corpus benchmark on a handful of made-up pages: it agrees with stock, and could disagree."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench import own_pipeline as own
from bench import stock_pipeline as stock
from bench.agreement import DIFFERENCES, compare_shard
from bench.corpus_limits import measure_reuse
from bench.corpus_pages import Page, debian_pages, keep_shards, select_pages, write_shards
from bench.own_pipeline import Build, shard_name
from bench.probes import Trace, text_hash
from pipeline_data.errors import HeadwaterError
from pipeline_data.formats import DROPPED, write_table
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from tests.pipeline_data.corpus.material import make_page

CONTACT = "<p>Write to the baker at old.baker@mail.example or to 8.8.8.8 in the morning.</p>"
FOREIGN = "<p>Der alte Müller geht am Morgen durch den Wald und sucht nach seinem Hut.</p>" * 6
NUM_SHARDS = 2


def made_pages() -> list[Page]:
    pages = [make_page(seed, CONTACT) for seed in range(1, 9)]
    pages += [make_page(1, CONTACT), f"<html><body><article>{FOREIGN}</article></body></html>"]
    pages += ["<html><body><p>Too short.</p></body></html>", "<html><body></body></html>"]
    return [(f"https://made.example/{n}", page.encode()) for n, page in enumerate(pages)]


class BothCorpora:
    """The same WARCs through both pipelines, in this process."""

    def __init__(self, folder: Path) -> None:
        write_shards(made_pages(), folder / "warcs", NUM_SHARDS)
        warcs = tuple(sorted((folder / "warcs").iterdir()))
        self.build = Build(own.load_settings(), warcs, folder / "ours", folder / "tokenizer")
        self.stock = Build(own.load_settings(), warcs, folder / "stock", folder / "tokenizer")
        own.train_tokenizer(self.build)
        self.seconds = [own.run_pages(self.build, rank) for rank in range(NUM_SHARDS)]
        self.traces = [stock.run_pages(self.stock, rank) for rank in range(NUM_SHARDS)]
        own.run_stage(self.build, "dedup")
        stock.run_dedup(self.stock)
        for rank in range(NUM_SHARDS):
            own.run_stage(self.build, "tokenize", rank)
        self.token_urls = [stock.run_tokens(self.stock, rank) for rank in range(NUM_SHARDS)]

    def compare(self, build: Build, trace: Trace, rank: int = 0) -> Counter[str]:
        return compare_shard(build, rank, self.stock.out, trace, self.token_urls[rank])


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> BothCorpora:
    pytest.importorskip("magic", reason="needs libmagic1", exc_type=ImportError)
    return BothCorpora(tmp_path_factory.mktemp("both"))


@pytest.fixture
def ours(corpora: BothCorpora, tmp_path: Path) -> Build:
    """A copy of our corpus that may be spoilt."""
    shutil.copytree(corpora.build.out, tmp_path / "ours")
    return Build(
        corpora.build.settings, corpora.build.warcs, tmp_path / "ours", corpora.build.tokenizer
    )


def test_both_pipelines_agree_on_made_pages(corpora: BothCorpora) -> None:
    counts: Counter[str] = Counter()
    for rank in range(NUM_SHARDS):
        counts += corpora.compare(corpora.build, corpora.traces[rank], rank)
    assert counts["pages"] == len(made_pages())
    assert counts["compared texts"] == len(made_pages())
    assert sum(counts[kind] for kind in DIFFERENCES) == 0
    assert counts["compared tokens"] >= 6
    assert counts["kept by ours"] >= 6 <= counts["kept by stock"]


def test_masks_and_drops_are_among_what_is_compared(corpora: BothCorpora) -> None:
    pages = [row["text"] for rank in range(2) for row in stock.read_pages(corpora.stock.out, rank)]
    assert all("email@example.com" in page and "22.214.171.124" in page for page in pages)
    passed = [trace.passed for trace in corpora.traces]
    assert sum(len(p["extract"]) - len(p["language"]) for p in passed) >= 1
    assert sum(len(p["language"]) - len(p["fineweb_quality"]) for p in passed) >= 1


def test_time_is_booked_to_blocks_and_stages(corpora: BothCorpora) -> None:
    for trace, seconds in zip(corpora.traces, corpora.seconds, strict=True):
        blocks = {name: s for name, s in trace.seconds.items() if not name.startswith("stage")}
        assert set(stock.STAGE_OF_BLOCK) == set(blocks)
        assert all(value >= 0 for value in blocks.values())
        in_filter = sum(v for k, v in blocks.items() if stock.STAGE_OF_BLOCK[k] == "filter")
        assert trace.seconds["stage filter"] == pytest.approx(in_filter)
        assert set(seconds) == set(own.PAGE_STAGES)
        assert all(value > 0 for value in seconds.values())


def a_kept_url(trace: Trace) -> str:
    return next(iter(trace.passed["pii"]))


@pytest.mark.parametrize(
    ("block", "kind"),
    [("extract", "texts"), ("pii", "final texts"), ("read", "decoded differently")],
)
def test_other_text_is_a_difference(corpora: BothCorpora, block: str, kind: str) -> None:
    trace = copy.deepcopy(corpora.traces[0])
    trace.passed[block][a_kept_url(trace)] = text_hash("another text")
    counts = corpora.compare(corpora.build, trace)
    assert counts[kind] == 1
    assert sum(counts[k] for k in DIFFERENCES) == (kind in DIFFERENCES)


def test_a_page_that_one_side_drops_is_a_difference(corpora: BothCorpora) -> None:
    trace = copy.deepcopy(corpora.traces[0])
    for name in ("c4_quality", "fineweb_quality", "pii"):
        del trace.passed[name][a_kept_url(corpora.traces[0])]
    assert corpora.compare(corpora.build, trace)["decisions"] == 1


def test_another_rule_for_the_same_drop_is_a_difference(corpora: BothCorpora, ours: Build) -> None:
    path = ours.out / "filter" / shard_name(0) / "dropped.parquet"
    rows = pq.read_table(path).to_pylist()
    assert rows, "the made pages hold some that are dropped"
    write_table(path, DROPPED, [row | {"rule": "c4_quality"} for row in rows])
    assert corpora.compare(ours, corpora.traces[0])["decisions"] == len(rows)


@pytest.mark.parametrize(
    ("stage", "column", "kind"),
    [("signature", "bands", "signatures"), ("tokenize", "tokens", "tokens")],
)
def test_other_numbers_are_a_difference(
    corpora: BothCorpora, ours: Build, stage: str, column: str, kind: str
) -> None:
    name = {"signature": "signatures.parquet", "tokenize": "tokens.parquet"}[stage]
    path = ours.out / stage / shard_name(0) / name
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0][column] = [rows[0][column][0] ^ 1, *rows[0][column][1:]]
    write_table(path, table.schema, rows)
    counts = corpora.compare(ours, corpora.traces[0])
    assert {k for k in DIFFERENCES if counts[k]} == {kind}
    assert counts[kind] == 1


def test_pages_are_dealt_out_by_hash_and_come_back(tmp_path: Path) -> None:
    pages = [*made_pages(), ("https://made.example/huge", b"x" * 3_000_000)]
    chosen = select_pages(pages, 8)
    assert len(chosen) == 8
    assert select_pages(reversed(pages), 5) == chosen[:5]
    write_shards(chosen, tmp_path, 3)
    reader = own.load_settings().extract.reader
    found = [
        (record.url, record.payload)
        for warc in sorted(tmp_path.iterdir())
        for record in read_raw(own.raw_artifact(warc, 0), reader)
        if isinstance(record, RawRecord)
    ]
    assert sorted(found) == sorted(chosen)


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_pages_of_a_debian_package(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in {
        "DEBIAN/control": "Package: made-doc\nVersion: 1\nArchitecture: all\n"
        "Maintainer: M <m@made.example>\nDescription: made up\n",
        "usr/share/doc/made/index.html": "<html>index</html>",
        "usr/share/doc/made/notes.txt": "no page",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    cache = tmp_path / "cache"
    cache.mkdir()
    archive = cache / "made-doc_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    assert dict(debian_pages(cache, packages=())) == {
        "https://debian.example/made-doc/usr/share/doc/made/index.html": b"<html>index</html>"
    }


def test_made_shards_are_kept(tmp_path: Path) -> None:
    folder = keep_shards(tmp_path / "shards", made_pages, 6, 2)
    assert sorted(path.name for path in folder.glob("*.warc.gz")) == [
        "00000.warc.gz",
        "00001.warc.gz",
    ]
    assert keep_shards(folder, list, 6, 2) == folder
    with pytest.raises(HeadwaterError, match="--warcs"):
        keep_shards(tmp_path / "none", list, 6, 2)


def run_benchmark(folder: Path, *arguments: str) -> dict[str, float]:
    """The values of the targets by name, as the command prints them."""
    write_shards(made_pages(), folder / "warcs", NUM_SHARDS)
    command = [sys.executable, "bench/corpus.py", "--json", "--quick"]
    done = subprocess.run(
        [*command, "--warcs", str(folder / "warcs"), *arguments],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
        env={**os.environ, "HEADWATER_HOME": str(folder)},
    )  # fmt: skip
    return {target["name"]: target["value"] for target in json.loads(done.stdout)["targets"]}


@pytest.mark.long
def test_one_command_measures_speed_and_agreement(tmp_path: Path) -> None:
    targets = run_benchmark(tmp_path, "--parts", "speed", "cores")
    assert targets["differences from stock"] == 0
    assert targets["end to end over stock, same text"] > 0


@pytest.mark.long
def test_one_command_measures_memory(tmp_path: Path) -> None:
    targets = run_benchmark(tmp_path, "--parts", "memory", "--memory-mb", "2")
    assert 0.05 < targets["peak memory of a worker, GB"] < 3


@pytest.mark.long
def test_a_shard_more_is_one_shard_more(tmp_path: Path) -> None:
    pages = [(f"https://made.example/{n}", make_page(n).encode()) for n in range(250)]
    report = measure_reuse(pages, tmp_path)
    assert [target.value for target in report.targets] == [1]
