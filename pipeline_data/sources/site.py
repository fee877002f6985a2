"""Stage ``site``: a practice web site of real texts, with the troubles of the real web.

Optional input role ``packages`` (downloads); what they lack is left out and the counts say so.
Output: ``site/<host>/<path>`` and ``site/routes.json`` as :mod:`server` serves them, and
``truth.parquet`` with ``url`` and ``kind`` of every page, the known answers. Host names end in
``.example``, which is reserved for such use (RFC 2606).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline_data.artifact import Counts
from pipeline_data.formats import write_table
from pipeline_data.sources.crawl import SITE
from pipeline_data.sources.package_files import package_path
from pipeline_data.sources.server import ROUTES
from pipeline_data.sources.settings import SiteConfig
from pipeline_data.sources.site_pages import (
    DOCS,
    HOME,
    Page,
    contact_pages,
    docs_pages,
    encyclopedia_pages,
    index_page,
    private_pages,
    recipe_pages,
    spam_pages,
)
from pipeline_data.sources.site_template import Link
from pipeline_data.stage_run import Inputs, Runtime

TRUTH = pa.schema([("url", pa.string()), ("kind", pa.string())])
_LINKS_PER_INDEX = 100
_FLAKY_EVERY = 200


def run(config: SiteConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write the site; returns the number of pages of each kind."""
    archives = [package_path(package) for package in inputs.many("packages")]
    pages = [
        *docs_pages(archives, config),
        *encyclopedia_pages(archives, config, "en", config.encyclopedia_share, "en-us"),
        *encyclopedia_pages(archives, config, "fr", config.foreign_share, "fr-fr"),
        *encyclopedia_pages(archives, config, "es", config.foreign_share, "es-es"),
        *recipe_pages(archives, config),
        *contact_pages(config),
        *spam_pages(config),
        *private_pages(config),
    ]
    flaky = [page.url for page in pages if page.kind in ("encyclopedia", "contact")]
    moved = f"{HOME}/moved.html"
    pages += _host_indexes(pages)
    pages.append(_home_page(pages, moved))
    pages += _odd_files(config)
    for done, page in enumerate(pages, 1):
        _write_page(out / SITE, page)
        runtime.progress(done, len(pages), "pages")
    routes = {
        "content_types": {page.url: page.content_type for page in pages if page.content_type},
        "flaky": flaky[::_FLAKY_EVERY],
        "redirects": {moved: f"{HOME}/"},
    }
    (out / SITE / ROUTES).write_text(json.dumps(routes, indent=1, sort_keys=True) + "\n")
    rows = sorted(({"url": p.url, "kind": p.kind} for p in pages), key=lambda row: row["url"])
    write_table(out / "truth.parquet", TRUTH, rows)
    kinds = Counter(page.kind for page in pages)
    return {
        "num_packages": len(archives),
        "num_files": len(pages),
        "num_bytes": sum(len(page.body) for page in pages),
        **{f"num_{kind}": count for kind, count in sorted(kinds.items())},
    }


def _host_indexes(pages: Sequence[Page]) -> list[Page]:
    """Lists of all pages of each host, a hundred links on each."""
    by_host: dict[str, list[Link]] = defaultdict(list)
    for page in pages:
        by_host[_origin(page.url)].append((page.title, page.url))
    indexes = []
    for host, links in sorted(by_host.items()):
        for number, start in enumerate(range(0, len(links), _LINKS_PER_INDEX), 1):
            url = f"{host}/contents-{number}.html"
            chunk = links[start : start + _LINKS_PER_INDEX]
            indexes.append(index_page(url, f"Contents of {host}, {number}", chunk))
    return indexes


def _home_page(pages: Sequence[Page], moved: str) -> Page:
    links = [(page.title, page.url) for page in pages if page.kind == "index"]
    links += [
        ("Documentation", f"{DOCS}/"),
        ("An old address", moved),
        ("A table", f"{HOME}/table.csv"),
        ("Everything on one page", f"{HOME}/everything.html"),
        ("A page that is gone", f"{HOME}/gone.html"),
        ("Another that is gone", f"{DOCS}/no/such/page.html"),
        ("A neighbour", "http://elsewhere.example/"),
    ]
    return index_page(f"{HOME}/", "Welcome", links)


def _odd_files(config: SiteConfig) -> list[Page]:
    """A file that is no page, a page that is too large, and what crawlers are asked to do."""
    line = b"<p>This page goes on and on, and no reader has yet come to the end of it.</p>\n"
    large = b"<!DOCTYPE html>\n<title>Everything</title>\n"
    large += line * (config.large_page_bytes // len(line) + 1)
    robots = b"User-agent: *\nDisallow: /private/\nAllow: /\n"
    return [
        Page(f"{HOME}/table.csv", "not_html", b"name,number\none,1\ntwo,2\n", "table"),
        Page(f"{HOME}/everything.html", "too_large", large, "everything"),
        Page(f"{HOME}/robots.txt", "robots", robots, "robots"),
        Page(f"{DOCS}/robots.txt", "robots", b"User-agent: *\nDisallow: /search.html\n", "robots"),
    ]


def _origin(url: str) -> str:
    return f"http://{urlsplit(url).netloc}"


def _write_page(folder: Path, page: Page) -> None:
    parts = urlsplit(page.url)
    path = folder / parts.netloc / (parts.path.lstrip("/") or "index.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.body)
