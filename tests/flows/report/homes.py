"""Homes to report on, and what is written in their papers."""

import re
import shutil
from pathlib import Path
from typing import Any

from tasks.lineage.catalogue import Catalogue
from tasks.store import Store

Table = list[list[str]]


def copy_home(home: Path, folder: Path) -> Path:
    """A copy in a folder, without the caches, which know where the files of the first lie."""
    ignored = shutil.ignore_patterns("cache")
    return Path(shutil.copytree(home, folder / "home", ignore=ignored))


def open_catalogue(home: Path) -> Catalogue:
    return Catalogue.open(Store(str(home / "store"), home / "cache"))


def read_recipe(home: Path) -> dict[str, Any]:
    """The recipe on record of the assistant's run."""
    registry = Store(str(home / "store"), home / "cache").registry
    return registry.load_recipe(str(registry.find("assistant").recipe_digest))


def write_recipe(home: Path, recipe: dict[str, Any]) -> None:
    """Make it the recipe on record of every version of every name."""
    store = Store(str(home / "store"), home / "cache")
    digest = store.registry.save_recipe(recipe)
    for name in store.names():
        path = f"references/{name}.json"
        names = store.read_json(path) or {}
        for version in names["versions"]:
            version["recipe_digest"] = digest
        store.write_json(path, names)


def read_table(markdown: str, heading: str) -> Table:
    """The rows of the table whose heading row starts with ``heading``, as plain text."""
    lines = iter(markdown.splitlines())
    for line in lines:
        if line.startswith(f"| {heading}"):
            next(lines)
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([_plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _plain(cell: str) -> str:
    """A cell's text: out of its code span, or with its escapes undone."""
    text = cell.strip()
    span = re.fullmatch(r"(`+) ?(.*?) ?\1", text)
    return span[2].replace("\\|", "|") if span else re.sub(r"\\(.)", r"\1", text)


def number(cell: str) -> int:
    return int(cell.replace(",", ""))
