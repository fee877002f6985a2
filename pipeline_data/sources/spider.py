"""The crawling process: ``python -m pipeline_data.sources.spider spec.json out``.

A process of its own, as Twisted's reactor can run only once in one. Scrapy does what is hard about
fetching (robots.txt, delays, retries, timeouts, proxies); the rounds and the shards are ours.
Standard output says how many URLs were asked for, a number a line.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from http.client import responses
from pathlib import Path
from typing import Any

import scrapy
from parsel import Selector
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.http import Request, Response

from pipeline_data.formats import write_jsonl
from pipeline_data.sources.frontier import Frontier, Target
from pipeline_data.sources.raw.content_encoding import ContentEncodingError, decode_body
from pipeline_data.sources.raw.html import decode_html, is_html
from pipeline_data.sources.settings import CrawlConfig
from pipeline_data.sources.warc_shards import LOG, REFUSED, Headers, Page, ShardWriter

_NUM_WORKERS = 16
_PROGRESS_EVERY = 20


class StrictRobotsMiddleware(RobotsTxtMiddleware):  # type: ignore[misc]
    """A host whose robots.txt answers with a server error is not crawled (RFC 9309, 2.3.1.4)."""

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status >= 500:
            response = response.replace(body=b"User-agent: *\nDisallow: /\n")
        elif response.status >= 400:
            response = response.replace(body=b"")
        await super()._parse_robots(response, netloc, request)


class PageSpider(scrapy.Spider):  # type: ignore[misc]
    """Fetches a frontier round by round into sharded WARC files."""

    name = "headwater"

    def __init__(self, config: CrawlConfig, out: Path) -> None:
        super().__init__()
        self.config = config
        self.out = out
        self.frontier = Frontier(config)
        self.num_asked = 0

    async def start(self) -> AsyncIterator[Request]:
        """The whole crawl. It leaves no request to Scrapy's own scheduler."""
        about = {
            "software": "headwater (Scrapy, warcio)",
            "robots": "obey" if self.config.obey_robots else "ignore",
            "http-header-user-agent": self.config.user_agent,
        }
        with ShardWriter(self.out, self.config.shards, about) as writer:
            while targets := self.frontier.next_round():
                queue = iter(targets)
                workers = [self._work(queue, writer) for _ in range(_NUM_WORKERS)]
                await asyncio.gather(*workers)
        print(self.num_asked, flush=True)
        write_jsonl(self.out / REFUSED, self.frontier.refused())
        no_requests: tuple[Request, ...] = ()
        for request in no_requests:
            yield request

    async def _work(self, queue: Iterator[Target], writer: ShardWriter) -> None:
        for target in queue:
            await self._visit(target, writer)
            self.num_asked += 1
            if self.num_asked % _PROGRESS_EVERY == 0:
                print(self.num_asked, flush=True)

    async def _visit(self, target: Target, writer: ShardWriter) -> None:
        try:
            response = await self.crawler.engine.download_async(Request(target.url))
        except IgnoreRequest:
            self.frontier.refuse(target.url, "robots")
        except DownloadCancelledError:
            self.frontier.refuse(target.url, "size", f"over {self.config.max_page_bytes} bytes")
        except Exception as error:  # whatever a network can do costs this page only
            self.frontier.refuse(target.url, "network", type(error).__name__)
        else:
            self._take(target, response, writer)

    def _take(self, target: Target, response: Response, writer: ShardWriter) -> None:
        location = _header(response, "Location")
        content_type = _header(response, "Content-Type")
        if 300 <= response.status < 400 and location:
            self.frontier.refuse(target.url, "redirect", location)
            self.frontier.add_redirect(target, location)
            return
        if response.status != 200:
            detail = f"{response.status} {responses.get(response.status, '')}".strip()
            self.frontier.refuse(target.url, "status", detail)
            return
        try:
            encoding = _header(response, "Content-Encoding")
            payload = decode_body(response.body, encoding, self.config.max_page_bytes)
        except ContentEncodingError as error:
            self.frontier.refuse(target.url, "size", str(error))
            return
        if not is_html(payload, content_type):
            self.frontier.refuse(target.url, "type", content_type)
            return
        writer.write(
            Page(
                url=target.url,
                status=response.status,
                content_type=content_type,
                body=response.body,
                payload=payload,
                fetched=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                request_headers=_headers(response.request),
                response_headers=_headers(response),
            )
        )
        base, links = find_links(decode_html(payload, content_type))
        self.frontier.add_links(target, links, base)


def find_links(html: str) -> tuple[str, list[str]]:
    """The page's ``<base href>`` (or nothing) and the targets of its links, as written."""
    if not html.strip():
        return "", []
    page = Selector(text=html, type="html")
    return page.xpath("//base/@href").get(""), page.xpath("//a/@href | //area/@href").getall()


def crawl_settings(config: CrawlConfig, log: Path) -> dict[str, Any]:
    """The crawl's config in Scrapy's words."""
    robots = "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware"
    return {
        "USER_AGENT": config.user_agent,
        "ROBOTSTXT_OBEY": config.obey_robots,
        "DOWNLOADER_MIDDLEWARES": {robots: None, StrictRobotsMiddleware: 100},
        "DOWNLOAD_DELAY": config.delay_seconds,
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "DOWNLOAD_TIMEOUT": config.timeout_seconds,
        "DOWNLOAD_MAXSIZE": config.max_page_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "RETRY_TIMES": config.retries,
        # Redirects go through the frontier, and bodies are archived as they came.
        "REDIRECT_ENABLED": False,
        "COMPRESSION_ENABLED": False,
        "DEFAULT_REQUEST_HEADERS": {"Accept": "text/html", "Accept-Encoding": "gzip, deflate, br"},
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_FILE": str(log),
        "LOG_LEVEL": "INFO",
    }


def _header(message: Request | Response, name: str) -> str:
    value: bytes = message.headers.get(name) or b""
    return value.decode("latin-1").strip()


def _headers(message: Request | Response) -> Headers:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in message.headers.items()
        for value in values
    ]


def main(spec: str, out: str) -> None:
    """Crawl as the JSON file ``spec`` (a CrawlConfig) says, into the folder ``out``."""
    config = CrawlConfig.model_validate_json(Path(spec).read_text())
    log = Path(out) / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    process = AsyncCrawlerProcess(crawl_settings(config, log))
    process.crawl(PageSpider, config=config, out=Path(out))
    process.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
