"""Questions about pages, domains and steps of a finished run, against all files read one by one."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.trace import trace_domain, trace_places, trace_step
from tasks.lineage.tree import lineage_tree, render_tree
from tasks.store import Store

pytestmark = pytest.mark.xdist_group("lineage")
FILES = {"extract": ("documents.parquet", "dropped.parquet"), "tokenize": ("tokens.parquet",)}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def catalogue(finished_home: Path) -> Catalogue:
    return Catalogue.open(Store(str(finished_home / "store"), finished_home / "cache"))


@pytest.fixture(scope="module")
def index(catalogue: Catalogue) -> DocumentIndex:
    return DocumentIndex.open(catalogue)


@pytest.fixture(scope="module")
def rows(catalogue: Catalogue) -> list[tuple[Artifact, Row]]:
    """Every row of every artefact that holds documents."""
    return [
        (artifact, row)
        for stage, files in FILES.items()
        for artifact in catalogue.of_stage(stage)
        for file in files
        for row in pq.read_table(artifact.path(file)).to_pylist()
    ]


def test_a_url_is_found_wherever_it_is_and_nowhere_else(
    index: DocumentIndex, rows: list[tuple[Artifact, Row]]
) -> None:
    urls = sorted({row["url"] for _, row in rows})
    pages = [url for url in urls if url.startswith("http")]
    assert len(pages) > 15
    for url in [*pages, *random.Random(1).sample(urls, 30), "http://www.example/nowhere"]:
        expected = Counter(
            (a.key, row["doc_id"], row.get("num_tokens")) for a, row in rows if row["url"] == url
        )
        found = Counter((p.artifact.key, p.doc_id, p.num_tokens) for p in index.find_url(url))
        assert found == Counter(expected.keys())


def test_a_life_ends_where_the_files_say_it_did(
    catalogue: Catalogue, index: DocumentIndex, rows: list[tuple[Artifact, Row]]
) -> None:
    kept = {row["doc_id"] for artifact, row in rows if artifact.stage == "tokenize"}
    pages = sorted({row["doc_id"] for _, row in rows if row["url"].startswith("http")})
    ends = Counter[str]()
    for doc_id in pages:
        (life, *_) = trace_places(catalogue, index.find_document(doc_id))["documents"]
        last = life["events"][-1]
        assert life["current"] and life["doc_id"] == doc_id and life["url"].startswith("http")
        assert life["raw"]["raw_shard"].startswith("crawl-") and life["raw"]["fetched"]
        assert all(event["outcome"] == "kept" for event in life["events"][:-1])
        assert (last["stage"] == "tokenize") == (doc_id in kept)
        assert last["outcome"] == ("kept" if doc_id in kept else "dropped")
        ends[last["stage"]] += 1
        if last["stage"] == "filter":
            assert last["rule"]
    assert ends["tokenize"] and ends["filter"] and ends["extract"]


def test_a_page_leads_to_every_model_that_descends_from_it(
    catalogue: Catalogue, index: DocumentIndex, rows: list[tuple[Artifact, Row]]
) -> None:
    trained = next(
        row["url"]
        for artifact, row in rows
        if artifact.stage == "tokenize" and row["source"] == "web" and row["split"] == "train"
    )
    answer = trace_places(catalogue, index.find_url(trained))
    assert "pretrain" in {t["stage"] for t in answer["trainings"]}
    assert {m["stage"] for m in answer["models"]} == {
        "pretrain",
        "sft",
        "reward",
        "ppo",
        "practice",
    }
    assert [name for m in answer["models"] for name in m["in_use"]] == [
        "base", "sft", "reward", "assistant"
    ]  # fmt: skip
    dropped = next(row["url"] for a, row in rows if a.stage == "extract" and "rule" in row)
    answer = trace_places(catalogue, index.find_url(dropped))
    assert answer["documents"] and answer["trainings"] == answer["models"] == []


def test_a_domain_is_summed_up_with_its_subdomains(
    catalogue: Catalogue, index: DocumentIndex, rows: list[tuple[Artifact, Row]]
) -> None:
    for domain in ("example", "people.example", "PEOPLE.example.", "ple.example"):
        plain = domain.lower().strip(".")
        inside = [
            (artifact.stage, row)
            for artifact, row in rows
            if (host := urlsplit(row["url"]).hostname or "") == plain or host.endswith(f".{plain}")
        ]
        answer = trace_domain(index, domain)
        hosts = answer["hosts"]
        tokens = [row["num_tokens"] for stage, row in inside if stage == "tokenize"]
        extracted = {row["doc_id"] for stage, row in inside if stage == "extract"}
        assert sum(host["num_documents"] for host in hosts) == len(extracted)
        assert sum(host["num_kept"] for host in hosts) == len(tokens)
        assert sum(host["num_tokens"] for host in hosts) == sum(tokens)
        assert bool(answer["trainings"]) == bool(tokens)


def test_a_step_names_its_pages(catalogue: Catalogue, rows: list[tuple[Artifact, Row]]) -> None:
    addresses = {row["doc_id"]: row["url"] for _, row in rows}
    answer = trace_step(catalogue, catalogue.named("base"), 2, None)
    assert answer["documents"]
    assert all(d["url"] == addresses[d["doc_id"]] for d in answer["documents"])
    answer = trace_step(catalogue, catalogue.named("assistant"), 1, "control")
    assert all("/prompts-" in d["url"] for d in answer["documents"])
    with pytest.raises(ArtifactError, match=r"no order 'pages' \(it has control, practice\)"):
        trace_step(catalogue, catalogue.named("assistant"), 1, "pages")
    with pytest.raises(ArtifactError, match="is no training"):
        trace_step(catalogue, catalogue.named("corpus"), 1, None)


def test_the_tree_names_every_artefact_once_and_folds_many_shards(catalogue: Catalogue) -> None:
    tree = lineage_tree(catalogue, catalogue.named("assistant"))

    def nodes(node: Row) -> Iterator[Row]:
        yield node
        for parent in node["parents"]:
            yield from nodes(parent)

    found = [n for n in nodes(tree) if not n["repeated"]]
    names = {(n["stage"], n["key"]) for n in found}
    assert names == {(a.stage, a.key) for a in catalogue.ancestry(catalogue.named("assistant"))}
    assert len(found) == len({(n["stage"], n["key"], n["shard"]) for n in found})
    every, folded = list(render_tree(tree)), list(render_tree(tree, folded=1))
    assert len(folded) < len(every)
    assert sum("tokenize" in line for line in folded) < sum("tokenize" in line for line in every)
    assert any("tokens: tokenize in 4 shards" in line for line in folded)
