import pytest

from tasks.observer import Position
from tasks.pace import Pace, Speed, show_duration, show_position, show_rate


def run(pace: Pace, *moves: tuple[float, int], total: int | None = 1000) -> Pace:
    """A stage without shards that says at each time how far it is."""
    pace.start(None, 0.0)
    for now, done in moves:
        pace.move(None, Position(done, total, "steps"), now)
    return pace


def test_rate_and_time_left() -> None:
    pace = run(Pace(), (5.0, 0), (10.0, 100), (15.0, 200))
    assert pace.fraction == 0.2
    assert pace.seconds_left(15.0) == pytest.approx(40.0)
    assert pace.describe(15.0) == "200/1,000 steps, 20/s, 40 s left"
    assert pace.describe(25.0) == "200/1,000 steps, 20/s, 30 s left"  # counting down


def test_a_stalled_stage_slows_down() -> None:
    pace = run(Pace(), (0.0, 0), (10.0, 100), (20.0, 200))
    assert pace.describe(40.0) == "200/1,000 steps, 10/s, 1 min 00 s left"
    assert pace.describe(100.0) == "200/1,000 steps, 2.0/s, 6 min 40 s left"


def test_a_resumed_stage_counts_from_its_checkpoint() -> None:
    pace = run(Pace(), (5.0, 900), (10.0, 910))
    assert pace.describe(10.0) == "910/1,000 steps, 2.0/s, 45 s left"


def test_an_unknown_total_has_a_rate_and_no_end() -> None:
    pace = run(Pace(), (0.0, 0), (2.0, 1700), total=None)
    assert pace.fraction == 0.0
    assert pace.seconds_left(2.0) is None
    assert pace.describe(2.0) == "1,700 steps, 850/s"


def test_before_there_is_anything_to_compare_there_is_no_rate() -> None:
    assert Pace().describe(0.0) == ""
    assert run(Pace(), (1.0, 5)).describe(1.0) == "5/1,000 steps"
    assert run(Pace(), (1.0, 5), (9.0, 5)).describe(9.0) == "5/1,000 steps"


def test_the_end_leaves_no_time() -> None:
    pace = run(Pace(), (0.0, 0), (10.0, 1000))
    assert pace.describe(10.0) == "1,000/1,000 steps, 100/s"
    pace.execute(None, 10.0)
    assert (pace.is_finished, pace.is_running, pace.fraction) == (True, False, 1.0)


def test_a_second_attempt_starts_over() -> None:
    pace = run(Pace(), (0.0, 0), (10.0, 500))
    pace.fail(None)
    pace = run(pace, (20.0, 0), (30.0, 100))
    assert pace.fraction == 0.1
    assert pace.describe(30.0) == "100/1,000 steps, 20/s, 45 s left"  # 600 steps in 30 s


def test_another_unit_starts_another_rate() -> None:
    pace = run(Pace(), (0.0, 0), (10.0, 10))
    pace.move(None, Position(0, None, "documents"), 11.0)
    pace.move(None, Position(50, None, "documents"), 12.0)
    assert pace.describe(12.0) == "50 documents, 50/s"


def test_shards_are_counted_and_cached_ones_are_not_fast() -> None:
    pace = Pace(num_shards=10)
    for _ in range(6):
        pace.reuse()
    for shard, start in {"a": 0.0, "b": 20.0}.items():
        pace.start(shard, start)
        pace.move(shard, Position(100, None, "documents"), start + 10)
        pace.execute(shard, start + 20)
    assert pace.fraction == 0.8
    assert pace.describe(40.0) == "8/10 shards, 6.7 documents/s, 40 s left"


def test_shards_under_way_count_by_their_part() -> None:
    pace = Pace(num_shards=2)
    pace.start("a", 0.0)
    pace.move("a", Position(0, 10, "pages"), 0.0)
    pace.move("a", Position(5, 10, "pages"), 10.0)
    assert pace.fraction == 0.25
    assert pace.seconds_left(10.0) == pytest.approx(30.0)


def test_the_rate_follows_a_change_and_its_memory_stays_small() -> None:
    speed = Speed(0.0)
    for second in range(100_000):
        speed.grow(1.0, float(second))
    for second in range(100_000, 300_000):
        speed.grow(5.0, float(second))
    assert speed.per_second(300_000.0) == pytest.approx(5.0)
    assert len(speed._samples) < 200


def test_metrics_follow_and_rates_of_other_units_are_rates() -> None:
    metrics = {"loss": 2.3456, "steps_per_second": 9.0, "tokens_per_second": 26316.8}
    pace = Pace()
    pace.move(None, Position(3, 4, "steps", metrics), 0.0)
    assert pace.describe(0.0) == "3/4 steps, loss 2.35, 26,317 tokens/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (250, "4 min 10 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "unit", "text"),
    [
        (12345.6, "steps", "12,346/s"),
        (2.34, "steps", "2.3/s"),
        (0.05, "steps", "3/min"),
        (3_200_000, "bytes", "3.2 MB/s"),
    ],
)
def test_rates(rate: float, unit: str, text: str) -> None:
    assert show_rate(rate, unit) == text


def test_bytes_are_shown_as_sizes() -> None:
    assert show_position(Position(1_500_000, 4_000_000, "bytes")) == "1.5 MB of 4.0 MB"
    assert show_position(Position(1_500_000, None, "bytes")) == "1.5 MB"
