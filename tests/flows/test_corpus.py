"""The corpus as the recipe describes it: every kind of input wired to its stages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.corpus import Corpus, build_corpus
from flows.recipe import Recipe
from flows.sql import CORPUS, open_corpus, query_corpus
from pipeline_data.errors import SourceError
from tasks.store import Store
from tests.flows.recorded_run import RecordedRun, corpus_recipe
from tests.pipeline_data.corpus.material import make_text


def write_notes(folder: Path, name: str, texts: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [
        {"url": f"http://notes.example/{name}/{number}", "text": text}
        for number, text in enumerate(texts)
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def notes(folder: Path) -> dict[str, Any]:
    return {"kind": "jsonl", "paths": [f"{folder}/*.jsonl"], "url_column": "url"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_notes(tmp_path / "notes", "a", [make_text(seed) for seed in range(3)])
    return tmp_path / "notes"


def build(store: Store, recipe: Recipe) -> tuple[RecordedRun, Corpus]:
    run = RecordedRun(store)
    corpus = build_corpus(run, recipe)
    store.point(CORPUS, corpus.report)
    return run, corpus


def urls(corpus: Corpus) -> list[str]:
    return [
        url
        for shard in corpus.tokens
        for url in pq.read_table(shard.path("tokens.parquet"))["url"].to_pylist()
    ]


def test_a_folder_of_a_dataset_is_a_source(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text(
        "id,question,answer\n" + "".join(f"{n},What is {n}?,{make_text(n)!r}\n" for n in range(5))
    )
    source = {
        "kind": "dataset", "dataset": "questions", "folder": str(data), "id_column": "id",
        "template": "{{ question }}\n{{ answer }}", "shards": 2,
    }  # fmt: skip
    run, corpus = build(store, corpus_recipe({"questions": source}))
    assert run.executed["dataset"] == 1
    assert run.executed["extract"] == 2
    assert sorted(urls(corpus)) == [f"dataset:questions/default/train#{n}" for n in range(5)]


def test_an_adopted_tokenizer_gives_the_same_tokens(
    store: Store, tmp_path: Path, folder: Path
) -> None:
    sources = {"notes": notes(folder)}
    _, learnt = build(store, corpus_recipe(sources))
    made = corpus_recipe(sources, tokenizer_folder=str(learnt.tokenizer.directory))
    run, adopted = build(store, made)
    assert run.executed["adopt-tokenizer"] == 1
    assert run.executed["tokenizer"] == run.executed["sample"] == 0
    digests = [shard.digest for shard in adopted.tokens]
    assert digests == [shard.digest for shard in learnt.tokens]


def test_a_pinned_sample_keeps_the_tokenizer_when_shards_come(store: Store, folder: Path) -> None:
    pinned = corpus_recipe(
        {"notes": notes(folder)}, sample={"shards": ["notes-a*"], "fraction": 1.0}
    )
    build(store, pinned)
    write_notes(folder, "b", [make_text(seed) for seed in range(10, 14)])
    run, corpus = build(store, pinned)
    assert run.executed["tokenizer"] == 0
    assert run.executed["tokenize"] == 1
    assert len(urls(corpus)) == 7


def test_a_document_with_an_evaluation_item_is_left_out_and_named(
    store: Store, tmp_path: Path, folder: Path
) -> None:
    item = "a farmer has seventeen sheep and all but nine of them run away how many are left"
    (tmp_path / "exam.jsonl").write_text(json.dumps({"id": "q1", "question": item}) + "\n")
    write_notes(folder, "b", [make_text(20), f"{make_text(21)} {item.upper()}! Nine."])
    exam = {
        "kind": "jsonl", "paths": [f"{tmp_path}/exam.jsonl"], "fields": ["question"],
        "id_field": "id",
    }  # fmt: skip
    _, corpus = build(store, corpus_recipe({"notes": notes(folder)}, evaluations={"exam": exam}))
    assert "http://notes.example/b/1" not in urls(corpus)
    assert "http://notes.example/b/0" in urls(corpus)
    with open_corpus(store) as database:
        table = query_corpus(database, "SELECT url, evaluation, item FROM contaminated")
        assert list(table.rows()) == [("http://notes.example/b/1", "exam", "q1")]


def test_the_duplicates_of_a_page_can_be_asked_for(store: Store, folder: Path) -> None:
    write_notes(folder, "b", [make_text(1), make_text(30)])
    _, corpus = build(store, corpus_recipe({"notes": notes(folder)}))
    assert "http://notes.example/b/0" not in urls(corpus)
    query = """
        SELECT copy.url, rule FROM duplicates
        JOIN documents AS original ON original.doc_id = duplicate_of
        JOIN documents AS copy ON copy.doc_id = duplicates.doc_id
        WHERE original.url = 'http://notes.example/a/1'
    """
    with open_corpus(store) as database:
        assert list(query_corpus(database, query).rows()) == [("http://notes.example/b/0", "exact")]


def test_blocked_pages_stay_out_and_only_their_shards_are_filtered_again(
    store: Store, tmp_path: Path, folder: Path
) -> None:
    write_notes(folder, "b", [make_text(seed) for seed in range(40, 43)])
    sources = {"notes": notes(folder)}
    build(store, corpus_recipe(sources))
    blocklist = tmp_path / "blocklist.txt"
    blocklist.write_text(
        "# asked for by its author\nhttp://notes.example/b/1  # 2026-01-02\n\nelsewhere.example\n"
    )
    run, corpus = build(store, corpus_recipe(sources, blocklist={"file": str(blocklist)}))
    assert run.executed["filter"] == 1
    assert len(urls(corpus)) == 5
    assert "http://notes.example/b/1" not in urls(corpus)


def test_files_that_an_optional_source_does_not_have_cost_no_run(
    store: Store, tmp_path: Path, folder: Path
) -> None:
    books = {"kind": "text", "paths": [f"{tmp_path}/books/*.txt"]}
    sources = {"books": books | {"required": False}, "notes": notes(folder)}
    run, corpus = build(store, corpus_recipe(sources))
    assert len(urls(corpus)) == 3
    (line,) = run.skipped
    assert line.startswith("books: no file matches")
    with pytest.raises(SourceError, match="no file matches"):
        build(store, corpus_recipe({"books": books, "notes": notes(folder)}))
