from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.data_order import DataOrder, build_data_order, read_heldout
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError, RecipeError
from pipeline_data.formats import TOKENS, document_id, write_table

BOS = 0


def shard(path: Path, source: str, lengths: list[int], split: str = "train") -> Artifact:
    """Documents whose tokens all are the document's number, from 1."""
    rows = [
        {
            "doc_id": document_id(source, str(i)),
            "url": str(i),
            "source": source,
            "split": split,
            "num_bytes": length,
            "tokens": [i + 1] * length,
        }
        for i, length in enumerate(lengths)
    ]
    write_table(path / "tokens.parquet", TOKENS, rows)
    return Artifact("tokens", 1, "key", "digest", path, source)


def order(shards: list[Artifact], mixture: dict[str, float], **changes: Any) -> DataOrder:
    settings: dict[str, Any] = {"seed": 1, "batch_size": 4, "context": 8, "steps": 6, **changes}
    return build_data_order(shards, mixture, BOS, **settings)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    path = tmp_path_factory.mktemp("shards")
    return [
        shard(path / "a", "alpha", [5, 20, 3, 17, 9, 30]),
        shard(path / "b", "beta", [40, 2, 25]),
    ]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), step=st.integers(0, 5), context=st.integers(2, 20))
def test_the_documents_of_a_step_are_those_whose_tokens_it_holds(
    shards: list[Artifact], seed: int, step: int, context: int
) -> None:
    made = order(shards, {"alpha": 1.0, "beta": 1.0}, seed=seed, context=context)
    expected = set()
    for index in range(step * 4, step * 4 + 4):
        source, start = made._position(index)
        stream = made.streams[source]
        for place in range(start, start + context):
            document = np.flatnonzero(stream.starts <= place)[-1]
            expected.add(stream.doc_ids[document])
    assert made.documents(step) == sorted(expected)
    assert made.rows(step).shape == (4, context)


def test_a_stream_holds_every_document_behind_a_bos(shards: list[Artifact]) -> None:
    stream = order(shards, {"alpha": 1.0}).streams[0]
    assert len(stream.tokens) == 5 + 20 + 3 + 17 + 9 + 30 + 6
    assert (stream.tokens == BOS).sum() == 6
    assert list(np.flatnonzero(stream.tokens == BOS)) == list(stream.starts)
    for start, doc_id in zip(stream.starts, stream.doc_ids, strict=True):
        number = int(stream.tokens[start + 1])
        assert document_id("alpha", str(number - 1)) == doc_id


def test_each_row_is_seen_once_in_each_epoch(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 1.0}, batch_size=11, steps=4)
    epochs = [sorted(map(tuple, made.rows(step))) for step in range(4)]
    assert len(made.streams[0].tokens) // 8 == 11
    assert epochs[0] == epochs[1] == epochs[2]
    assert made.rows(0).tolist() != made.rows(1).tolist()
    assert made.epochs() == {"alpha": 4.0}


def test_order_does_not_depend_on_the_order_of_shards_but_on_the_seed(
    shards: list[Artifact],
) -> None:
    mixture = {"beta": 1.0, "alpha": 2.0}
    made = order(shards, mixture)
    again = order(shards[::-1], dict(reversed(mixture.items())))
    other = order(shards, mixture, seed=2)
    assert all(np.array_equal(made.rows(i), again.rows(i)) for i in range(6))
    assert not all(np.array_equal(made.rows(i), other.rows(i)) for i in range(6))


def test_the_first_steps_do_not_depend_on_how_many_follow(shards: list[Artifact]) -> None:
    short, long = (order(shards, {"alpha": 1.0, "beta": 1.0}, steps=n) for n in (3, 9))
    assert all(np.array_equal(short.rows(i), long.rows(i)) for i in range(3))


def test_rows_follow_the_mixture(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 3.0, "beta": 1.0}, steps=500)
    share = np.mean([made._position(i)[0] == 0 for i in range(2000)])
    assert share == pytest.approx(0.75, abs=0.03)


def test_a_missing_source_is_named_and_the_others_take_its_share(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 3.0, "beta": 1.0, "gone": 4.0, "unwanted": 0.0})
    assert made.missing == ["gone"]
    assert made.weights == [0.75, 0.25]


def test_a_mixture_of_which_nothing_is_left_is_refused(shards: list[Artifact]) -> None:
    with pytest.raises(RecipeError, match=r"gone.*weights above 0"):
        order(shards, {"gone": 1.0})
    with pytest.raises(ArtifactError, match="token shard"):
        order([], {"alpha": 1.0})


def test_a_step_outside_the_run_is_refused(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 1.0})
    for step in (-1, 6):
        with pytest.raises(IndexError):
            made.documents(step)


def test_held_out_documents_are_never_in_the_order(tmp_path: Path) -> None:
    held = shard(tmp_path / "h", "alpha", [6, 6], split="heldout")
    train = shard(tmp_path / "t", "alpha", [5, 20, 3, 17])
    made = order([held, train], {"alpha": 1.0})
    assert len(made.streams[0].doc_ids) == 4
    documents = read_heldout([held, train])
    assert [d.num_bytes for d in documents] == [6, 6]
    assert [d.doc_id for d in documents] == [d.doc_id for d in read_heldout([train, held])]


def test_the_order_is_fixed_for_ever(shards: list[Artifact]) -> None:
    """What a released model saw must stay computable: this may never change."""
    rows = order(shards, {"alpha": 3.0, "beta": 1.0}).rows(5)
    assert rows.sum(axis=1).tolist() == GOLDEN


GOLDEN = [19, 32, 8, 48]
