"""How far a stage is with all its shards, how fast it goes, and how long it will still take."""

from collections import deque
from collections.abc import Iterator

from rich.filesize import decimal

from tasks.observer import Position

WINDOW_SECONDS = 30.0
NUM_SAMPLES = 100
NUM_METRICS = 2
STALL_GAPS = 2.0
RATE = "_per_second"


class Speed:
    """How fast an amount grows: over the later half of the time, and no less than the window."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.amount = 0.0
        self._samples = deque([(now, 0.0)])

    def grow(self, by: float, now: float) -> None:
        """The amount has grown."""
        self.amount += by
        if len(self._samples) > 1 and now - self._samples[-2][0] < self._spacing(now):
            self._samples.pop()
        self._samples.append((now, self.amount))
        oldest = now - max(WINDOW_SECONDS, (now - self.since) / 2)
        while len(self._samples) > 2 and self._samples[1][0] <= oldest:
            self._samples.popleft()

    def per_second(self, now: float) -> float | None:
        """The rate; not known before there are two moments to compare."""
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        until = now if self._stalls(now) else end
        return (after - before) / (until - start) if until > start and after > before else None

    def seconds_until(self, amount: float, now: float) -> float | None:
        """How long until so much more has come, counted from ``now``."""
        rate = self.per_second(now)
        if rate is None:
            return None
        waited = 0.0 if self._stalls(now) else now - self._samples[-1][0]
        return max(0.0, amount / rate - waited)

    def _stalls(self, now: float) -> bool:
        """Whether nothing has come for far longer than it usually takes."""
        start, end = self._samples[0][0], self._samples[-1][0]
        return now - end > STALL_GAPS * (end - start) / max(1, len(self._samples) - 1)

    def _spacing(self, now: float) -> float:
        return max(WINDOW_SECONDS, now - self.since) / NUM_SAMPLES


class Pace:
    """How a stage gets on: it is told what its shards do, and when (in seconds of any clock).

    What was there before does not count as fast: neither shards from the store nor the steps
    that a resumed stage finds in its checkpoint, so the rate of a stage without shards counts from
    where it is first heard of.

    Args:
        num_shards: results to come; one for a stage without shards.
    """

    def __init__(self, num_shards: int = 1) -> None:
        self.num_shards = num_shards
        self.num_reused = 0
        self.num_executed = 0
        self.latest: Position | None = None
        self._running: dict[str | None, Position | None] = {}
        self._units: Speed | None = None
        self._shards: Speed | None = None

    def start(self, shard: str | None, now: float) -> None:
        """A shard's stage function begins, perhaps again."""
        self._running[shard] = None
        self._shards = self._shards or Speed(now)

    def move(self, shard: str | None, position: Position, now: float) -> None:
        """A shard says how far it is."""
        if shard not in self._running:
            self.start(shard, now)
        assert self._shards is not None
        before = self._running[shard]
        if before is None and self.num_shards > 1:  # many short ones: each is new from its start
            before = Position(0, position.total, position.unit)
        if self._units is None:
            self._units = Speed(now if self.num_shards == 1 else self._shards.since)
        if before and before.unit == position.unit and before.done <= position.done:
            self._units.grow(position.done - before.done, now)
            if _fraction(position) > _fraction(before):
                self._shards.grow(_fraction(position) - _fraction(before), now)
        elif before and before.unit != position.unit:
            self._units = Speed(now)
        self._running[shard] = self.latest = position

    def execute(self, shard: str | None, now: float) -> None:
        """A shard is done."""
        position = self._running.pop(shard, None)
        self.num_executed += 1
        self._shards = self._shards or Speed(now)
        self._shards.grow(1.0 - (_fraction(position) if position else 0.0), now)

    def reuse(self) -> None:
        """A shard is in the store already."""
        self.num_reused += 1

    def fail(self, shard: str | None) -> None:
        """A shard's stage function has ended without a result."""
        self._running.pop(shard, None)

    @property
    def num_finished(self) -> int:
        """Shards with a result."""
        return self.num_reused + self.num_executed

    @property
    def is_finished(self) -> bool:
        """Whether every shard has a result."""
        return self.num_finished >= self.num_shards

    @property
    def is_running(self) -> bool:
        """Whether a stage function is at work."""
        return bool(self._running)

    @property
    def fraction(self) -> float:
        """The part that is done, as far as it can be known."""
        under_way = sum(_fraction(position) for position in self._running.values() if position)
        return min(1.0, (self.num_finished + under_way) / max(1, self.num_shards))

    def seconds_left(self, now: float) -> float | None:
        """How long it will still take, if that can be said."""
        if self.num_shards > 1:
            to_come = (1.0 - self.fraction) * self.num_shards
            return self._shards.seconds_until(to_come, now) if self._shards else None
        if self.latest is None or self.latest.total is None or self._units is None:
            return None
        return self._units.seconds_until(self.latest.total - self.latest.done, now)

    def describe(self, now: float) -> str:
        """One line, such as ``12,300/40,000 documents, 850/s, 33 s left``."""
        return ", ".join(self._parts(now))

    def _parts(self, now: float) -> Iterator[str]:
        position = self.latest
        rate = self._units.per_second(now) if self._units else None
        if self.num_shards > 1:
            yield f"{self.num_finished:,}/{self.num_shards:,} shards"
            if position and rate is not None:
                yield show_rate(rate, position.unit, named=True)
        elif position:
            yield show_position(position)
            if rate is not None:
                yield show_rate(rate, position.unit)
        seconds = None if self.is_finished else self.seconds_left(now)
        if seconds is not None and seconds >= 0.5:
            yield f"{show_duration(seconds)} left"
        if position and self.num_shards == 1:
            yield from list(_show_metrics(position))[:NUM_METRICS]


def _fraction(position: Position) -> float:
    return min(1.0, position.done / position.total) if position.total else 0.0


def _show_metrics(position: Position) -> Iterator[str]:
    for name, value in position.metrics.items():
        unit = name.removesuffix(RATE)
        if unit == name:
            yield f"{name} {value:.3g}"
        elif unit != position.unit:
            yield show_rate(value, unit, named=True)


def show_position(position: Position) -> str:
    """Units done, of all where that is known."""
    if position.unit == "bytes":
        of_total = f" of {decimal(position.total)}" if position.total else ""
        return f"{decimal(position.done)}{of_total}"
    of_total = f"/{position.total:,}" if position.total else ""
    return f"{position.done:,}{of_total} {position.unit}"


def show_rate(rate: float, unit: str, named: bool = False) -> str:
    """Units a second, or a minute where that is a better number; with the unit's name if wanted."""
    if unit == "bytes":
        return f"{decimal(int(rate))}/s"
    name = f" {unit}" if named else ""
    if rate < 0.1:
        return f"{60 * rate:.2g}{name}/min"
    return f"{rate:,.0f}{name}/s" if rate >= 10 else f"{rate:.1f}{name}/s"


def show_duration(seconds: float) -> str:
    """Seconds as a person says them: ``33 s``, ``4 min 10 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
