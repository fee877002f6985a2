"""What is forgotten of the survivors, and when."""

import numpy as np

from pipeline_data.corpus.deduplication.survivors import Buckets, Document, Survivors


def test_what_no_later_document_can_meet_is_forgotten() -> None:
    stored: list[np.ndarray] = []
    survivors = Survivors(0.8, 1, stored.append, lambda start, num: np.array([1], np.uint64))
    documents = [
        Buckets(0, None, None, [1], []),
        Buckets(1, None, 2, [], []),
        Buckets(2, None, None, [1, 3], [3]),  # finds bucket 1 full and leaves nothing
        Buckets(3, None, None, [1], [1]),
        Buckets(4, None, 2, [], [2]),
    ]
    verdicts = []
    for buckets in documents:
        hashes = np.array([buckets.place + 1], np.uint64)
        verdicts.append(survivors.judge(Document(f"{buckets.place}", "s"), buckets, hashes))
    assert [verdict and verdict.rule for verdict in verdicts] == [None] * 4 + ["exact"]
    assert [array.tolist() for array in stored] == [[1], [2]]
    assert (survivors._buckets, survivors._crowded, survivors._full_buckets) == ({}, set(), {})
    assert survivors.num_partly_compared == 1
