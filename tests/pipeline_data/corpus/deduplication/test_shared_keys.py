"""Who shares a key with whom, in memory and spilled."""

from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_data.corpus.deduplication.shared_keys import BucketStream, find_buckets, open_database
from pipeline_data.corpus.deduplication.survivors import Buckets
from pipeline_data.formats import SIGNATURES
from pipeline_data.stage_run import Runtime
from tests.pipeline_data.corpus.deduplication.signature_material import Signed, signatures_artifact

Members = set[tuple[str, frozenset[int]]]


def sign(folder: Path, shards: list[list[Signed]]) -> tuple[list[Path], list[int]]:
    paths = [
        signatures_artifact(folder / str(index), rows, "s").path("signatures.parquet")
        for index, rows in enumerate(shards)
    ]
    return paths, list(accumulate(map(len, shards[:-1]), initial=0))


def read_buckets(
    folder: Path, paths: list[Path], starts: list[int], memory_mb: int = 200
) -> tuple[list[Buckets], bool]:
    """What shares something, and whether anything was spilled."""
    spill = folder / "spill"
    spill.mkdir()
    with open_database(spill, Runtime(memory_mb=memory_mb)) as database:
        found = list(find_buckets(database, paths, starts))
        return found, any(spill.iterdir())


def members_of(found: list[Buckets]) -> Members:
    """The documents of each bucket, which its last document must close."""
    members: dict[tuple[str, int], list[int]] = {}
    for buckets in found:
        for kind, numbers in (
            ("doc_id", [buckets.doc_id]),
            ("text", [buckets.text]),
            ("band", buckets.bands),
        ):
            for number in numbers:
                if number is not None:
                    members.setdefault((kind, number), []).append(buckets.place)
    last = {number: places[-1] for (_, number), places in members.items()}
    closed = {number: b.place for b in found for number in b.closing}
    assert closed == last
    return {(kind, frozenset(places)) for (kind, _), places in members.items()}


def test_ids_texts_and_bands_that_are_shared(tmp_path: Path) -> None:
    nothing = frozenset[int]()
    shards = [
        [Signed("a", "one", (1, 2, 3), nothing), Signed("b", "two", (4, 5, 6), nothing)],
        [],
        [Signed("a", "three", (7, 2, 3), nothing), Signed("c", "one", (1, 2, 3), nothing)],
        [Signed("d", "four", (), nothing), Signed("e", "five", (8, 9, 10), nothing)],
    ]
    found, _ = read_buckets(tmp_path, *sign(tmp_path, shards))
    assert [buckets.place for buckets in found] == [0, 2, 3]
    assert members_of(found) == {
        ("doc_id", frozenset({0, 2})),
        ("text", frozenset({0, 3})),
        ("band", frozenset({0, 2, 3})),
        ("band", frozenset({0, 3})),
    }
    assert [len(buckets.bands) for buckets in found] == [2, 1, 2]  # bands 2 and 3 are one bucket


def test_buckets_of_different_documents_stay_apart(tmp_path: Path) -> None:
    bands = [(1, 2), (1, 3), (2, 3), (1, 2)]
    shard = [Signed(str(n), str(n), pair, frozenset()) for n, pair in enumerate(bands)]
    found, _ = read_buckets(tmp_path, *sign(tmp_path, [shard]))
    assert members_of(found) == {("band", frozenset(m)) for m in ({0, 1, 3}, {0, 2, 3}, {1, 2})}


def test_a_stream_gives_each_document_once() -> None:
    documents = [Buckets(place, None, None, [], []) for place in (0, 1, 5, 6, 20)]
    stream = BucketStream(iter(documents))
    places = [[buckets.place for buckets in stream.before(end)] for end in (0, 2, 2, 6, 30)]
    assert places == [[], [0, 1], [], [5], [6, 20]]


@pytest.mark.parametrize("memory_mb", [30, 1024])
def test_what_does_not_fit_is_spilled(tmp_path: Path, memory_mb: int) -> None:
    num_documents, num_bands = 60_000, 14
    rng = np.random.default_rng(1)
    bands = rng.integers(2**32, 2**64, (num_documents, num_bands), np.uint64)
    bands[::2, 0] = np.arange(num_documents // 2) // 2  # every other document has one partner
    names = [f"{number:016x}" for number in range(num_documents)]
    offsets = np.arange(num_documents + 1, dtype=np.int32) * num_bands
    table = pa.table(
        {
            "doc_id": names,
            "text_sha256": names,
            "bands": pa.ListArray.from_arrays(offsets, bands.ravel()),
            "num_shingles": pa.array([1] * num_documents, pa.int32()),
        },
        schema=SIGNATURES,
    )
    path = tmp_path / "signatures.parquet"
    pq.write_table(table, path)
    found, spilled = read_buckets(tmp_path, [path], [0], memory_mb)
    assert spilled == (memory_mb == 30)
    assert members_of(found) == {
        ("band", frozenset({place, place + 2})) for place in range(0, num_documents, 4)
    }
