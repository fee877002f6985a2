"""Random orders for ever: numbers and orders that are SHA-256 of a name.

A generator's stream may change with a library's version; a hash may not. What a model saw in its
steps can so be computed again at any time.
"""

import hashlib
from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt


def hash_names(prefix: str, names: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The first 64 bits of SHA-256 over the prefix and each name, ``[num_names]``."""
    start, names = prefix.encode(), iter(names)
    digests = []
    while part := list(islice(names, 65536)):
        digests.append(
            b"".join(hashlib.sha256(start + name.encode()).digest()[:8] for name in part)
        )
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def hash_numbers(name: str, count: int) -> npt.NDArray[np.uint64]:
    """:func:`hash_names` of ``name/0``, ``name/1`` and so on, ``[count]``."""
    return hash_names(f"{name}/", map(str, range(count)))


def shuffle_passes(name: str, num_items: int, count: int) -> npt.NDArray[np.int64]:
    """The first ``count`` of an endless queue that has every item once in each pass.

    Pass ``n`` is in the order of the hashes of ``name/n/item``.
    """
    assert num_items or not count, "a queue of nothing has no items"
    queue = np.empty(count, dtype=np.int64)
    for number, start in enumerate(range(0, count, max(1, num_items))):
        order = np.argsort(hash_numbers(f"{name}/{number}", num_items), kind="stable")
        queue[start : start + num_items] = order[: count - start]
    return queue
