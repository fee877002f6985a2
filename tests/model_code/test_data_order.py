import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code import token_streams
from model_code.data_order import DataOrder, build_data_order
from model_code.mixture import Limits
from model_code.token_streams import read_heldout, read_streams
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
            "num_tokens": length,
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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    step=st.integers(0, 5),
    context=st.integers(2, 20),
    limits=st.sampled_from([Limits(), Limits(source_max_epochs={"alpha": 0.5})]),
)
def test_the_documents_of_a_step_are_those_whose_tokens_it_holds(
    shards: list[Artifact], seed: int, step: int, context: int, limits: Limits
) -> None:
    mixture = {"alpha": 1.0, "beta": 1.0}
    made = order(shards, mixture, seed=seed, context=context, limits=limits)
    expected = set()
    for index in range(step * 4, step * 4 + 4):
        source, start = made._position(index)
        stream = made.streams[source]
        for place in range(start, start + context):
            document = np.flatnonzero(stream.starts <= place)[-1]
            expected.add(stream.doc_ids[document].as_py())
    assert made.documents(step) == sorted(expected)
    assert made.rows(step).shape == (4, context)


def test_a_stream_holds_every_document_behind_a_bos(shards: list[Artifact]) -> None:
    stream = order(shards, {"alpha": 1.0}).streams[0]
    assert len(stream.tokens) == 5 + 20 + 3 + 17 + 9 + 30 + 6
    assert (stream.tokens == BOS).sum() == 6
    assert list(np.flatnonzero(stream.tokens == BOS)) == list(stream.starts)
    for start, doc_id in zip(stream.starts, stream.doc_ids.to_pylist(), strict=True):
        number = int(stream.tokens[start + 1])
        assert document_id("alpha", str(number - 1)) == doc_id


def test_each_row_is_seen_once_in_each_epoch(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 1.0}, batch_size=11, steps=4)
    epochs = [sorted(map(tuple, made.rows(step))) for step in range(4)]
    assert len(made.streams[0].tokens) // 8 == 11
    assert epochs[0] == epochs[1] == epochs[2]
    assert made.rows(0).tolist() != made.rows(1).tolist()
    assert [share.epochs for share in made.shares()] == [4.0]


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
    assert rows.sum(axis=1).tolist() == [19, 32, 8, 48]
    long = order(shards, {"alpha": 3.0, "beta": 1.0, "gone": 2.0}, seed=9, context=5, steps=300)
    seen = hashlib.sha256()
    for step in range(300):
        seen.update(long.rows(step).astype("<i8").tobytes())
        seen.update("".join(long.documents(step)).encode())
    assert seen.hexdigest() == GOLDEN


GOLDEN = "674d99acb22305e74ea0b89292fffa44d764fd19b356cbe5c888efcb684fd290"


def all_rows(made: DataOrder) -> list[list[list[int]]]:
    return [made.rows(step).tolist() for step in range(made.steps)]


def test_tokens_in_a_file_are_the_tokens_in_memory(shards: list[Artifact], tmp_path: Path) -> None:
    mixture = {"alpha": 3.0, "beta": 1.0}
    mapped = order(shards, mixture, scratch=tmp_path / "scratch")
    assert all_rows(mapped) == all_rows(order(shards, mixture))
    assert isinstance(mapped.streams[0].tokens, np.memmap)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_documents_of_a_step_are_known_without_reading_tokens(shards: list[Artifact]) -> None:
    made = order(shards, {"alpha": 3.0, "beta": 1.0})
    assert made.documents(3)
    assert all("tokens" not in vars(stream) for stream in made.streams)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=3),
    sources=st.lists(st.sampled_from(["alpha", "beta"]), min_size=36, max_size=36),
    splits=st.lists(st.sampled_from(["train", "train", "heldout"]), min_size=36, max_size=36),
    place_tokens=st.integers(1, 60),
    batch_rows=st.integers(1, 5),
)
def test_a_stream_is_its_documents_in_any_shards_and_batches(
    lengths: list[list[int]],
    sources: list[str],
    splits: list[str],
    place_tokens: int,
    batch_rows: int,
) -> None:
    numbers = iter(range(1, 100))
    rows = [[(next(numbers), n) for n in shard] for shard in lengths]
    expected: dict[str, dict[str, int]] = {"alpha": {}, "beta": {}}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_streams, "PLACE_TOKENS", place_tokens)
        patch.setattr(token_streams, "BATCH_ROWS", batch_rows)
        made = []
        for i, shard_rows in enumerate(rows):
            for number, length in shard_rows:
                if splits[number - 1] == "train":
                    expected[sources[number - 1]][str(number)] = length
            made.append(mixed_shard(Path(folder) / str(i), shard_rows, sources, splits))
        streams = read_streams(made, ["alpha", "beta"], BOS, 1)
        assert [s.source for s in streams] == [s for s in expected if expected[s]]
        for stream in streams:
            assert len(stream.tokens) == stream.num_tokens
            found = {}
            ends = [*stream.starts[1:], stream.num_tokens]
            for doc_id, start, end in zip(
                stream.doc_ids.to_pylist(), stream.starts, ends, strict=True
            ):
                assert stream.tokens[start] == BOS
                assert set(stream.tokens[start + 1 : end].tolist()) <= {int(doc_id)}
                found[doc_id] = end - start - 1
            assert found == expected[stream.source]


def mixed_shard(
    path: Path, rows: list[tuple[int, int]], sources: list[str], splits: list[str]
) -> Artifact:
    write_table(
        path / "tokens.parquet",
        TOKENS,
        [
            {
                "doc_id": str(number),
                "url": str(number),
                "source": sources[number - 1],
                "split": splits[number - 1],
                "num_bytes": length,
                "num_tokens": length,
                "tokens": [number] * length,
            }
            for number, length in rows
        ],
    )
    return Artifact("tokens", 1, "key", "digest", path, str(path.name))


LIMITS = st.builds(
    Limits,
    max_epochs=st.none() | st.floats(0.5, 6),
    source_max_epochs=st.dictionaries(st.sampled_from(["alpha", "beta"]), st.floats(0.2, 6)),
    source_max_tokens=st.dictionaries(st.sampled_from(["alpha", "beta"]), st.integers(1, 400)),
)


@settings(max_examples=80, deadline=None)
@given(limits=LIMITS, steps=st.integers(1, 12), seed=st.integers(0, 9), alpha=st.floats(0.1, 9))
def test_no_source_gives_more_than_it_may(
    shards: list[Artifact], limits: Limits, steps: int, seed: int, alpha: float
) -> None:
    mixture = {"alpha": alpha, "beta": 1.0}
    free = order(shards, mixture, steps=steps, seed=seed)
    most = [limits.max_rows(s.source, s.num_tokens // 8, 8) for s in free.streams]
    if None not in most and sum(n or 0 for n in most) < steps * 4:
        with pytest.raises(
            RecipeError, match=rf"^steps: .* at most {sum(n or 0 for n in most) // 4}"
        ):
            order(shards, mixture, steps=steps, seed=seed, limits=limits)
        return
    made = order(shards, mixture, steps=steps, seed=seed, limits=limits)
    again = order(shards[::-1], mixture, steps=steps, seed=seed, limits=limits)
    assert all_rows(made) == all_rows(again)
    assert sum(share.num_tokens for share in made.shares()) == steps * 4 * 8
    for share, rows in zip(made.shares(), most, strict=True):
        assert rows is None or share.num_tokens <= rows * 8
    binds = any(
        rows is not None and share.num_tokens > rows * 8
        for share, rows in zip(free.shares(), most, strict=True)
    )
    assert made.is_limited == binds
    assert binds or all_rows(made) == all_rows(free)


def test_a_limited_source_is_spread_over_the_run(shards: list[Artifact]) -> None:
    limits = Limits(source_max_epochs={"beta": 20.0})
    made = order(shards, {"alpha": 1.0, "beta": 1.0}, steps=400, limits=limits)
    beta = made.shares()[1]
    assert (beta.weight, beta.epochs) == (0.5, 20.0)
    places = np.array([made._position(index)[0] for index in range(1600)])
    quarters = places.reshape(4, 400).mean(axis=1)
    assert quarters == pytest.approx([beta.share] * 4, abs=0.06)
