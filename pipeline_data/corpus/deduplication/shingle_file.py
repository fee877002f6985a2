"""The file ``shingles.npy``: the shingle hashes of a shard's documents, one after another.

A plain NumPy array of little-endian uint64, so that the few documents that deduplication must
compare are read from their place and the rest of a file larger than the texts is left alone.
``num_shingles`` of signatures.parquet says how many hashes each document has.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline_data.errors import ArtifactError

Hashes = npt.NDArray[np.uint64]

HASH_BYTES = 8


@contextmanager
def open_shingles(path: Path) -> Iterator[Callable[[Hashes], None]]:
    """Write documents' hashes as they come; yields the function that takes one document's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    num_hashes = 0

    def write(hashes: Hashes) -> None:
        nonlocal num_hashes
        handle.write(hashes.astype("<u8", copy=False).tobytes())
        num_hashes += len(hashes)

    with path.open("wb", buffering=0) as handle:  # a reader sees what was written
        _write_header(handle, num_hashes)
        yield write
        handle.seek(0)
        _write_header(handle, num_hashes)


@contextmanager
def read_shingles(path: Path) -> Iterator[Callable[[int, int], Hashes]]:
    """Yields a function that reads ``num_hashes`` from position ``start``, counted in hashes.

    Raises:
        ArtifactError: the file is not such an array, or ends before what is asked for.
    """
    with path.open("rb", buffering=0) as handle:
        try:
            np.lib.format.read_magic(handle)
            np.lib.format.read_array_header_1_0(handle)
        except ValueError as error:
            raise ArtifactError(f"{path} is damaged ({error}): rebuild it") from error
        data_start = handle.tell()

        def read(start: int, num_hashes: int) -> Hashes:
            num_bytes = num_hashes * HASH_BYTES
            data = os.pread(handle.fileno(), num_bytes, data_start + start * HASH_BYTES)
            if len(data) < num_bytes:
                raise ArtifactError(f"{path} is damaged (it ends too soon): rebuild it")
            return np.frombuffer(data, "<u8")

        yield read


def _write_header(handle: BinaryIO, num_hashes: int) -> None:
    """The header of a one-dimensional array; NumPy pads it, so that any length fits its place."""
    header = {"descr": "<u8", "fortran_order": False, "shape": (num_hashes,)}
    np.lib.format.write_array_header_1_0(handle, header)
