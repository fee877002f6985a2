"""The index of documents against a scan of all files, whatever happens to the store."""

import random
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline_data.artifact import Artifact
from pipeline_data.formats import document_id
from pipeline_data.preferences import EXERCISES_SOURCE
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.store import Store, Tombstone
from tests.tasks.lineage.made_up import extracted, tokenized, trained

SOURCES = ("news", "web")
HOSTS = ("a.example", "www.a.example", "deep.www.a.example", "aa.example", "a.example.org")
URLS = [f"https://{host}/{page}" for host in HOSTS for page in range(4)]
URLS += ["http://me@www.A.example:8080/0", "notes.txt#1"]
DOMAINS = ("a.example", "www.a.example", "example", "aa.example", "org", "A.example.")
RECORDS = [f"generated://exercises/prompts-ppo/{row}" for row in range(4)]
TOMBSTONE = Tombstone("2026-01-01", "asked for", "a test")


def open_index(store: Store) -> DocumentIndex:
    return DocumentIndex.open(Catalogue.open(store))


class World:
    """A store to which random things happen, and what it must hold by a scan."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.live: list[Artifact] = []
        self.number = 0
        for source in SOURCES:  # no document has a source of which nothing was ever extracted
            self.live.append(extracted(store, "s0", source, URLS[:2], URLS[1:3], -1))

    def step(self) -> None:
        happens = [self.add_extracted, self.add_tokenized, self.add_tokenized, self.add_trained]
        if self.live:
            happens += [self.erase, self.record_again]
        self.random.choice(happens)()

    def pages(self) -> list[str]:
        return self.random.sample(URLS, self.random.randint(0, 8))

    def add_extracted(self) -> None:
        self.number += 1
        source, shard = self.random.choice(SOURCES), f"s{self.random.randint(0, 2)}"
        made = extracted(self.store, shard, source, self.pages(), self.pages(), self.number)
        self.live.append(made)

    def add_tokenized(self) -> None:
        self.number += 1
        lengths = {url: self.random.randint(1, 5) for url in self.pages()}
        source, shard = self.random.choice(SOURCES), f"s{self.random.randint(0, 2)}"
        self.live.append(tokenized(self.store, shard, source, lengths, self.number))

    def add_trained(self) -> None:
        self.number += 1
        records = {url: self.random.randint(1, 5) for url in self.random.sample(RECORDS, 2)}
        self.live.append(trained(self.store, "ppo", records, self.number))

    def erase(self) -> None:
        gone = self.live.pop(self.random.randrange(len(self.live)))
        self.store.erase(gone, TOMBSTONE)

    def record_again(self) -> None:
        """The same key with other content, as after a forced run that gave something else."""
        place = self.random.randrange(len(self.live))
        old = self.live[place]
        if old.stage != "tokenize":
            return
        self.store.discard(old)
        lengths = {url: self.random.randint(6, 9) for url in self.pages()}
        value = int(old.config["value"])
        self.live[place] = tokenized(self.store, old.shard or "", "web", lengths, value)


Row = tuple[str, str, str, str, int | None]
"""Stage, key, id, URL and tokens of a document in an artefact."""


def scan(artifacts: list[Artifact]) -> set[Row]:
    found: dict[tuple[str, str, str], tuple[str, int | None]] = {}
    for artifact in artifacts:
        for path in sorted(artifact.directory.rglob("*.parquet")):
            if path.name == "rows.parquet":
                continue
            for row in pq.read_table(path).to_pylist():
                doc_id = row["doc_id"] if "doc_id" in row else f"{row['document']:016x}"
                name = (artifact.stage, artifact.key, doc_id)
                if doc_id and name not in found:
                    found[name] = (row["url"], row.get("num_tokens"))
    return {(*name, *rest) for name, rest in found.items()}


def host_of(url: str) -> str:
    return url.split("/")[2].split("@")[-1].split(":")[0].lower() if "://" in url else ""


def check_all(index: DocumentIndex, rows: set[Row]) -> None:
    for url in [*URLS, *RECORDS]:
        sources = SOURCES if url in URLS else (EXERCISES_SOURCE,)
        ids = {document_id(source, url) for source in sources}
        assert {
            (p.artifact.stage, p.artifact.key, p.doc_id, p.num_tokens) for p in index.find_url(url)
        } == {(stage, key, i, n) for stage, key, i, u, n in rows if u == url and i in ids}
    for domain in DOMAINS:
        wanted = domain.lower().strip(".")
        sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for stage, key, _, url, num_tokens in rows:
            if f".{host_of(url)}".endswith(f".{wanted}"):
                sums[stage, key, host_of(url)][0] += 1
                sums[stage, key, host_of(url)][1] += num_tokens or 0
        assert {
            (p.artifact.stage, p.artifact.key, p.host): [p.num_documents, p.num_tokens]
            for p in index.find_domain(domain)
        } == sums
        read = {
            int(i, 16)
            for _, _, i, url, n in rows
            if n is not None and f".{host_of(url)}".endswith(f".{wanted}")
        }
        assert read <= set(index.find_domain_documents(domain).to_pylist())


@pytest.mark.parametrize("seed", range(2))
def test_the_index_is_a_scan(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lineage.documents.MAX_SEGMENTS", 3)
    world = World(Store(str(tmp_path / "store"), tmp_path / "cache"), seed)
    for number in range(9):
        for _ in range(world.random.randint(1, 3)):
            world.step()
        index = open_index(world.store)
        if number % 3 == 2:
            check_all(index, scan(world.live))
    segments = list((tmp_path / "cache" / "lineage" / "documents").iterdir())
    assert 0 < len(segments) <= 3
    shutil.rmtree(tmp_path / "cache")
    check_all(open_index(world.store), scan(world.live))


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    yield store
    store.fs.rm(store.root, recursive=True)


def test_a_remote_store_is_indexed_through_copies(remote: Store, tmp_path: Path) -> None:
    world = World(remote, 7)
    for _ in range(4):
        world.add_extracted()
        world.add_tokenized()
    world.erase()
    check_all(open_index(Store(f"memory://{tmp_path.name}", tmp_path / "cache")), scan(world.live))


def test_an_empty_store_holds_nothing(tmp_path: Path) -> None:
    index = open_index(Store(str(tmp_path / "store"), tmp_path / "cache"))
    assert not index.find_url(URLS[0])
    assert not index.find_domain("example")
    assert len(index.find_domain_documents("example")) == 0


def test_a_merged_segment_keeps_nothing_of_what_was_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.lineage.documents.MAX_SEGMENTS", 1)
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    gone = tokenized(store, "s0", "web", {"https://gone.example/": 1}, 0)
    open_index(store)
    store.erase(gone, TOMBSTONE)
    tokenized(store, "s1", "web", {"https://kept.example/": 1}, 1)
    index = open_index(store)
    held = {
        path: pq.read_table(path).num_rows for path in index.catalogue.folder.glob("*/*.parquet")
    }
    assert list(held.values()) == [1, 1, 1]
    assert len(index.find_domain_documents("gone.example")) == 0


def test_a_question_survives_a_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lineage.documents.MAX_SEGMENTS", 1)
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    extracted(store, "s0", "web", [URLS[0]], [], 0)
    index = open_index(store)
    failures: list[Exception] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                assert len(index.find_url(URLS[0])) == 1
            except Exception as error:
                failures.append(error)
                return

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(1, 6):
        tokenized(store, "s0", "web", {URLS[1]: 1}, number)
        open_index(store)
    over.set()
    asking.join()
    assert not failures
