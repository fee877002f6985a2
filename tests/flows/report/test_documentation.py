"""What a recipe says for the papers alone is no reason to run anything again."""

from pathlib import Path

import pytest

from flows.graphs import plan_graph, whole
from flows.recipe import load_recipe
from tasks.past_results import PastResults
from tasks.selection import Selection
from tasks.store import Store
from tests.finished_home import CHANGES
from tests.flows.report.homes import copy_home

pytestmark = pytest.mark.xdist_group("lineage")

DOCUMENTED = (
    "sources.web.licence=CC-BY-4.0",
    "sources.web.description=Letters",
    "sources.web.homepage=https://letters.example/",
    "sources.web.category=licensed-dataset",
)


def test_documenting_a_source_reruns_nothing(report_home: Path, tmp_path: Path) -> None:
    home = copy_home(report_home, tmp_path)
    store = Store(str(home / "store"), home / "cache")
    selection = Selection.parse([], [], None, "*")

    def plan(*changes: str) -> bool:
        recipe = load_recipe("smoke", [*CHANGES, *changes])
        past = PastResults.load(home / "runs", recipe.name, store)
        return plan_graph(whole, recipe, past, selection).runs_nothing

    assert plan(*DOCUMENTED)
    assert not plan("sources.web.near_dedup=false")
