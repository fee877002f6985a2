"""Writing a crawl's pages, a folder a shard: what they say apart from when they were fetched.

``<shard>/pages.jsonl`` is the content, in URL order. ``<shard>/provenance/pages.warc.gz`` holds
request and response as they came (WARC 1.1, in order of arrival), and
``<shard>/provenance/fetch.jsonl`` the time and the place in the WARC of each page. Two crawls of an
unchanged site so agree in content, whatever the order and the date.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline_data.formats import write_jsonl
from pipeline_data.sources.sharding import shard_index, shard_name

PAGES = "pages.jsonl"
WARC = "provenance/pages.warc.gz"
FETCHES = "provenance/fetch.jsonl"
REFUSED = "provenance/refused.jsonl"
LOG = "provenance/crawl.log"
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """One fetched page. ``body`` is as received, ``payload`` after undoing Content-Encoding."""

    url: str
    status: int
    content_type: str
    body: bytes
    payload: bytes
    fetched: str
    request_headers: Headers
    response_headers: Headers


class ShardWriter:
    """Writes pages into the shard of their URL; closing it writes the tables."""

    def __init__(self, out: Path, num_shards: int, warcinfo: Mapping[str, str]) -> None:
        self._folders = [out / shard_name("crawl", index) for index in range(num_shards)]
        self._pages: list[list[dict[str, Any]]] = [[] for _ in self._folders]
        self._fetches: list[list[dict[str, Any]]] = [[] for _ in self._folders]
        self._handles: list[io.BufferedWriter] = []
        self._writers: list[WARCWriter] = []
        for folder in self._folders:
            (folder / WARC).parent.mkdir(parents=True, exist_ok=True)
            handle = (folder / WARC).open("wb")
            writer = WARCWriter(handle, gzip=True, warc_version="1.1")
            writer.write_record(writer.create_warcinfo_record(Path(WARC).name, dict(warcinfo)))
            self._handles.append(handle)
            self._writers.append(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for index, folder in enumerate(self._folders):
            self._handles[index].close()
            write_jsonl(folder / PAGES, _in_url_order(self._pages[index]))
            write_jsonl(folder / FETCHES, _in_url_order(self._fetches[index]))

    def write(self, page: Page) -> None:
        """Append a page to the WARC of its shard."""
        index = shard_index(page.url, len(self._folders))
        offset = self._handles[index].tell()
        self._write_records(self._writers[index], page)
        sha256 = hashlib.sha256(page.payload).hexdigest()
        self._pages[index].append(
            {
                "url": page.url,
                "status": page.status,
                "content_type": page.content_type,
                "payload_sha256": sha256,
                "num_bytes": len(page.payload),
            }
        )
        self._fetches[index].append(
            {"url": page.url, "fetched": page.fetched, "offset": offset, "payload_sha256": sha256}
        )

    def _write_records(self, writer: WARCWriter, page: Page) -> None:
        status = f"{page.status} {responses.get(page.status, '')}".strip()
        # The body has lost its transfer coding, so the header that announces one would be a lie.
        headers = [(k, v) for k, v in page.response_headers if k.lower() != "transfer-encoding"]
        response = writer.create_warc_record(
            page.url,
            "response",
            payload=io.BytesIO(page.body),
            length=len(page.body),
            http_headers=StatusAndHeaders(status, headers, protocol="HTTP/1.1"),
            warc_headers_dict={"WARC-Date": page.fetched},
        )
        parts = urlsplit(page.url)
        target = urlunsplit(("", "", parts.path, parts.query, ""))
        sent = [("Host", parts.netloc), *page.request_headers]
        request_line = StatusAndHeaders(f"GET {target} HTTP/1.1", sent)
        request = writer.create_warc_record(
            page.url,
            "request",
            http_headers=request_line,
            warc_headers_dict={"WARC-Date": page.fetched},
        )
        writer.write_request_response_pair(request, response)


def _in_url_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["url"])
