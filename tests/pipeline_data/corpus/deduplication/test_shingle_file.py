"""The file of shingles: written as they come, read from any place, plain to NumPy."""

from pathlib import Path

import numpy as np
import pytest

from pipeline_data.corpus.deduplication.shingle_file import open_shingles, read_shingles
from pipeline_data.errors import ArtifactError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shard" / "shingles.npy"
    pieces = [np.arange(start, end, dtype=np.uint64) for start, end in ((0, 3), (3, 3), (3, 9))]
    with open_shingles(path) as append:
        for piece in pieces:
            append(piece)
        with read_shingles(path) as read:  # also while it is being written
            assert read(2, 4).tolist() == [2, 3, 4, 5]
    assert np.load(path).tolist() == list(range(9))
    with read_shingles(path) as read:
        assert read(8, 1).tolist() == [8]
        assert read(9, 0).tolist() == []
        with pytest.raises(ArtifactError, match="ends too soon"):
            read(8, 2)


def test_a_file_of_nothing(tmp_path: Path) -> None:
    with open_shingles(tmp_path / "shingles.npy"):
        pass
    assert np.load(tmp_path / "shingles.npy").shape == (0,)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shingles.npy").write_text("something else")
    with pytest.raises(ArtifactError, match="damaged"), read_shingles(tmp_path / "shingles.npy"):
        pass
