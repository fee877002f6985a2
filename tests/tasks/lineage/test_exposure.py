"""What steps saw, on a finished run, against the training order itself and the token shards."""

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_code.data_order import DataOrder, pretraining_order
from model_code.language_model import load_tokenizer
from model_code.settings import PretrainConfig
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.exposure import (
    attribution,
    documents_of,
    read_orders,
    steps_of,
    steps_of_all,
)
from tasks.store import Store

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def store(finished_home: Path) -> Store:
    return Store(str(finished_home / "store"), finished_home / "cache")


@pytest.fixture(scope="module")
def base(store: Store) -> Artifact:
    return store.named("base")


@pytest.fixture(scope="module")
def shards(store: Store, base: Artifact) -> list[Artifact]:
    return [store.parent(p) for p in base.parents if p.role == "tokens"]


@pytest.fixture(scope="module")
def order(store: Store, base: Artifact, shards: list[Artifact]) -> DataOrder:
    tokenizer = next(store.parent(p) for p in base.parents if p.role == "tokenizer")
    bos = load_tokenizer(tokenizer.directory).bos_token_id
    return pretraining_order(PretrainConfig(**base.config), shards, bos)


@pytest.fixture(scope="module")
def documents(shards: list[Artifact]) -> dict[str, dict[str, Any]]:
    """Every document of the token shards by its id."""
    tables = [pq.read_table(shard.path("tokens.parquet")) for shard in shards]
    return {row["doc_id"]: row for row in pa.concat_tables(tables).to_pylist()}


def test_traced_tokens_are_exactly_where_the_training_had_them(
    base: Artifact, order: DataOrder, documents: dict[str, dict[str, Any]]
) -> None:
    (tokens,) = read_orders(base)
    with duckdb.connect() as database:
        places = {
            f"{row[0]:016x}": row[1:]
            for row in database.execute(
                f"SELECT document, stream, start, num_tokens FROM {tokens.documents}"
            ).fetchall()
        }
        rows = database.execute(f'SELECT stream, "row", "index" FROM {tokens.rows}').fetchall()
    rng = random.Random(5)
    for stream, row, index in rng.sample(rows, 60):
        column = rng.randrange(tokens.context)
        position = row * tokens.context + column
        (found,) = (
            doc_id
            for doc_id, (its_stream, start, length) in places.items()
            if its_stream == stream and start <= position < start + length
        )
        offset = position - places[found][1]
        expected = documents[found]["tokens"][offset - 1] if offset else order.streams[0].bos
        assert order.row(index)[column] == expected
        assert documents[found]["source"] == tokens.streams[stream]
        assert index // tokens.batch_size in steps_of(base, [found])[0].steps


def test_steps_and_documents_are_two_sides_of_one_order(
    base: Artifact, order: DataOrder, documents: dict[str, dict[str, Any]]
) -> None:
    seen = {step: documents_of(base, read_orders(base)[0], step) for step in range(order.steps)}
    for step in range(0, order.steps, 7):
        assert sorted(d.doc_id for d in seen[step]) == order.documents(step)
        assert sum(d.num_tokens for d in seen[step]) == order.batch_size * order.context
    for doc_id in random.Random(3).sample(sorted(documents), 25):
        steps = [s for s, found in seen.items() if doc_id in {d.doc_id for d in found}]
        tokens = sum(d.num_tokens for found in seen.values() for d in found if d.doc_id == doc_id)
        exposures = steps_of(base, [doc_id])
        assert [(e.steps, e.num_tokens) for e in exposures] == ([(steps, tokens)] if steps else [])


def test_held_out_documents_are_in_no_step(
    base: Artifact, documents: dict[str, dict[str, Any]]
) -> None:
    held_out = [doc_id for doc_id, row in documents.items() if row["split"] == "heldout"]
    assert held_out
    assert steps_of(base, held_out) == []
    assert steps_of_all(base, numbers(held_out)) == []


def test_many_documents_are_summed_up(base: Artifact, documents: dict[str, dict[str, Any]]) -> None:
    web = [doc_id for doc_id, row in documents.items() if row["source"] == "web"]
    exposures = steps_of(base, web)
    steps = {step for exposure in exposures for step in exposure.steps}
    (coverage,) = steps_of_all(base, numbers(web))
    assert (coverage.num_steps, coverage.first, coverage.last, coverage.num_documents) == (
        len(steps), min(steps), max(steps), len(exposures)
    )  # fmt: skip
    assert coverage.num_tokens == sum(exposure.num_tokens for exposure in exposures)


def test_every_token_of_every_training_belongs_to_something_on_record(store: Store) -> None:
    catalogue = Catalogue.open(store)
    found = {
        (artifact.stage, part.order): (part.num_tokens, part.num_attributed)
        for artifact in catalogue.ancestry(catalogue.named("assistant"))
        for part in attribution(artifact)
    }
    assert set(found) == {
        ("pretrain", "tokens"), ("sft", "demonstrations"), ("reward", "responses"),
        ("ppo", "prompts"), ("ppo", "tokens"), ("practice", "practice"), ("practice", "control"),
    }  # fmt: skip
    assert all(total == attributed > 0 for total, attributed in found.values())
    trained = store.named("base").counts["tokens"]
    assert found["pretrain", "tokens"] == (trained, trained)


def test_a_record_leads_to_the_steps_that_learned_it(store: Store) -> None:
    sft = store.named("sft")
    (order,) = read_orders(sft)
    seen = documents_of(sft, order, 3)
    assert len(seen) <= order.batch_size
    for record in seen[:4]:
        assert record.url and record.url.startswith("generated://exercises/demonstrations/")
        assert 3 in steps_of(sft, [record.doc_id])[0].steps


def test_a_missing_document_shows_as_tokens_of_nobody(base: Artifact, tmp_path: Path) -> None:
    copy = replace(base, directory=tmp_path / "copy")
    shutil.copytree(base.directory, copy.directory)
    (order,) = read_orders(copy)
    path = order.folder / "documents.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    ((whole),) = attribution(base)
    ((partial),) = attribution(copy)
    assert partial.num_tokens == whole.num_tokens
    first = f"{table['document'][0].as_py():016x}"
    assert whole.num_attributed - partial.num_attributed == sum(
        exposure.num_tokens for exposure in steps_of(base, [first])
    )


def test_a_step_that_never_was_is_refused(base: Artifact) -> None:
    with pytest.raises(ArtifactError, match="has no step 30; it has 0 to 29"):
        documents_of(base, read_orders(base)[0], 30)


def numbers(doc_ids: list[str]) -> pa.Array:
    return pa.array([int(doc_id, 16) for doc_id in doc_ids], pa.uint64())
