"""Training documents that hold evaluation items."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_data.artifact import Artifact, content_digest, describe
from pipeline_data.corpus.decontamination import decontaminate, evaluation_items, word_ngrams
from pipeline_data.corpus.decontamination.word_ngrams import split_words
from pipeline_data.corpus.settings import (
    DecontaminateConfig,
    EvaluationItemsConfig,
    EvaluationSet,
)
from pipeline_data.curriculum import curriculum
from pipeline_data.curriculum.settings import CurriculumConfig
from pipeline_data.errors import SourceError
from pipeline_data.formats import read_rows, write_jsonl
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.corpus.material import (
    as_artifact,
    documents_artifact,
    kept_artifact,
    make_documents,
    make_text,
)

QUESTION = (
    "Seven sailors row across the wide bay in nine boats; how many oars do they need at dawn?"
)


def read_set(
    folder: Path, items: Sequence[str], name: str = "quiz", ngram: int = 13, min_words: int = 8
) -> Artifact:
    """An evaluation set of plain texts, as its stage leaves it."""
    (folder / "raw").mkdir(parents=True)
    write_jsonl(folder / "raw" / "items.jsonl", [{"text": text} for text in items])
    config = EvaluationItemsConfig(name=name, kind="jsonl", ngram=ngram, min_words=min_words)
    return run_items(config, folder)


def run_items(config: EvaluationItemsConfig, folder: Path) -> Artifact:
    out = folder / "items"
    evaluation_items.run(config, Inputs({"raw": [as_artifact(folder / "raw")]}), out, Runtime())
    return as_artifact(out, config.name)


def clean(
    folder: Path,
    texts: Sequence[str],
    sets: Sequence[Artifact],
    config: DecontaminateConfig | None = None,
) -> tuple[list[int], list[dict[str, Any]]]:
    """Numbers of the documents that stay, and the rows of those that go."""
    rows = make_documents(texts)
    ids = [row["doc_id"] for row in rows]
    inputs = Inputs(
        {
            "documents": documents_artifact(folder / "documents", rows, "made-0"),
            "kept": kept_artifact(folder / "kept", ids, "made-0"),
            "evaluation": list(sets),
        }
    )
    decontaminate.run(config or DecontaminateConfig(), inputs, folder / "out", Runtime())
    kept = [ids.index(row["doc_id"]) for row in read_rows(folder / "out/kept.parquet")]
    return kept, list(read_rows(folder / "out/contaminated.parquet"))


def holds(words: list[str], part: list[str]) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words) - len(part) + 1))


def search_plainly(text: str, item: str, ngram: int, min_words: int) -> bool:
    """Whether a text holds an item, found the long way."""
    words, item_words = split_words(text), split_words(item)
    if len(item_words) < min_words:
        return False
    length = min(ngram, len(item_words))
    grams = [item_words[i : i + length] for i in range(len(item_words) - length + 1)]
    return any(holds(words, gram) for gram in grams)


def test_a_document_with_an_item_goes_and_is_named(tmp_path: Path) -> None:
    texts = [make_text(1), f"{make_text(2)}\n{QUESTION.upper()}\n{make_text(3)}", make_text(4)]
    kept, rows = clean(tmp_path, texts, [read_set(tmp_path / "set", [make_text(9), QUESTION])])
    assert kept == [0, 2]
    (row,) = rows
    assert row["doc_id"] == make_documents(texts)[1]["doc_id"]
    assert row["url"] == "https://made.example/1"
    assert (row["evaluation"], row["item"]) == ("quiz", "items.jsonl#1")
    assert row["ngram"] == " ".join(split_words(QUESTION)[:13])
    assert row["num_matches"] == row["num_ngrams"] == len(split_words(QUESTION)) - 12


def test_one_word_less_than_an_ngram_is_no_match(tmp_path: Path) -> None:
    quiz = read_set(tmp_path / "set", [QUESTION])
    words = split_words(QUESTION)
    texts = [" ".join(words[:12]), " ".join(words[:13]), " ".join([*words[:12], "x", *words[13:]])]
    kept, rows = clean(tmp_path, texts, [quiz])
    assert kept == [0, 2]
    assert [row["num_matches"] for row in rows] == [1]


def test_short_items_match_as_a_whole_or_are_counted(tmp_path: Path) -> None:
    words = split_words(QUESTION)
    quiz = read_set(tmp_path / "set", [" ".join(words[:8]), " ".join(words[:7]), ""])
    kept, rows = clean(tmp_path, [" ".join(words[:7]), f"Oh, {QUESTION}"], [quiz])
    assert kept == [0]
    assert [(row["item"], row["ngram"]) for row in rows] == [("items.jsonl#0", " ".join(words[:8]))]
    assert [
        (row["item"], row["rule"], row["num_words"])
        for row in read_rows(quiz.path("unjudged.parquet"))
    ] == [("items.jsonl#1", "too_short", 7), ("items.jsonl#2", "too_short", 0)]


def test_more_matches_may_be_asked_for(tmp_path: Path) -> None:
    quiz = read_set(tmp_path / "set", [QUESTION, " ".join(split_words(QUESTION)[:9])])
    part = " ".join(split_words(QUESTION)[:14])
    for min_matches, items in {2: [0, 1], 3: [1]}.items():
        config = DecontaminateConfig(min_matches=min_matches)
        _, rows = clean(tmp_path / str(min_matches), [part], [quiz], config)
        assert [row["item"] for row in rows] == [f"items.jsonl#{item}" for item in items]


def test_equal_hashes_of_different_words_remove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xxhash.xxh3_64_intdigest", lambda word: 7)
    word_ngrams._word_memo.cache_clear()
    try:
        quiz = read_set(tmp_path / "set", [QUESTION])
        assert clean(tmp_path, [make_text(1), QUESTION], [quiz])[0] == [0]
    finally:
        word_ngrams._word_memo.cache_clear()


def test_without_evaluation_sets_everything_stays(tmp_path: Path) -> None:
    assert clean(tmp_path, [make_text(1), QUESTION], []) == ([0, 1], [])


def test_digests_are_the_known_ones(tmp_path: Path) -> None:
    """A digest that changed means other results for the same key: raise the stage's version."""
    quiz = read_set(tmp_path / "set", [make_text(9), QUESTION, "Why?"])
    clean(tmp_path, [make_text(1), f"{make_text(2)} {QUESTION}"], [quiz])
    assert quiz.digest == "7bedd18f764b02062a9e1a19b4b0fa5caf6ed1af5dfbc98d2024f44de5d25fe6"
    found = content_digest(describe(tmp_path / "out"))
    assert found == "cbe311bd53238ca91d8ed7584d0c95462a125a5389c71a32e138ce26db359417"


WORDS = st.sampled_from(["one", "two", "Three", "4", "猫犬"])
PHRASES = st.lists(WORDS, max_size=9).map(" ".join)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(PHRASES, min_size=1, max_size=6),
    first=st.lists(PHRASES, min_size=1, max_size=4),
    second=st.lists(PHRASES, min_size=1, max_size=3),
    ngram=st.integers(2, 5),
    min_words=st.integers(1, 4),
)
def test_the_result_is_that_of_a_plain_search(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    first: list[str],
    second: list[str],
    ngram: int,
    min_words: int,
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    sets = {"a": first, "b": second}
    artifacts = [read_set(folder / n, sets[n], n, ngram, min_words) for n in sets]
    kept, rows = clean(folder / "both", texts, artifacts)
    held = [
        (number, name, f"items.jsonl#{place}")
        for number, text in enumerate(texts)
        for name, items in sets.items()
        for place, item in enumerate(items)
        if search_plainly(text, item, ngram, min_words)
    ]
    ids = [row["doc_id"] for row in make_documents(texts)]
    assert [(ids.index(r["doc_id"]), r["evaluation"], r["item"]) for r in rows] == held
    assert kept == [n for n in range(len(texts)) if n not in {number for number, _, _ in held}]
    clean(folder / "turned", texts, artifacts[::-1])
    for name in ("kept.parquet", "contaminated.parquet"):
        both, turned = folder / "both/out" / name, folder / "turned/out" / name
        assert both.read_bytes() == turned.read_bytes()
    fewer, _ = clean(folder / "fewer", texts, artifacts[:1])
    only_b = {number for number, _, _ in held} - {n for n, name, _ in held if name == "a"}
    assert set(fewer) - set(kept) == only_b


def test_files_of_every_kind_give_the_same_items(tmp_path: Path) -> None:
    rows = [
        {"q": QUESTION, "choices": {"text": ["ten", "two"], "label": [1, 2]}, "id": "x7"},
        {"q": make_text(1), "choices": {"text": [], "label": []}, "id": "x8"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    files = {
        "jsonl": ("items.jsonl.gz", gzip.compress(lines.encode())),
        "json": ("items.json", json.dumps(rows).encode()),
    }
    table = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), table)
    files["parquet"] = ("items.parquet", table.getvalue().to_pybytes())
    found = []
    for kind, (name, data) in files.items():
        folder = tmp_path / kind
        (folder / "raw").mkdir(parents=True)
        (folder / "raw" / name).write_bytes(data)
        evaluation = EvaluationSet.model_validate(
            {"kind": kind, "paths": [name], "fields": ["q", "choices.text"], "id_field": "id"}
        )
        config = evaluation.items_config("quiz", DecontaminateConfig(ngram=5))
        found.append(list(read_rows(run_items(config, folder).path("items.parquet"))))
    assert found[0] == found[1] == found[2]
    assert [row["item"] for row in found[0]] == ["x7", "x8"]
    assert found[0][0]["words"] == " ".join([*split_words(QUESTION), "ten", "two"])
    assert {row["ngram"] for row in found[0]} == {5}


def test_a_line_of_text_is_an_item(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/items.txt").write_text(f"{QUESTION}\nshort\n")
    config = EvaluationItemsConfig(name="quiz", kind="text")
    items = run_items(config, tmp_path)
    assert [row["item"] for row in read_rows(items.path("items.parquet"))] == ["items.txt#0"]


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lines = [json.dumps({"text": QUESTION}), "{torn", "[1]", json.dumps({"question": "?"})]
    (tmp_path / "raw/items.jsonl").write_text("\n".join(lines))
    items = run_items(EvaluationItemsConfig(name="quiz", kind="jsonl"), tmp_path)
    unjudged = list(read_rows(items.path("unjudged.parquet")))
    assert [row["item"] for row in unjudged] == [f"items.jsonl#{n}" for n in (1, 2, 3)]
    assert {row["rule"] for row in unjudged} == {"damaged"}
    assert unjudged[0]["detail"].startswith("not JSON")
    assert [row["detail"] for row in unjudged[1:]] == [
        "not an object",
        "no field 'text' (it has question)",
    ]


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("jsonl", '{"question": "?"}\n', "quiz has no items .*'text' .it has question"),
        ("jsonl", "", "quiz has no items"),
        ("json", "{", "no readable json"),
        ("parquet", "PAR1", "no readable parquet"),
    ],
)
def test_a_set_that_cannot_be_read_is_one_line(
    tmp_path: Path, kind: str, data: str, message: str
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/items").write_text(data)
    config = EvaluationItemsConfig.model_validate({"name": "quiz", "kind": kind})
    with pytest.raises(SourceError, match=message) as error:
        run_items(config, tmp_path)
    assert "\n" not in str(error.value)


def test_the_index_is_sorted(tmp_path: Path) -> None:
    items = read_set(tmp_path, [make_text(seed) for seed in range(5)])
    hashes = pq.read_table(items.path("ngrams.parquet"))["hash"].to_numpy()
    assert len(hashes) > 100
    assert np.all(hashes[:-1] <= hashes[1:])


@pytest.mark.parametrize("values", [{"kind": "jsonl"}, {"kind": "exercises", "paths": ["a"]}])
def test_paths_are_given_where_there_are_files(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give paths"):
        EvaluationSet.model_validate(values)


def test_the_curriculum_holds_none_of_its_own_exercises(tmp_path: Path) -> None:
    curriculum.run(
        CurriculumConfig(num_bytes=200_000, shards=1), Inputs({}), tmp_path / "world", Runtime()
    )
    evaluation = EvaluationSet(kind="exercises", min_words=4)
    config = evaluation.items_config("exercises", DecontaminateConfig())
    out = tmp_path / "items"
    raw = as_artifact(tmp_path / "world").part("exercises")
    counts = evaluation_items.run(config, Inputs({"raw": raw}), out, Runtime())
    assert int(counts["num_items"]) > 10 * int(counts["num_too_short"])
    texts = [
        json.loads(line)["text"]
        for line in (tmp_path / "world/documents-000/records.jsonl").read_text().splitlines()
    ]
    items = list(read_rows(out / "items.parquet"))
    planted = f"{texts[0]} {items[-1]['words']}"
    kept, rows = clean(tmp_path, [*texts, planted], [as_artifact(out, "exercises")])
    assert kept == list(range(len(texts)))
    assert items[-1]["item"] in {row["item"] for row in rows}


def test_a_planted_word_problem_is_found(tmp_path: Path) -> None:
    folder = os.environ.get("HEADWATER_FIELD_DATA")
    if folder is None:
        pytest.skip("HEADWATER_FIELD_DATA names no folder of field data")
    (tmp_path / "raw").mkdir()
    data = Path(folder, "instructions/gsm8k-test.jsonl").read_bytes()
    (tmp_path / "raw/gsm8k-test.jsonl").write_bytes(data)
    config = EvaluationItemsConfig(name="gsm8k", kind="jsonl", fields=("question", "answer"))
    problems = [json.loads(line)["question"] for line in data.splitlines()]
    texts = [make_text(seed) for seed in range(50)]
    texts[20] += f" {problems[700].upper()}"
    kept, rows = clean(tmp_path, texts, [run_items(config, tmp_path)])
    assert kept == [number for number in range(50) if number != 20]
    assert {row["item"] for row in rows} == {"gsm8k-test.jsonl#700"}
