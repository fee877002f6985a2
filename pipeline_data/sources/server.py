"""Serving a folder of web sites on this machine, many hosts behind one port.

The server takes the requests a client sends to a plain HTTP *proxy* (``GET http://host/path``).
With ``http_proxy`` set to its address, a crawl of reserved host names (RFC 2606) sees the same
URLs on every machine and needs no name service.

The folder holds ``<host>/<path>`` files and ``routes.json``: ``redirects`` (URL to URL), ``flaky``
(URLs that answer 503 the first time) and ``content_types`` (URL to header, where not by suffix).
"""

import json
import mimetypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROUTES = "routes.json"
HTML_UTF8 = "text/html; charset=utf-8"


@dataclass
class _Routes:
    redirects: Mapping[str, str] = field(default_factory=dict)
    flaky: set[str] = field(default_factory=set)
    content_types: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> "_Routes":
        path = directory / ROUTES
        content = json.loads(path.read_text()) if path.exists() else {}
        return cls(
            content.get("redirects", {}),
            set(content.get("flaky", ())),
            content.get("content_types", {}),
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory.resolve()
        self.routes = _Routes.read(directory)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small writes wait for the peer's delayed acknowledgement otherwise: 14 times slower.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        host = (url.netloc or self.headers.get("Host", "")).lower()
        address = f"http://{host}{url.path or '/'}" + (f"?{url.query}" if url.query else "")
        routes = self.server.routes
        if address in routes.redirects:
            self._answer(HTTPStatus.FOUND, b"", Location=routes.redirects[address])
        elif address in routes.flaky:
            routes.flaky.discard(address)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"try again\n")
        elif (path := self._find_file(host, unquote(url.path) or "/")) is None:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")
        else:
            guess = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            declared = HTML_UTF8 if guess == "text/html" else guess
            kind = routes.content_types.get(address, declared)
            self._answer(HTTPStatus.OK, path.read_bytes(), **{"Content-Type": kind})

    def _find_file(self, host: str, path: str) -> Path | None:
        if "\0" in path:
            return None
        root = self.server.directory / host
        relative = path.lstrip("/") + ("index.html" if path.endswith("/") else "")
        file = (root / relative).resolve()
        inside = file.is_relative_to(root) and root.parent == self.server.directory
        return file if inside and file.is_file() else None

    def _answer(self, status: HTTPStatus, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the crawl keeps its own log."""


@contextmanager
def serve_site(directory: Path) -> Iterator[str]:
    """Serve the folder for the length of a ``with`` block; gives the proxy's address."""
    server = _Server(directory)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
