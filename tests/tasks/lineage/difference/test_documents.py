"""Documents of one corpus and not of the other, and what dropped them."""

import shutil
from pathlib import Path

import pytest

from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.difference import summarise
from tasks.store import Store, Tombstone
from tests.tasks.lineage.toy_chain import (
    compare,
    make_corpus,
    model_of,
)

GONE = Tombstone("2026-11-22T10:00:00+00:00", "its owner asked for it", "test")
PAGES = {
    "web-0": {"http://a.example/1": "one", "http://a.example/2": "two two"},
    "web-1": {"http://b.example/1": "three three", "http://b.example/2": "four"},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def test_documents_in_and_out_with_what_dropped_them(store: Store) -> None:
    later = {
        "web-0": {**PAGES["web-0"], "http://a.example/3": "three three"},
        "web-1": {"http://b.example/1": "three three", "http://b.example/9": "nine nine"},
    }
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, later, min_chars=4))
    difference = compare(store, a, b)
    told = {(d.kind, d.url): (d.stage, d.rule, d.detail) for d in difference.documents.documents}
    assert told == {
        ("added", "http://a.example/3"): (None, "not brought in", None),
        ("added", "http://b.example/9"): (None, "not brought in", None),
        ("removed", "http://a.example/1"): ("filter", "length", "chars"),
        ("removed", "http://b.example/1"): (
            "dedup",
            "exact",
            told["removed", "http://b.example/1"][2],
        ),
        ("removed", "http://b.example/2"): (None, "not brought in", None),
    }
    gone = next(d for d in difference.documents.documents if d.rule == "length")
    assert (gone.value, gone.threshold, gone.tokens_a, gone.tokens_b) == (3, 4, 3, None)
    assert (difference.documents.num("added"), difference.documents.num("removed")) == (2, 3)
    (size,) = difference.documents.sources
    assert (size.documents_a, size.documents_b, size.tokens_a) == (4, 3, 25)


def test_documents_of_a_remote_store_are_fetched(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, PAGES, min_chars=4))
    shutil.rmtree(store.cache)
    (document,) = compare(store, a, b).documents.documents
    assert (document.url, document.rule) == ("http://a.example/1", "length")
    store.fs.rm(store.root, recursive=True)


def test_a_text_that_changed_and_one_that_moved_out_of_training(store: Store) -> None:
    later = {"web-0": PAGES["web-0"] | {"http://a.example/1": "uno"}, "web-1": PAGES["web-1"]}
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, later, heldout=["http://a.example/2"]))
    documents = compare(store, a, b).documents
    assert [(d.kind, d.url) for d in documents.documents] == [
        ("changed", "http://a.example/1"),
        ("moved", "http://a.example/2"),
    ]


def test_documents_in_another_shard_are_the_same_documents(store: Store) -> None:
    first, second = PAGES["web-0"], PAGES["web-1"]
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, {"web-0": {**first, **second}}))
    documents = compare(store, a, b).documents
    assert (documents.counts, documents.num_resharded, documents.num_retokenized) == ([], 2, 0)


def test_as_many_documents_are_named_as_asked_for_and_all_are_counted(store: Store) -> None:
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, PAGES, min_chars=100))
    documents = compare(store, a, b, limit=1).documents
    assert [d.url for d in documents.documents] == ["http://a.example/1"]
    assert documents.num("removed") == 4


def test_shards_with_the_same_documents_are_not_read(store: Store) -> None:
    """Another tokenizer makes other tokens of all; no file of equal or such shards is opened."""
    plain, halves = make_corpus(store, PAGES), make_corpus(store, PAGES, tokenizer="halves")
    for tokens in (*plain, *halves):
        tokens.path("tokens.parquet").unlink()
    documents = compare(store, model_of(store, plain), model_of(store, halves)).documents
    assert (documents.num_retokenized, documents.counts, documents.unread) == (2, [], {})


def test_the_same_text_in_other_tokens_has_not_changed(store: Store) -> None:
    a = model_of(store, make_corpus(store, PAGES))
    b = model_of(store, make_corpus(store, PAGES, min_chars=4, tokenizer="halves"))
    documents = compare(store, a, b).documents
    assert [(d.kind, d.url) for d in documents.documents] == [("removed", "http://a.example/1")]
    assert documents.num_retokenized == 1


def test_erased_tokens_are_named_and_the_rest_is_compared(store: Store) -> None:
    first, second = make_corpus(store, PAGES), make_corpus(store, PAGES, min_chars=5)
    a, b = model_of(store, first), model_of(store, second)
    store.erase(first[0], GONE)
    difference = compare(store, a, b)
    assert difference.documents.unread == {"web-0": "erased on 2026-11-22: its owner asked for it"}
    assert [d.url for d in difference.documents.documents] == ["http://b.example/2"]
    assert any("1 shards cannot be read" in line for line in summarise(difference))


def test_a_reason_that_may_have_been_erased_is_left_open(store: Store) -> None:
    first, second = make_corpus(store, PAGES), make_corpus(store, PAGES, min_chars=4)
    a, b = model_of(store, first), model_of(store, second)
    catalogue = Catalogue.open(store)
    (filtered,) = (
        x for x in catalogue.of_stage("filter") if x.config["min_chars"] and x.shard == "web-0"
    )
    store.erase(filtered, GONE)
    (document,) = compare(store, a, b).documents.documents
    assert (document.kind, document.stage, document.rule) == ("removed", None, None)


def test_a_file_that_is_gone_without_a_tombstone_is_an_error(store: Store) -> None:
    first, second = make_corpus(store, PAGES), make_corpus(store, PAGES, min_chars=4)
    a, b = model_of(store, first), model_of(store, second)
    first[0].path("tokens.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"has no file tokens\.parquet"):
        compare(store, a, b)
