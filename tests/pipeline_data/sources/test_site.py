import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Artifact
from pipeline_data.sources import crawl, site
from pipeline_data.sources.raw.html import decode_html
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.settings import CrawlConfig, ReaderConfig, SiteConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt, package

CONFIG = SiteConfig(
    encyclopedia_share=0.5,
    recipe_share=0.5,
    foreign_share=1.0,
    entries_per_page=2,
    mirror_share=0.3,
    near_share=0.3,
    num_spam_pages=4,
    num_contact_pages=3,
    num_private_pages=2,
    large_page_bytes=50_000,
    max_docs_page_bytes=20_000,
)


def entries(language: str) -> dict[str, Any]:
    return {
        f"{language} {n}": {"title": f"Titre é {n}", "extract": f"Text {n}.", "topic": f"T{n % 2}"}
        for n in range(24)
    }


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    docs = {
        f"lib-1.0/doc/part/{n}.html": b"<html><p>Page %d.</p><p>More.</p></html>" % n
        for n in range(30)
    }
    recipe = {"title": "Soup", "category": "Soups", "servings": None, "time": "1 h"}
    recipe |= {"ingredients": ["water", "<salt>"], "steps": ["Boil.", "Serve."]}
    members = {
        **docs,
        "lib-1.0/doc/large.html": b"x" * 30_000,
        **{f"lib-1.0/doc/_modules/{n}.html": b"<html>code</html>" for n in range(9)},
        **{f"w/summaries_{name}.json": entries(name) for name in ("en-us", "fr-fr", "es-es")},
        "r/recipes_en-us.json": {f"Recipe {n}": recipe for n in range(20)},
    }
    return package(tmp_path_factory.mktemp("packages") / "p", members)


def build(
    config: SiteConfig, packages: list[Artifact], out: Path
) -> tuple[Artifact, dict[str, Any]]:
    counts = dict(site.run(config, Inputs({"packages": packages}), out, Runtime()))
    return adopt(out, "site"), counts


def truth_of(built: Artifact) -> dict[str, str]:
    rows = pq.read_table(built.path("truth.parquet")).to_pylist()
    return {row["url"]: row["kind"] for row in rows}


def body_of(built: Artifact, url: str) -> bytes:
    parts = urlsplit(url)
    name = parts.path.lstrip("/") or "index.html"
    return built.path(f"site/{parts.netloc}/{name}").read_bytes()


def test_same_config_and_packages_give_the_same_bytes(texts: Artifact, tmp_path: Path) -> None:
    first, _ = build(CONFIG, [texts], tmp_path / "a")
    second, _ = build(CONFIG, [texts], tmp_path / "b")
    other, _ = build(CONFIG.model_copy(update={"seed": 1}), [texts], tmp_path / "c")
    assert first.digest == second.digest != other.digest


def test_truth_names_every_page_and_copies_are_what_they_say(
    texts: Artifact, tmp_path: Path
) -> None:
    built, counts = build(CONFIG, [texts], tmp_path / "out")
    truth = truth_of(built)
    on_disk = [p for p in (tmp_path / "out/site").rglob("*") if p.is_file()]
    assert len(truth) == len(on_disk) - 1  # and routes.json
    kinds = set(truth.values())
    assert {"docs", "mirror", "near_duplicate", "encyclopedia", "language_fr", "recipe"} < kinds
    assert counts["num_docs"] == 35  # without the large page and all but five listings
    assert "http://docs.example/large.html" not in truth
    for url, kind in truth.items():
        if kind in ("mirror", "near_duplicate"):
            original = body_of(built, f"http://docs.example{urlsplit(url).path}")
            assert (body_of(built, url) == original) is (kind == "mirror")


def test_shares_are_by_the_hash_of_the_key(texts: Artifact, tmp_path: Path) -> None:
    small, _ = build(CONFIG.model_copy(update={"recipe_share": 0.2}), [texts], tmp_path / "a")
    large, _ = build(CONFIG.model_copy(update={"recipe_share": 0.8}), [texts], tmp_path / "b")
    few, many = (
        {url for url, kind in truth_of(built).items() if kind == "recipe"}
        for built in (small, large)
    )
    assert few < many


def test_without_packages_the_rest_is_built(tmp_path: Path) -> None:
    built, counts = build(CONFIG, [], tmp_path / "out")
    assert counts["num_packages"] == 0
    assert "num_docs" not in counts
    assert set(truth_of(built).values()) >= {"spam", "contact", "private", "index"}


def test_text_in_an_old_charset_is_declared_in_the_page_alone(
    texts: Artifact, tmp_path: Path
) -> None:
    built, _ = build(CONFIG, [texts], tmp_path / "out")
    routes = json.loads(built.path("site/routes.json").read_text())
    assert routes["content_types"]
    for url, content_type in routes["content_types"].items():
        assert "Titre é" in decode_html(body_of(built, url), content_type)


def test_crawl_of_the_site_finds_every_page_it_may(texts: Artifact, tmp_path: Path) -> None:
    built, _ = build(CONFIG, [texts], tmp_path / "site")
    hosts = ("www", "docs", "wiki", "recipes", "people", "deals")
    config = CrawlConfig(
        start_urls=("http://www.example/",),
        allowed_domains=tuple(f"{host}.example" for host in hosts),
        max_page_bytes=40_000,
        shards=1,
    )
    counts = crawl.run(config, Inputs({"site": built}), tmp_path / "crawl", Runtime())
    part = adopt(tmp_path / "crawl").part("crawl-000")
    records = list(read_raw(part, ReaderConfig(format="crawl")))
    truth = truth_of(built)
    no_page = {"private", "robots", "too_large", "not_html"}
    # The crawl of www.example includes fr. and es.wiki.example, as subdomains of wiki.example.
    expected = {url for url, kind in truth.items() if kind not in no_page}
    assert {r.url for r in records if isinstance(r, RawRecord)} == expected
    assert counts["num_refused_robots"] == CONFIG.num_private_pages
    reasons = {"status", "size", "type", "redirect", "scope"}
    assert reasons <= {str(name).removeprefix("num_refused_") for name in counts}
