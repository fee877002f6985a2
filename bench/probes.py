"""Looks into a datatrove pipeline while it runs: who works how long, and what comes through.

A probe stands after each block. Documents are pulled, so work passes from block to block with
every document; a probe tells the clock whenever it does, and keeps a hash of each text by its URL.
What the probes themselves take is booked to nobody.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure import children_cpu_seconds

CHILDREN = "children"
"""To whom the work of processes that blocks have started is booked."""


@dataclass
class Trace:
    """What probes saw: CPU seconds by block, and by block the hash of each text by URL."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    passed: dict[str, dict[str, bytes]] = field(default_factory=dict)


class Clock:
    """Books CPU time to whoever works."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._worker = "probe"
        self._since = time.process_time()

    def give_to(self, worker: str) -> None:
        """From here on ``worker`` is at work."""
        now = time.process_time()
        self.seconds[self._worker] += now - self._since
        self._worker, self._since = worker, now


def text_hash(text: str) -> bytes:
    """A short hash that tells texts apart."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def run_chain(
    blocks: Sequence[tuple[str, Callable[..., Any]]], rank: int, world_size: int
) -> Trace:
    """Pull one task's documents through named blocks, with a probe after each."""
    trace = Trace()
    clock = Clock(trace.seconds)
    children = children_cpu_seconds()
    data: Any = None
    for index, (name, block) in enumerate(blocks):
        after = blocks[index + 1][0] if index + 1 < len(blocks) else "probe"
        clock.give_to(name)
        data = _probe(block(data, rank, world_size), name, after, clock, trace)
    for _ in data:
        pass
    clock.give_to("probe")
    del trace.seconds["probe"]
    trace.seconds[CHILDREN] = children_cpu_seconds() - children
    return trace


def _probe(
    documents: Iterable[Any] | None, name: str, after: str, clock: Clock, trace: Trace
) -> Iterator[Any]:
    passed = trace.passed[name] = {}
    if documents is None:  # a last block that is no generator has done its work when called
        return
    iterator = iter(documents)
    while True:
        clock.give_to(name)
        document = next(iterator, None)
        if document is None:
            clock.give_to(after)  # which closes its files
            return
        clock.give_to("probe")
        passed.setdefault(document.metadata["url"], text_hash(document.text))
        clock.give_to(after)
        yield document
