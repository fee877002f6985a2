import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline_data.artifact import Artifact
from pipeline_data.errors import SourceError, TransientError
from pipeline_data.formats import read_jsonl
from pipeline_data.sources import crawl
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.server import serve_site
from pipeline_data.sources.settings import CrawlConfig, ReaderConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt, write_files

FILES: dict[str, str | bytes] = {
    "docs.example/index.html": """<html><body>
        <a href="a.html">A</a> <a href="/b.html#part">B</a> <a href="B.html">missing</a>
        <a href="/private/secret.html">secret</a> <a href="/old.html">moved</a>
        <a href="/flaky.html">flaky</a> <a href="/big.html">big</a> <a href="/table.csv">table</a>
        <a href="http://mirror.docs.example/a.html">mirror</a>
        <a href="http://elsewhere.example/">elsewhere</a> <a href="mailto:x@y.example">mail</a>
        <a href="http://[broken/">broken</a></body></html>""",
    "docs.example/robots.txt": "User-agent: *\nDisallow: /private/\n",
    "docs.example/a.html": "<html><body><p>The same text.</p></body></html>",
    "mirror.docs.example/a.html": "<html><body><p>The same text.</p></body></html>",
    "docs.example/b.html": '<html><body><a href="deep.html">deeper</a></body></html>',
    "docs.example/deep.html": '<html><body><a href="deeper.html">too deep</a></body></html>',
    "docs.example/deeper.html": "<html><body><p>Three links away.</p></body></html>",
    "docs.example/new.html": "<html><body><p>The new place.</p></body></html>",
    "docs.example/flaky.html": "<html><body><p>At the second try.</p></body></html>",
    "docs.example/big.html": "<html><body>" + "x" * 30_000,
    "docs.example/private/secret.html": "<html><body><p>Not for robots.</p></body></html>",
    "docs.example/table.csv": "a,b\n1,2\n",
    "routes.json": json.dumps(
        {
            "redirects": {"http://docs.example/old.html": "/new.html"},
            "flaky": ["http://docs.example/flaky.html"],
        }
    ),
}
CONFIG = CrawlConfig(
    start_urls=("http://docs.example/",),
    allowed_domains=("docs.example",),
    max_page_bytes=20_000,
    max_depth=2,
    shards=2,
)
KEPT = {
    "http://docs.example/",
    "http://docs.example/a.html",
    "http://docs.example/b.html",
    "http://docs.example/deep.html",
    "http://docs.example/flaky.html",
    "http://docs.example/new.html",
    "http://mirror.docs.example/a.html",
}
REFUSED = {
    "http://docs.example/B.html": "status",
    "http://docs.example/big.html": "size",
    "http://docs.example/deeper.html": "depth",
    "http://docs.example/old.html": "redirect",
    "http://docs.example/private/secret.html": "robots",
    "http://docs.example/table.csv": "type",
    "http://elsewhere.example/": "scope",
}


def make_site(folder: Path, files: Mapping[str, str | bytes]) -> Artifact:
    write_files(folder / "site", files)
    return adopt(folder, "site")


def run_crawl(config: CrawlConfig, site: Artifact | None, out: Path) -> dict[str, Any]:
    inputs = Inputs({"site": site} if site else {})
    return dict(crawl.run(config, inputs, out, Runtime()))


def read_pages(out: Path) -> list[RawRecord]:
    artifact = adopt(out, "crawl")
    reader = ReaderConfig(format="crawl")
    records = [r for shard in artifact.parts for r in read_raw(artifact.part(shard), reader)]
    assert all(isinstance(record, RawRecord) for record in records)
    return [record for record in records if isinstance(record, RawRecord)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_site(tmp_path_factory.mktemp("site"), FILES)


@pytest.fixture(scope="module")
def crawled(
    site: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("crawl") / "out"
    return out, run_crawl(CONFIG, site, out)


def test_crawl_keeps_what_it_may_and_says_why_it_refuses_the_rest(
    crawled: tuple[Path, dict[str, Any]],
) -> None:
    out, counts = crawled
    assert {page.url for page in read_pages(out)} == KEPT
    refused = {row["url"]: row["reason"] for row in read_jsonl(out / "provenance/refused.jsonl")}
    assert refused == REFUSED
    assert counts["num_pages"] == len(KEPT)
    assert counts["num_refused_robots"] == 1
    assert counts["num_refused"] == len(REFUSED)


def test_pages_come_back_as_they_were_sent(crawled: tuple[Path, dict[str, Any]]) -> None:
    out, _ = crawled
    for page in read_pages(out):
        path = page.url.removeprefix("http://")
        name = path + "index.html" if path.endswith("/") else path
        assert page.payload == str(FILES[name]).encode()
        assert page.content_type == "text/html; charset=utf-8"
        assert page.fetched is not None


def test_second_crawl_of_an_unchanged_site_has_the_same_content_and_its_own_provenance(
    site: Artifact, crawled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    first = adopt(crawled[0])
    run_crawl(CONFIG, site, tmp_path / "again")
    second = adopt(tmp_path / "again")
    assert second.digest == first.digest
    assert second.parts == first.parts
    warc = "crawl-000/provenance/pages.warc.gz"
    hashes = [{file.path: file.sha256 for file in a.files}[warc] for a in (first, second)]
    assert hashes[0] != hashes[1]


def test_changed_page_changes_only_its_shard(
    crawled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    changed = FILES | {"docs.example/a.html": "<html><body><p>Another text.</p></body></html>"}
    run_crawl(CONFIG, make_site(tmp_path, changed), tmp_path / "out")
    before, after = adopt(crawled[0]).parts, adopt(tmp_path / "out").parts
    assert [shard for shard in before if before[shard] != after[shard]] == ["crawl-001"]


def test_page_limit_takes_the_first_urls_in_order(site: Artifact, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"max_pages": 3})
    counts = run_crawl(config, site, tmp_path / "out")
    # The third request is for B.html, which is not there.
    urls = [page.url for page in read_pages(tmp_path / "out")]
    assert urls == ["http://docs.example/", "http://docs.example/a.html"]
    assert counts["num_refused_limit"] == 7


def test_robots_can_be_left_unread(site: Artifact, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"obey_robots": False, "max_depth": 1})
    run_crawl(config, site, tmp_path / "out")
    assert "http://docs.example/private/secret.html" in {
        p.url for p in read_pages(tmp_path / "out")
    }


def test_without_retries_a_flaky_page_is_refused(site: Artifact, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"retries": 0, "max_depth": 1})
    run_crawl(config, site, tmp_path / "out")
    rows = {r["url"]: r["detail"] for r in read_jsonl(tmp_path / "out/provenance/refused.jsonl")}
    assert rows["http://docs.example/flaky.html"] == "503 Service Unavailable"


def test_crawl_without_a_site_uses_the_network_as_it_is(tmp_path: Path) -> None:
    write_files(tmp_path / "site", {"127.0.0.1/index.html": "<html><body>Here.</body></html>"})
    with serve_site(tmp_path / "site") as address:
        folder = tmp_path / "site" / address.removeprefix("http://")
        shutil.copytree(tmp_path / "site" / "127.0.0.1", folder)
        config = CrawlConfig(start_urls=(f"{address}/",), shards=1)
        assert run_crawl(config, None, tmp_path / "out")["num_pages"] == 1


def test_server_that_is_down_is_a_transient_error_in_one_line(tmp_path: Path) -> None:
    with serve_site(tmp_path) as address:
        pass
    config = CrawlConfig(start_urls=(f"{address}/",), retries=0, shards=1)
    with pytest.raises(TransientError, match="no page of http://127") as caught:
        run_crawl(config, None, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_nothing_but_missing_pages_is_no_transient_error(site: Artifact, tmp_path: Path) -> None:
    config = CrawlConfig(start_urls=("http://docs.example/nothing.html",), shards=1)
    with pytest.raises(SourceError, match="404 Not Found") as caught:
        run_crawl(config, site, tmp_path / "out")
    assert not isinstance(caught.value, TransientError)


def test_damage_in_the_warc_costs_one_page(
    crawled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(crawled[0], copy)
    part = adopt(copy).part("crawl-000")
    fetches = list(read_jsonl(part.path("provenance/fetch.jsonl")))
    warc = part.path("provenance/pages.warc.gz")
    data = bytearray(warc.read_bytes())
    data[fetches[1]["offset"] + 100] ^= 0xFF
    warc.write_bytes(bytes(data))
    results = list(read_raw(part, ReaderConfig(format="crawl")))
    damaged = [r.url for r in results if not isinstance(r, RawRecord)]
    assert damaged == [fetches[1]["url"]]
    assert len(results) == len(fetches)
