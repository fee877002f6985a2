"""What forgetting touches, against brute force over all shards and training steps."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.exposure import steps_of
from tasks.lineage.impact import (
    Impact,
    assess_domain,
    assess_shard,
    assess_url,
    list_urls,
)
from tasks.store import Store

pytestmark = pytest.mark.xdist_group("lineage")
MODELS = ["assistant", "base", "reward", "sft"]


@pytest.fixture(scope="module")
def index(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> DocumentIndex:
    home = tmp_path_factory.mktemp("impact") / "home"
    shutil.copytree(finished_home, home)
    return DocumentIndex.open(Catalogue.open(Store(str(home / "store"), home / "cache")))


def rows(index: DocumentIndex, stage: str, file: str) -> Iterator[tuple[Artifact, dict[str, str]]]:
    for artifact in index.catalogue.of_stage(stage):
        for row in pq.read_table(artifact.path(file)).to_pylist():
            yield artifact, row


def tokens_by_shard(index: DocumentIndex, urls: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for artifact, row in rows(index, "tokenize", "tokens.parquet"):
        if row["url"] in urls:
            shard = artifact.shard or ""
            found[shard] = found.get(shard, 0) + int(row["num_tokens"])
    return found


def seen_steps(index: DocumentIndex, name: str, urls: set[str]) -> dict[str, set[int]]:
    model = index.catalogue.named(name)
    documents = [
        r["doc_id"] for _, r in rows(index, "tokenize", "tokens.parquet") if r["url"] in urls
    ]
    steps: dict[str, set[int]] = {}
    for exposure in steps_of(model, documents):
        steps.setdefault(exposure.order, set()).update(exposure.steps)
    return steps


def check(index: DocumentIndex, impact: Impact, urls: set[str]) -> None:
    tokens = tokens_by_shard(index, urls)
    assert {s.shard: s.num_tokens for s in impact.shards if s.num_tokens} == tokens
    assert impact.num_tokens == sum(tokens.values())
    assert impact.names == (MODELS if tokens else [])
    for model in impact.models:
        for name in model.names:
            steps = seen_steps(index, name, urls)
            assert {c.order: c.num_steps for c in model.coverage} == {
                order: len(found) for order, found in steps.items()
            }
            for c in model.coverage:
                assert (c.first, c.last) == (min(steps[c.order]), max(steps[c.order]))


def test_pages(index: DocumentIndex) -> None:
    extracted = index.catalogue.of_stage("extract")
    urls = list_urls(index.catalogue, extracted)
    assert set(urls) >= {row["url"] for _, row in rows(index, "extract", "dropped.parquet")}
    for url in [u for u in urls if u.startswith("http")] + urls[:5]:
        impact = assess_url(index, url)
        assert impact.num_documents == 1
        check(index, impact, {url})


def test_a_host_with_its_subdomains(index: DocumentIndex) -> None:
    urls = {row["url"] for _, row in rows(index, "extract", "documents.parquet")}
    for domain in ("people.example", "example", "le"):
        hosts = {u: f".{urlsplit(u).hostname}" for u in urls}
        within = {u for u, host in hosts.items() if host.endswith(f".{domain}")}
        assert bool(within) == (domain != "le")
        impact = assess_domain(index, domain)
        check(index, impact, within)
        listed = list_urls(index.catalogue, index.catalogue.of_stage("extract"), domain)
        assert set(listed) >= within
        assert all(f".{urlsplit(u).hostname}".endswith(f".{domain}") for u in listed)


def test_a_raw_shard(index: DocumentIndex) -> None:
    (shard,) = [a for a in index.catalogue.of_stage("extract") if a.shard == "web-000"]
    urls = {row["url"] for row in pq.read_table(shard.path("documents.parquet")).to_pylist()}
    check(index, assess_shard(index.catalogue, "web-000"), urls)


def test_what_nobody_has_touches_nothing(index: DocumentIndex) -> None:
    for impact in (
        assess_url(index, "http://nobody.example/"),
        assess_domain(index, "nobody.example"),
        assess_shard(index.catalogue, "nobody-000"),
    ):
        assert (impact.holders, impact.shards, impact.models) == ([], [], [])
