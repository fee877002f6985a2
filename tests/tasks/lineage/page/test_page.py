"""The lineage page in a real browser: what it shows, finds and never does.

HEADWATER_SCREENSHOTS names a folder for pictures of what the tests saw.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from model_code.statistics import Measure
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.page import index as page_index
from tasks.lineage.page.page import embed, render_lineage
from tasks.store import Store, Tombstone
from tests.tasks.lineage.page.visit import CHROMIUM, Visit, needs_browser, sync_api, write
from tests.tasks.lineage.toy_chain import make, make_corpus, make_evaluation

pytestmark = pytest.mark.xdist_group("lineage")
TAKEN = "document.title='taken'"
HOSTILE = f'https://evil.example/</script><script>{TAKEN}</script><img src=x onerror="{TAKEN}">'


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="dark")
        yield Visit(page)
        browser.close()


@pytest.fixture(scope="module")
def catalogue(finished_home: Path) -> Catalogue:
    return Catalogue.open(Store(str(finished_home / "store"), finished_home / "cache"))


@pytest.fixture(scope="module")
def model(catalogue: Catalogue) -> Artifact:
    return catalogue.named("assistant")


@pytest.fixture(scope="module")
def page(catalogue: Catalogue, model: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(catalogue, model, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def documents(catalogue: Catalogue, model: Artifact) -> list[dict[str, Any]]:
    """Every row of every token shard that the model was made of."""
    return [
        {**row, "shard": artifact.shard}
        for artifact in catalogue.ancestry(model)
        if artifact.stage == "tokenize"
        for row in pq.read_table(artifact.path("tokens.parquet")).to_pylist()
    ]


def shards_of(catalogue: Catalogue, model: Artifact, stage: str) -> list[str]:
    return sorted({str(a.shard) for a in catalogue.ancestry(model) if a.stage == stage})


@needs_browser
def test_it_opens_by_itself_and_draws_every_stage(
    visit: Visit, page: Path, catalogue: Catalogue, model: Artifact
) -> None:
    browser = visit.open(page)
    ancestry = catalogue.ancestry(model)
    drawn = browser.eval_on_selector_all(".card", "all => all.map(card => card.dataset.stage)")
    assert sorted(drawn) == sorted({artifact.stage for artifact in ancestry})
    taken = {(p.stage, a.stage) for a in ancestry for p in a.parents}
    edges = browser.eval_on_selector_all(
        ".edge", "all => all.map(e => [e.dataset.parent, e.dataset.child])"
    )
    assert {tuple(edge) for edge in edges} == taken
    assert browser.locator("#digest").inner_text() == model.digest
    assert visit.trouble == []
    assert visit.requests == [page.as_uri()]
    if folder := os.environ.get("HEADWATER_SCREENSHOTS"):
        browser.screenshot(path=Path(folder, "lineage.png"), full_page=True)


@needs_browser
def test_a_stage_tells_what_is_on_record(
    visit: Visit, page: Path, catalogue: Catalogue, model: Artifact
) -> None:
    browser = visit.open(page)
    browser.locator(".card[data-stage=sft]").click()
    panel = browser.locator("#panel")
    sft = next(a for a in catalogue.ancestry(model) if a.stage == "sft")
    base = next(a for a in catalogue.ancestry(model) if a.stage == "pretrain")
    assert panel.get_by_role("heading", level=2).inner_text() == "sft"
    assert {sft.digest, sft.key} <= set(panel.locator("code").all_inner_texts())
    assert visit.number("demonstrations") == f"{sft.counts['demonstrations']:,}"
    text = panel.inner_text()
    assert "exact match, over base" in text
    assert f"in {sft.counts['steps']} steps" in text
    assert "100% attributed" in text
    panel.get_by_role("button", name="pretrain as base").click()
    assert base.digest in panel.locator("code").all_inner_texts()
    assert browser.locator(".card.selected").get_attribute("data-stage") == "pretrain"


@needs_browser
def test_a_page_is_found_in_its_shard_and_leads_to_the_model(
    visit: Visit,
    page: Path,
    catalogue: Catalogue,
    model: Artifact,
    documents: list[dict[str, Any]],
) -> None:
    visit.open(page)
    shards = shards_of(catalogue, model, "tokenize")
    crawled = next(row for row in documents if row["url"].startswith("http"))
    visit.search(crawled["url"])
    assert visit.number("tokens") == f"{crawled['num_tokens']:,}"
    assert visit.number("shard") == crawled["shard"]
    for stage in ("extract", "filter", "dedup", "decontaminate", "tokenize"):
        assert visit.cells_on(stage) == [shards.index(crawled["shard"])]
    assert visit.cells_on("crawl") == [int(crawled["shard"][-3:])]
    on = visit.stages_on()
    assert {"site", "crawl", "pretrain", "sft", "ppo", "practice"} <= on
    assert not on & {"curriculum", "evaluation-items", "tokenizer"}
    visit.page.keyboard.press("Escape")
    assert visit.stages_on() == set()


@needs_browser
def test_a_domain_is_summed_up_with_its_subdomains(
    visit: Visit, page: Path, documents: list[dict[str, Any]]
) -> None:
    visit.open(page)
    hosts = {urlsplit(row["url"]).netloc for row in documents}
    assert len(hosts) > 1
    for domain in [*hosts, "example"]:
        below = [
            row for row in documents if f".{urlsplit(row['url']).netloc}".endswith(f".{domain}")
        ]
        visit.search(domain)
        assert visit.number("documents") == f"{len(below):,}"
        assert visit.number("tokens") == f"{sum(row['num_tokens'] for row in below):,}"
        heldout = sum(row["num_tokens"] for row in below if row["split"] == "heldout")
        assert visit.number("tokens held out") == f"{heldout:,}"
        by_shard: dict[str, int] = defaultdict(int)
        for row in below:
            by_shard[row["shard"]] += row["num_tokens"]
        shown = visit.page.get_by_role("grid", name="shards with the domain").locator(".line")
        lines = [line.split("\n") for line in shown.all_inner_texts()]
        assert {line[0]: line[-1] for line in lines} == {k: f"{n:,}" for k, n in by_shard.items()}


@needs_browser
def test_it_finds_digests_shards_and_says_what_it_lacks(
    visit: Visit, page: Path, catalogue: Catalogue, model: Artifact
) -> None:
    tokens = next(a for a in catalogue.ancestry(model) if a.stage == "tokenize")
    browser = visit.open(page, f"{tokens.digest[:14]}%20")
    shown = browser.get_by_role("grid", name="artefacts").locator(".line")
    assert shown.count() == 1
    shown.click()
    assert tokens.digest in browser.locator("#panel code").all_inner_texts()
    visit.open(page, "100%")
    assert "Not among the" in browser.locator("#absent").inner_text()
    visit.search("http://www.example/nowhere-at-all")
    assert "Not among the" in browser.locator("#absent").inner_text()
    assert visit.stages_on() == set()


@needs_browser
def test_it_can_be_used_with_the_keyboard_alone(visit: Visit, page: Path) -> None:
    browser = visit.open(page)
    browser.keyboard.press("/")
    browser.keyboard.type("deco")
    browser.keyboard.press("ArrowDown")
    browser.keyboard.press("Enter")
    assert browser.locator("#panel h2").inner_text() == "decontaminate"
    browser.locator(".card[data-stage=decontaminate]").focus()
    browser.keyboard.press("ArrowDown")
    assert browser.evaluate("document.activeElement.dataset.stage") == "sample"
    browser.locator("#panel .grid .body").focus()
    browser.keyboard.press("ArrowDown")
    browser.keyboard.press("ArrowDown")
    browser.keyboard.press("Enter")
    assert browser.locator("#panel h2").inner_text() == "sample web-001"


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Store, Artifact]:
    """A model of three shards, one with a page whose address is an attack."""
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    shards = {
        "web-000": {
            "https://a.example/1": "one long text",
            "https://docs.a.example/2": "two words",
        },
        "web-001": {HOSTILE: "evil text", "https://a.example/3": "three"},
        "web-002": {"https://b.example/4": "another text"},
    }
    tokens = make_corpus(store, shards)
    model = make(
        store,
        "pretrain",
        inputs={"tokens": tokens},
        parts={"model": "weights"},
        config={"note": HOSTILE},
        facts={"created": "2026-01-01T00:00:00+00:00", "commit": "abc"},
    )
    measures = [
        Measure(HOSTILE, 0.5, 0.4, 0.6, 0.3, "higher"),
        Measure("loss", 0.5, 0.4, 0.6, 0.3, "lower"),
        Measure("share", 0.5, 0.4, 0.6, 0.45),
        Measure("seconds", 2, 1, 3),
    ]
    make_evaluation(store, "evaluate-base", {"base": model}, measures)
    return store, model


@needs_browser
def test_nothing_on_record_is_ever_run(
    visit: Visit, toy: tuple[Store, Artifact], tmp_path: Path
) -> None:
    path = write(Catalogue.open(toy[0]), toy[1], tmp_path)
    browser = visit.open(path)
    assert HOSTILE in browser.locator("#panel").inner_text()
    visit.search("evil")
    visit.search(HOSTILE)
    assert browser.locator("#panel h2").inner_text() == HOSTILE
    assert visit.number("shard") == "web-001"
    assert "taken" not in browser.title()
    assert browser.locator("img").count() == 0
    assert visit.trouble == []
    assert visit.requests == [path.as_uri()]


@needs_browser
def test_it_works_in_the_sandbox_of_another_page(
    visit: Visit, toy: tuple[Store, Artifact], tmp_path: Path
) -> None:
    """MLflow shows an HTML artefact in such a frame: scripts, but no origin and no forms."""
    write(Catalogue.open(toy[0]), toy[1], tmp_path)
    frame = tmp_path / "frame.html"
    frame.write_text('<iframe sandbox="allow-scripts" src="lineage.html"></iframe>')
    visit.page.goto(frame.as_uri())
    inside = visit.page.frame_locator("iframe")
    inside.get_by_label("Find").fill("a.example")
    inside.locator("body[data-ready=yes]").wait_for()
    inside.get_by_label("Find").press("Enter")
    assert inside.locator("#sums dd").first.inner_text() == "3"


@needs_browser
def test_a_table_of_many_shards_holds_only_what_is_in_sight(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    records = make(store, "ingest", parts={f"records-{k:03d}": str(k) for k in range(300)})
    model = make(store, "pretrain", inputs={"raw": records.part("records-123")})
    browser = visit.open(write(Catalogue.open(store), model, tmp_path))
    browser.locator(".card[data-stage=ingest]").click()
    table = browser.get_by_role("grid", name="shards of ingest")
    assert table.get_attribute("aria-rowcount") == "300"
    assert 5 < table.locator(".line").count() < 40
    table.locator(".body").press("End")
    assert table.locator(".line.active").inner_text().startswith("records-299")
    browser.get_by_label("Filter shards of ingest").fill("records-12")
    assert table.get_attribute("aria-rowcount") == "10"
    browser.get_by_role("gridcell", name="records-123").click()
    assert visit.stages_on() == {"ingest", "pretrain"}
    assert visit.cells_on("ingest") == [123 * 48 // 300]
    visit.search("records-007")
    assert visit.cells_on("ingest") == [7 * 48 // 300]
    assert visit.stages_on() == {"ingest"}
    monkeypatch.setattr(page_index, "MAX_ROWS", 100)
    browser = visit.open(write(Catalogue.open(store), model, tmp_path))
    browser.locator(".card[data-stage=ingest]").click()
    assert "251 more are not in this file" in browser.locator("#panel").inner_text()


@needs_browser
def test_measures_are_judged_by_their_intervals(
    visit: Visit, toy: tuple[Store, Artifact], tmp_path: Path
) -> None:
    browser = visit.open(write(Catalogue.open(toy[0]), toy[1], tmp_path))
    verdicts = browser.locator("#panel .measure .verdict").all_inner_texts()
    assert verdicts == ["▲ better", "▼ worse", "● no clear difference", "no baseline"]


class Elements(HTMLParser):
    """The elements of a page, as a browser without scripts would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.policy = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        assert not {"src", "href", "style"} & values.keys()
        assert not any(name.startswith("on") for name in values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values.get("content") or ""


def test_the_page_holds_nothing_that_could_reach_out(toy: tuple[Store, Artifact]) -> None:
    html = render_lineage(Catalogue.open(toy[0]), toy[1])
    elements = Elements(html)
    assert elements.tags.count("script") == 3
    assert not {"img", "link", "iframe", "object", "embed"} & set(elements.tags)
    assert elements.policy.startswith("default-src 'none';")
    assert "unsafe" not in elements.policy
    assert embed({"a": "</script>\u2028&"}) == '{"a": "\\u003c/script\\u003e\\u2028\\u0026"}'
    assert html == render_lineage(Catalogue.open(toy[0]), toy[1])


@needs_browser
def test_too_many_pages_and_hosts_are_told_of(
    visit: Visit,
    toy: tuple[Store, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_index, "MAX_PAGES", 4)
    monkeypatch.setattr(page_index, "MAX_HOSTS", 3)
    monkeypatch.setattr(page_index, "MAX_PLACES", 2)
    browser = visit.open(write(Catalogue.open(toy[0]), toy[1], tmp_path))
    visit.search("https://docs.a.example/2")
    assert "too many pages" in browser.locator("#panel").inner_text()
    assert visit.cells_on("tokenize") == [0]
    visit.search("a.example")
    assert visit.number("documents") == "at least 3"
    assert "too many shards" in browser.locator("#panel").inner_text()
    assert "tokenize" in visit.stages_on()
    assert visit.cells_on("tokenize") == []


@needs_browser
def test_what_was_erased_is_told_and_its_pages_are_gone(
    visit: Visit, toy: tuple[Store, Artifact], tmp_path: Path
) -> None:
    store, model = toy
    catalogue = Catalogue.open(store)
    for artifact in catalogue.ancestry(model):
        if artifact.shard == "web-001" and artifact.stage in ("extract", "tokenize"):
            store.erase(artifact, Tombstone("2026-02-03T00:00:00+00:00", "asked to", "alice"))
    browser = visit.open(write(Catalogue.open(store), model, tmp_path))
    assert "2 of its artefacts were erased" in browser.locator("header").first.inner_text()
    assert browser.locator(".card.erased").count() == 2
    gone = browser.locator(".card[data-stage=tokenize] .strip rect")
    assert [cell.get_attribute("class") for cell in gone.all()] == [None, "gone", None]
    visit.search(HOSTILE)
    assert "Not among the 3 pages" in browser.locator("#absent").inner_text()
    browser.locator(".card[data-stage=tokenize]").click()
    browser.get_by_role("grid").get_by_text("web-001", exact=True).click()
    assert "Erased 2026-02-03 by alice: asked to" in browser.locator("#panel").inner_text()


def test_a_missing_ancestor_is_named(toy: tuple[Store, Artifact]) -> None:
    store, model = toy
    lost = next(a for a in Catalogue.open(store).ancestry(model) if a.stage == "filter")
    store.discard(lost)
    with pytest.raises(ArtifactError, match=f"filter {lost.digest[:12]} is gone"):
        render_lineage(Catalogue.open(store), model)
