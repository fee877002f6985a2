"""The corpus report."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline_data.artifact import hash_file
from pipeline_data.corpus.report import report
from pipeline_data.corpus.report.page import format_percent, format_short
from pipeline_data.corpus.report.plots import INK, SERIES, plot_fates, plot_lengths
from pipeline_data.corpus.report.queries import QUERIES
from pipeline_data.corpus.report.views import VIEWS
from pipeline_data.corpus.settings import CorpusReportConfig
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.report.report_material import HOSTILE, Roles, make_corpus

GOLDEN = {
    "report.json": "014830f5247d1931b6d417fa911a62b944542f0d43b35e6f553b176dbda78e26",
    "report.md": "506b4b9891734e9319fcf134030b6a67c0aed87a75c2eaf3c477f93e53c69c82",
}
VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Roles:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def folder(roles: Roles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    report.run(CorpusReportConfig(), Inputs(roles), out, Runtime())
    return out


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, list[dict[str, Any]]]:
    tables = json.loads((folder / "report.json").read_text())
    return {
        name: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for name, table in tables.items()
    }


class Page(HTMLParser):
    """Checks that tags nest, and keeps what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_corpus(answers: dict[str, list[dict[str, Any]]]) -> None:
    rules = [(row["stage"], row["rule"], row["num_documents"]) for row in answers["rules"]]
    assert rules == [
        ("extract", "damaged", 3),
        ("filter", "c4_quality", 1),
        ("filter", "gopher_quality", 1),
        ("dedup", "near", 1),
        ("decontaminate", "quiz", 1),
    ]
    assert [(row["source"], row["split"], row["num_documents"]) for row in answers["tokens"]] == [
        ("web", "train", 4),
        ("web", "heldout", 1),
        ("books", "train", 1),
        ("books", "heldout", 1),
    ]
    assert answers["languages"] == [{"language": "en", "num_documents": 9}]
    assert [(row["domain"], row["num_documents"]) for row in answers["domains"]] == [
        ("www.a.example", 5),
        ("", 2),
    ]
    assert [(row["reason"], row["num_records"]) for row in answers["damaged"]] == [
        (f"{HOSTILE.replace('2', 'N')} at offset N", 2),
        ("torn", 1),
    ]
    assert [(row["source"], row["num_records"]) for row in answers["passed"]] == [
        ("web", 8),
        ("books", 4),
    ]
    assert answers["evaluations"] == [
        {
            "evaluation": "quiz",
            "num_items": 5,
            "num_not_judged": 1,
            "num_items_found": 2,
            "num_documents": 1,
        }
    ]
    assert [row["item"] for row in answers["items"]] == ["quiz#0", "quiz#1"]
    assert [row["num_duplicates"] for row in answers["clusters"]] == [1]
    assert answers["similarities"] == [{"percent": 85, "num_documents": 1}]


def test_counts_sum_up(roles: Roles, tmp_path: Path) -> None:
    counts = report.run(CorpusReportConfig(), Inputs(roles), tmp_path / "out", Runtime())
    assert counts["num_records"] == 14
    assert counts["num_kept"] == 7
    assert counts["num_removed"] == 7
    assert counts["num_tokens"] == 5 * 6 + 25 + 250


def test_rankings_and_samples_are_as_long_as_asked(roles: Roles, tmp_path: Path) -> None:
    config = CorpusReportConfig(num_samples=1, num_top=1)
    report.run(config, Inputs(roles), tmp_path / "out", Runtime())
    tables = json.loads((tmp_path / "out/report.json").read_text())
    assert len(tables["domains"]["rows"]) == len(tables["items"]["rows"]) == 1
    assert len(tables["samples"]["rows"]) == 5


def test_the_page_is_sound_and_names_nothing_outside_itself(page: Page) -> None:
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object"}
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_pages_say_is_shown_as_text(page: Page, folder: Path) -> None:
    assert "<script" not in (folder / "report.html").read_text(encoding="utf-8")
    assert page.text.count(HOSTILE) >= 4


def test_samples_show_the_number_the_limit_and_the_text(page: Page) -> None:
    assert "1.25, limit 0.2" in page.text
    assert "Text 7.\nMore." in page.text


def test_the_page_can_be_read_by_everybody(page: Page) -> None:
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == tags.count("main") == 1
    assert ("html", {"lang": "en"}) in page.tags
    assert tags.count("table") == tags.count("caption")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == 3
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    targets = {a["href"] for tag, a in page.tags if tag == "a"}
    assert targets == {f"#{a['id']}" for tag, a in page.tags if tag == "section"}


def test_every_query_and_view_is_on_the_page(page: Page, folder: Path) -> None:
    tables = json.loads((folder / "report.json").read_text())
    assert list(tables) == sorted(QUERIES)
    for table in tables.values():
        assert table["query"] in page.text
    for text in VIEWS.values():
        assert text in page.text


def test_the_summary_is_short_markdown(folder: Path) -> None:
    lines = (folder / "report.md").read_text().splitlines()
    assert lines[0] == "# Corpus report"
    assert "| web | 11 | 8 | 6 | 5 | 5 | 30 |" in lines
    assert "| extract: damaged | 3 | 21.4% |" in lines
    assert "| filter: c4\\_quality | 1 | 7.1% |" in lines
    assert len(lines) < 40


def test_an_empty_corpus_has_a_report(tmp_path: Path) -> None:
    counts = report.run(CorpusReportConfig(), Inputs({}), tmp_path / "out", Runtime())
    assert counts["num_records"] == 0
    text = Page((tmp_path / "out/report.html").read_text()).text
    assert "Nothing was removed." in text
    assert "Every record could be read." in text
    assert "The recipe names none" in text


def test_digests_are_the_known_ones(folder: Path) -> None:
    """A digest that changed means another report for the same key: raise the stage's version."""
    found = {name: hash_file(folder / name) for name in GOLDEN}
    assert found == GOLDEN


RUN = """
import pickle, sys
from pathlib import Path
from pipeline_data.corpus.report import report
from pipeline_data.corpus.settings import CorpusReportConfig
from pipeline_data.stage_run import Inputs, Runtime
inputs = Inputs(pickle.load(sys.stdin.buffer))
report.run(CorpusReportConfig(), inputs, Path(sys.argv[1]), Runtime(threads=3))
"""


def test_the_same_corpus_gives_the_same_bytes(roles: Roles, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\n")
    environment = {**os.environ, "PYTHONHASHSEED": "5", "MATPLOTLIBRC": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "out")],
        input=pickle.dumps(roles), env=environment, check=True,
    )  # fmt: skip
    for name in ("report.html", "report.md", "report.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


Plot = Callable[[], str]
NOTHING = dict.fromkeys(("num_documents", "num_filtered", "num_deduplicated", "num_kept"))


@pytest.mark.parametrize(
    "plot",
    [
        lambda: plot_fates([{"source": "$a$ <b> \u6f22", "num_records": 0} | NOTHING]),
        lambda: plot_fates([]),
        lambda: plot_lengths([{"log2_bytes": 40, "num_documents": 0, "num_tokens": 0}]),
        lambda: plot_lengths([]),
    ],
)  # fmt: skip
def test_plots_take_any_numbers_and_names(plot: Plot) -> None:
    svg = plot()
    assert Page(svg).open == []
    assert not any(colour in svg for colour in (*SERIES, INK))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99,999"), (123_456, "123 k"), (999_600, "1 M"), (3 * 10**12, "3 T")],
)
def test_short_numbers(value: int, text: str) -> None:
    assert format_short(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "0.0%"), (1, 10_000, "<0.1%"), (1, 3, "33.3%")]
)
def test_percentages(part: int, whole: int, text: str) -> None:
    assert format_percent(part, whole) == text
