"""The crawling process against servers that do what the practice site does not."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline_data.errors import SourceError
from pipeline_data.formats import read_jsonl
from pipeline_data.sources import crawl
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.settings import CrawlConfig, ReaderConfig
from pipeline_data.sources.spider import find_links
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt

HOME = (
    b'<html><body><a href="/one">one</a> <a href="/two">two</a> <a href="/bomb">b</a></body></html>'
)
PAGES = {"/": HOME, "/one": b"<html><p>One.</p></html>", "/two": b"<html><p>Two.</p></html>"}


class Server(ThreadingHTTPServer):
    """Sends pages in gzip, and notes when it was asked, for what and by whom."""

    daemon_threads = True
    robots_status = 404

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, float, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        agent = self.headers["User-Agent"]
        self.server.requests.append((self.path, time.monotonic(), agent))
        if self.path == "/robots.txt":
            self.send_response(self.server.robots_status)
            self.end_headers()
            return
        body = gzip.compress(PAGES.get(self.path, b"<html>" + b"x" * 500_000))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def config_of(server: Server, **changes: Any) -> CrawlConfig:
    values = {"start_urls": (f"{server.address}/",), "shards": 1, "retries": 0, **changes}
    return CrawlConfig.model_validate(values)


def test_coded_pages_are_kept_as_sent_and_read_as_meant(tmp_path: Path) -> None:
    with running() as server:
        config = config_of(server, max_page_bytes=100_000, user_agent="tester/1", delay_seconds=0.3)
        crawl.run(config, Inputs({}), tmp_path / "out", Runtime())
    part = adopt(tmp_path / "out").part("crawl-000")
    pages = [r for r in read_raw(part, ReaderConfig(format="crawl")) if isinstance(r, RawRecord)]
    assert {page.url.removeprefix(server.address): page.payload for page in pages} == PAGES
    assert gzip.compress(HOME)[10:] in gzip.decompress(
        part.path("provenance/pages.warc.gz").read_bytes()
    )
    (refused,) = read_jsonl(tmp_path / "out/provenance/refused.jsonl")
    assert refused["url"] == f"{server.address}/bomb"
    assert refused["reason"] == "size"
    times = [when for path, when, _ in server.requests if path != "/robots.txt"]
    assert times[-1] - times[0] > 0.6  # three pauses of 0.3 s, less what the machine's load blurs
    assert {agent for _, _, agent in server.requests} == {"tester/1"}


def test_host_whose_robots_file_fails_is_left_alone(tmp_path: Path) -> None:
    with running() as server:
        server.robots_status = 503
        with pytest.raises(SourceError, match="1 x robots"):
            crawl.run(config_of(server), Inputs({}), tmp_path / "out", Runtime())
    assert [path for path, _, _ in server.requests] == ["/robots.txt"]


def test_crawler_that_breaks_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/crawl-000").write_text("in the way")
    with (
        running() as server,
        pytest.raises(SourceError, match=r"ended early .*crawl-000") as caught,
    ):
        crawl.run(config_of(server), Inputs({}), tmp_path / "out", Runtime())
    assert "\n" not in str(caught.value)


def test_progress_ends_at_the_number_of_urls_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(done: int, total: int | None, unit: str, metrics: object = None) -> None:
        assert unit == "pages"
        seen.append(done)

    with running() as server:
        crawl.run(config_of(server), Inputs({}), tmp_path / "out", Runtime(progress=progress))
    assert seen == sorted(seen)
    assert seen[-1] == 4


def test_links_are_found_in_anchors_and_areas() -> None:
    html = """<base href="/deep/"><a href="a">A</a><a name="no">no</a>
    <map><area href="b"></map><link href="style.css"><img src="c.png">"""
    assert find_links(html) == ("/deep/", ["a", "b"])
    assert find_links("  ") == ("", [])
