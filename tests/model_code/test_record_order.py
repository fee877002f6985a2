import hashlib
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_code.hash_order import shuffle_passes
from model_code.record_order import RecordOrder

ORDERS = st.builds(
    RecordOrder,
    name=st.sampled_from(["prompts", "control"]),
    num_records=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    steps=st.integers(1, 20),
    seed=st.integers(0, 99),
)


@given(order=ORDERS)
def test_every_record_is_there_once_in_each_pass(order: RecordOrder) -> None:
    queue = [record for step in range(order.steps) for record in order.records(step)]
    assert len(queue) == order.steps * order.batch_size
    for start in range(0, len(queue), order.num_records):
        seen = queue[start : start + order.num_records]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(order.num_records))


@given(order=ORDERS)
def test_steps_of_a_record_are_those_that_hold_it(order: RecordOrder) -> None:
    for record in range(order.num_records):
        holding = [step for step in range(order.steps) if record in order.records(step)]
        assert order.steps_of(record) == holding


@given(order=ORDERS, steps=st.integers(1, 20), batch_size=st.integers(1, 12))
def test_the_queue_depends_on_name_seed_and_records_alone(
    order: RecordOrder, steps: int, batch_size: int
) -> None:
    torch.manual_seed(steps)
    np.random.seed(steps)
    random.seed(steps)
    other = RecordOrder(order.name, order.num_records, batch_size, steps, order.seed)
    length = min(len(order.queue), len(other.queue))
    assert order.queue[:length].tolist() == other.queue[:length].tolist()


def test_passes_names_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        RecordOrder(name, 20, 20, 2, seed).records(step)
        for name in ("practice", "control")
        for seed in (1, 2)
        for step in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_every_place_is_as_likely() -> None:
    first = Counter(RecordOrder("prompts", 5, 1, 1, seed).records(0)[0] for seed in range(500))
    assert all(70 < first[record] < 130 for record in range(5))


def test_a_step_outside_the_run_is_refused() -> None:
    order = RecordOrder("prompts", 3, 2, 4, 7)
    for step in (-1, 4):
        with pytest.raises(IndexError, match=r"is not in 0\.\.3"):
            order.records(step)


def test_without_records_there_are_no_steps() -> None:
    assert RecordOrder("practice", 0, 8, 0, 7).queue.tolist() == []
    with pytest.raises(AssertionError, match="a queue of nothing"):
        shuffle_passes("practice", 0, 8)


def test_the_order_is_fixed_for_ever() -> None:
    """What a released model saw must stay computable: this may never change."""
    assert RecordOrder("prompts", 10, 8, 2, 7).records(1) == GOLDEN
    long = RecordOrder("demonstrations", 3900, 32, 180, 7).queue
    assert hashlib.sha256(long.astype("<i8").tobytes()).hexdigest() == LONG_GOLDEN


GOLDEN = [6, 2, 7, 0, 5, 9, 1, 6]
LONG_GOLDEN = "f2f536e4326d2f2f5de47627e478f975c3c57147f8f16f7aaff84abd1c066040"
