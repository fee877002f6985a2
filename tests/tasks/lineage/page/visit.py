"""A browser's look at a lineage page."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.page.page import render_lineage

if TYPE_CHECKING:
    from playwright.sync_api import Page

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no browser tests without the Python package playwright"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser tests without chromium: install it"
)


def write(catalogue: Catalogue, model: Artifact, folder: Path) -> Path:
    path = folder / "lineage.html"
    path.write_text(render_lineage(catalogue, model), encoding="utf-8")
    return path


class Visit:
    """A page of the browser, and what it did."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.trouble: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, query: str = "") -> "Page":
        self.page.goto("about:blank")  # another fragment alone opens nothing
        self.trouble.clear()
        self.requests.clear()
        self.page.goto(f"{path.as_uri()}#{query}" if query else path.as_uri())
        self.page.wait_for_selector("body[data-ready=yes]")
        return self.page

    def search(self, text: str) -> None:
        self.page.get_by_label("Find").fill(text)
        self.page.keyboard.press("Enter")

    def stages_on(self) -> set[str]:
        """The stages that the search marked."""
        return set(
            self.page.eval_on_selector_all(".card.on", "all => all.map(c => c.dataset.stage)")
        )

    def cells_on(self, stage: str) -> list[int]:
        """Which shards of a stage the search marked, by place."""
        found: list[int] = self.page.eval_on_selector_all(
            f".card[data-stage='{stage}'] .strip rect",
            "all => all.flatMap((cell, k) => cell.classList.contains('hit') ? [k] : [])",
        )
        return found

    def number(self, label: str) -> str:
        """A number of the panel."""
        item = self.page.locator(
            "#panel .numbers div", has=self.page.get_by_text(label, exact=True)
        )
        text: str = item.locator("dd").inner_text()
        return text
