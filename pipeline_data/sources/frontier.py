"""Which URLs a crawl may ask for, round by round.

A crawl goes in rounds: all pages found in one round are known before the next begins. So a page's
depth, the set of pages asked for, and what the page limit cuts off follow from the site alone and
never from the order in which answers arrive.

The limit counts URLs asked for. When a round would pass it, the first of the round's URLs in URL
order are taken and the rest are refused, as is all that is found later.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

from w3lib.url import safe_url_string

from pipeline_data.sources.settings import CrawlConfig

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, order=True)
class Target:
    """A URL to ask for and its distance from a start page in links (a redirect is none)."""

    url: str
    depth: int


def resolve_link(base: str, link: str) -> str | None:
    """An absolute URL in one spelling (no fragment, host in lower case), or nothing if not HTTP."""
    try:
        parts = urlsplit(safe_url_string(urljoin(base, link.strip())))
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        return None
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


class Frontier:
    """The URLs asked for, to be asked for, and refused."""

    def __init__(self, config: CrawlConfig) -> None:
        starts = [resolve_link(url, url) for url in config.start_urls]
        self._config = config
        self._hosts = frozenset(urlsplit(url).hostname for url in starts if url)
        self._asked: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._too_deep: dict[str, str] = {}
        self._refused: dict[str, tuple[str, str]] = {}
        for given, url in zip(config.start_urls, starts, strict=True):
            if url is None:
                self.refuse(given, "scope", "not an HTTP URL")
            else:
                self._offer(url, 0, "")

    def next_round(self) -> list[Target]:
        """The URLs to ask for now, in URL order; empty when the crawl is over."""
        targets = [Target(url, depth) for url, depth in sorted(self._waiting.items())]
        self._waiting = {}
        room = self._config.max_pages - len(self._asked)
        for target in targets[room:]:
            self.refuse(target.url, "limit", f"max_pages {self._config.max_pages}")
        self._asked.update(target.url for target in targets[:room])
        return targets[:room]

    def add_links(self, page: Target, links: Iterable[str], base: str = "") -> None:
        """Take note of a page's links, as written in it, relative to its ``<base href>``."""
        origin = resolve_link(page.url, base) or page.url
        for link in links:
            url = resolve_link(origin, link)
            if url is not None:
                self._offer(url, page.depth + 1, page.url)

    def add_redirect(self, page: Target, location: str) -> None:
        """Take note of where a page has moved; the new place has the depth of the old."""
        url = resolve_link(page.url, location)
        if url is not None:
            self._offer(url, page.depth, page.url)

    def refuse(self, url: str, reason: str, detail: str = "") -> None:
        """Take note of why a URL gave no page; the first reason stays."""
        self._refused.setdefault(url, (reason, detail))

    def refused(self) -> list[dict[str, str]]:
        """Every URL that gave no page, with ``reason`` and ``detail``, in URL order."""
        rows = dict(self._refused)
        for url in self._too_deep.keys() - self._asked:
            rows.setdefault(url, ("depth", f"max_depth {self._config.max_depth}"))
        return [{"url": u, "reason": r, "detail": d} for u, (r, d) in sorted(rows.items())]

    def _offer(self, url: str, depth: int, found_on: str) -> None:
        if url in self._asked:
            return
        if not self._in_scope(url):
            self.refuse(url, "scope", found_on)
        elif depth > self._config.max_depth:
            self._too_deep[url] = found_on
        else:
            self._waiting[url] = min(depth, self._waiting.get(url, depth))

    def _in_scope(self, url: str) -> bool:
        host = urlsplit(url).hostname or ""
        if not self._config.allowed_domains:
            return host in self._hosts
        domains = (domain.lower() for domain in self._config.allowed_domains)
        return any(host == domain or host.endswith(f".{domain}") for domain in domains)
