"""Parts of an entry: settings of many shards, facts of many results, and MLflow's limits."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_data.artifact import Artifact, Counts, Parent
from tasks.lineage.catalogue import Catalogue
from tasks.store import Request, Store
from tasks.tracking.description import describe_chain
from tasks.tracking.entry import fact_tags, merge_configs, metric_name, shorten


def test_settings_that_differ_between_shards_are_all_told() -> None:
    configs: list[dict[str, Any]] = [
        {"min": 1, "reader": {"format": "warc"}, "only": {}},
        {"min": 1, "reader": {"format": "jsonl"}, "only": {}},
        {"min": 1, "reader": {"format": "warc"}, "only": {}, "new": None},
    ]
    assert merge_configs(configs) == {
        "min": "1",
        "reader.format": "warc | jsonl",
        "only": "{}",
        "new": "None",
    }


def test_what_is_shortened_says_so_and_still_tells_two_values_apart() -> None:
    one, other = shorten("x" * 9000), shorten("x" * 8999 + "y")
    assert len(one) == len(other) == 6000
    assert " ... shortened from 9,000 characters, SHA-256 " in one
    assert one != other
    assert shorten("x" * 6000) == "x" * 6000


def test_facts_that_differ_between_results_are_all_told() -> None:
    facts = [
        {"commit": "aa", "lock": "requirements.lock 11", "cpu": "one", "cores": 2},
        {"commit": "bb+dirty", "lock": "requirements.lock 11", "cpu": "other", "cores": 2},
    ]
    assert fact_tags(facts) == {
        "commit": "aa, bb",
        "dirty": "true",
        "lock": "requirements.lock 11",
        "cpu": "one, other",
        "cores": "2",
    }


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("bits per byte, web", "bits per byte - web"),
        ("a(b)=c%", "a_b__c_"),
        ("a/b-c.d:e_f", "a/b-c.d:e_f"),
    ],
)
def test_names_of_metrics_are_in_mlflows_alphabet(name: str, written: str) -> None:
    assert metric_name(name) == written


def test_a_description_is_no_longer_than_mlflow_takes_it(tmp_path: Path) -> None:
    def write(out: Path) -> Counts:
        return {f"num_of_sort_{i}": 10**9 for i in range(5)}

    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    made: list[Artifact] = []
    texts = []
    for number in range(80):
        parents = tuple(Parent("input", p.stage, p.key, p.digest) for p in made[-1:])
        request = Request(f"stage-{number:03}", 1, {}, parents)
        made.append(store.produce(request, write, {}))
        if number in (9, 29, 39, 79):
            texts.append(describe_chain(Catalogue.open(store), made[-1]))
    assert all(len(text) <= 5000 for text in texts)
    assert [text.count("of sort") for text in texts] == [40, 60, 80, 0]
    assert [text.count("\n| stage-") for text in texts[:3]] == [10, 30, 40]
    num_rows = texts[3].count("\n| stage-")
    assert f"Shortened: {80 - num_rows} more stages. The artifact `lineage.html`" in texts[3]
    assert "| stage-079 |" in texts[3]
