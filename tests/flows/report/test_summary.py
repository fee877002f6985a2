"""The EU training-content summary: the template's sections, every number from the files."""

import csv
import io
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from flows.report.corpus import Listing
from flows.report.record import ModelRecord, read_record
from flows.report.summary import render_domains, render_summary
from tests.flows.report.homes import (
    copy_home,
    number,
    open_catalogue,
    read_recipe,
    read_table,
    write_recipe,
)
from tests.flows.report.truth import one, read_truth

pytestmark = pytest.mark.xdist_group("lineage")

TEMPLATE = [
    "## 1. General information",
    "### 1.1. Provider identification",
    "### 1.2. Model identification",
    "### 1.3. Modalities, overall training data size and other characteristics",
    "## 2. List of data sources",
    "### 2.1. Publicly available datasets",
    "### 2.2. Private non-publicly available datasets obtained from third parties",
    "#### 2.2.1. Datasets commercially licensed by rightsholders or their representatives",
    "#### 2.2.2. Private datasets obtained from other third parties",
    "### 2.3. Data crawled and scraped from online sources",
    "### 2.4. User data",
    "### 2.5. Synthetic data",
    "### 2.6. Other sources of data",
    "## 3. Data processing aspects",
    "### 3.1. Respect of reservation of rights from text and data mining exception or limitation",
    "### 3.2. Removal of illegal content",
    "### 3.3. Other information",
]


@pytest.fixture(scope="module")
def summary(record: ModelRecord) -> str:
    return render_summary(record)


def summarise(home: Path, changes: dict[str, Any]) -> str:
    """The summary after the recipe on record said something else."""
    write_recipe(home, read_recipe(home) | changes)
    catalogue = open_catalogue(home)
    return render_summary(read_record(catalogue, catalogue.named("assistant")))


@pytest.fixture
def home(report_home: Path, tmp_path: Path) -> Path:
    return copy_home(report_home, tmp_path)


def test_the_sections_are_those_of_the_commissions_template(summary: str) -> None:
    headings = [line for line in summary.splitlines() if line.startswith("#")]
    assert [h for h in headings if h[h.index(" ") + 1].isdigit()] == TEMPLATE


def test_sizes_are_those_of_the_shards(summary: str, report_home: Path) -> None:
    truth = read_truth(report_home)
    told = {r[0]: [number(n) for n in r[3:6]] for r in read_table(summary, "source | section")}
    assert told == {
        s: [c[s, "train"] for c in (truth.documents, truth.tokens, truth.bytes)]
        for s in ("web", "world")
    }
    tokens, documents, size = (
        sum(c[s, "train"] for s in told) for c in (truth.tokens, truth.documents, truth.bytes)
    )
    line = f"{tokens:,} tokens in {documents:,} documents, {size:,} bytes of text"
    assert f"less than 1 billion tokens: {line}" in summary
    english, unknown = truth.languages["en"], truth.languages[""]
    assert f"en: {english:,} documents, not identified: {unknown:,} documents" in summary


def test_the_crawl_is_told_as_it_was_run_and_what_it_met(
    summary: str, record: ModelRecord, report_home: Path
) -> None:
    crawl, folder = one(report_home, "crawl")
    pages = sum(len(p.read_text().splitlines()) for p in folder.glob("crawl-*/pages.jsonl"))
    refused = (folder / "provenance/refused.jsonl").read_text().splitlines()
    robots = sum('"robots"' in line for line in refused)
    assert "`headwater/0.1`" in summary
    assert f"{pages:,} pages kept" in summary
    assert f"no page from {len(refused):,} addresses" in summary
    assert f"{robots:,} addresses were left alone because of it" in summary
    assert "obeys robots.txt" in summary
    assert "reached no server of anybody else" in summary
    fetched = read_truth(report_home).fetched
    first, last = (f"{time[5:7]}/{time[:4]}" for time in (min(fetched), max(fetched)))
    assert f"| Period of data collection | {first} to {last} |" in summary
    assert crawl["config"]["obey_robots"]
    hosts = read_truth(report_home).hosts
    ranked = sorted(hosts, key=lambda host: (-hosts[host]["bytes"], host))
    listed = [r[0] for r in read_table(summary, "host ")]
    assert listed == ranked[: ceil(len(ranked) / 10)]
    rows = list(csv.reader(io.StringIO(render_domains(record))))[1:]
    assert [r[0] for r in rows] == listed


def test_the_path_of_documents_through_the_corpus_adds_up(summary: str, report_home: Path) -> None:
    truth = read_truth(report_home)
    extract = sum(n for (stage, _), n in truth.dropped.items() if stage == "extract")
    filtered = truth.languages.total()
    flat = " ".join(summary.split())
    assert (
        f"Of {truth.extracted + extract:,} records, text was taken from {truth.extracted:,}; "
        f"{filtered:,} of these passed the filters, {truth.deduplicated:,} were no duplicates, and "
        f"{truth.kept:,} held no item of an evaluation set."
    ) in flat


def test_a_source_stands_where_its_category_belongs(home: Path) -> None:
    sources = read_recipe(home)["sources"]
    told = {
        "description": "Letters",
        "licence": "CC-BY-4.0",
        "homepage": "https://letters.example/",
    }
    places = {
        "public-dataset": ("2.1", "Have publicly available datasets been used to train the model?"),
        "licensed-dataset": ("2.2.1", "Have transactional commercial licensing agreements been"),
        "private-dataset": ("2.2.2", "Have private datasets been obtained from third parties?"),
        "user-data": ("2.4", "other services or products used to train the model?"),
        "other": ("2.6", "Have other data sources been used?"),
    }
    for category, (section, question) in places.items():
        web = sources["web"] | told | {"category": category}
        text = summarise(home, {"sources": sources | {"web": web}})
        table = {row[0]: row for row in read_table(text, "source | section")}
        assert table["web"][1:3] == [section, "CC-BY-4.0"]
        answer = text.split(question)[1].split("**")[1]
        assert answer == "Yes"
        assert "Letters" in text.split(question)[1].split("\n###")[0]
    assert "Were crawlers used by the provider or on its behalf? **No**" in text


def test_what_the_provider_says_in_the_recipe_stands_there(home: Path, summary: str) -> None:
    assert "set provider.name and provider.contact in the recipe" in summary
    assert "set provider.signed_code_of_practice in the recipe" in summary
    provider = {
        "name": "Ada & Sons",
        "contact": "Mill Lane 1",
        "placed_on_market": "2026-02-01",
        "signed_code_of_practice": True,
        "is_sme": True,
    }
    text = summarise(home, {"provider": provider})
    assert "| Ada \\& Sons, Mill Lane 1 |" in text
    assert "| 2026-02-01 |" in text
    assert "Signatory of" not in text
    assert "general-purpose AI models: yes" in text
    assert "the largest twentieth, at most a thousand" in text


def test_a_source_without_licence_or_recipe_says_so(home: Path) -> None:
    sources = {
        name: {k: v for k, v in source.items() if k not in ("licence", "description")}
        for name, source in read_recipe(home)["sources"].items()
    }
    text = summarise(home, {"sources": sources})
    table = {row[0]: row for row in read_table(text, "source | section")}
    assert table["web"][2].startswith("*not on record*")
    assert "set a description for each source in the recipe" in text


@pytest.mark.parametrize(
    ("listing", "num_domains", "length"),
    [
        (Listing(["web"], 0.1), 1, 1),
        (Listing(["web"], 0.1), 10, 1),
        (Listing(["web"], 0.1), 11, 2),
        (Listing(["web"], 0.1), 1_000_000, 100_000),
        (Listing(["web"], 0.05, 1_000), 30, 2),
        (Listing(["web"], 0.05, 1_000), 1_000_000, 1_000),
    ],
)
def test_as_many_domains_are_listed_as_the_template_wants(
    listing: Listing, num_domains: int, length: int
) -> None:
    assert listing.length(num_domains) == length
