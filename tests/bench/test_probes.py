"""Probes book each block's own time to it, also what it does at the end."""

import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from bench.probes import CHILDREN, run_chain, text_hash


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def read(data: None, rank: int, world_size: int) -> Iterator[Any]:
    for number in range(4):
        spin(0.01)
        yield SimpleNamespace(text=f"text {number}", metadata={"url": f"u{number}"})


def drop_odd(data: Iterable[Any], rank: int, world_size: int) -> Iterator[Any]:
    for document in data:
        spin(0.02)
        if document.text[-1] in "02":
            document.text += " kept"
            yield document


def write(data: Iterable[Any], rank: int, world_size: int) -> Iterator[Any]:
    yield from data
    spin(0.03)  # such as flushing what is buffered


def count(data: Iterable[Any], rank: int, world_size: int) -> None:
    for _ in data:
        spin(0.03)


def test_time_is_booked_to_who_works() -> None:
    trace = run_chain([("read", read), ("filter", drop_odd), ("write", write)], 0, 1)
    assert set(trace.seconds) == {"read", "filter", "write", CHILDREN}
    for block, seconds in {"read": 0.04, "filter": 0.08, "write": 0.03}.items():
        assert seconds <= trace.seconds[block] < seconds + 0.02
    assert trace.seconds[CHILDREN] == 0


def test_a_last_block_may_work_when_called() -> None:
    trace = run_chain([("read", read), ("filter", drop_odd), ("count", count)], 0, 1)
    assert 0.06 <= trace.seconds["count"] < 0.08
    assert 0.04 <= trace.seconds["read"] < 0.06


def test_what_came_through_each_block_is_kept() -> None:
    trace = run_chain([("read", read), ("filter", drop_odd)], 0, 1)
    assert trace.passed["read"] == {f"u{n}": text_hash(f"text {n}") for n in range(4)}
    assert trace.passed["filter"] == {f"u{n}": text_hash(f"text {n} kept") for n in (0, 2)}
