import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.display import LiveDisplay, PlainDisplay, open_display
from flows.run_view import Display
from flows.summary import print_samples, print_summary
from pipeline_data.artifact import Artifact
from tasks.decision import Decision
from tasks.observer import Position
from tasks.stages import STAGES

ARTIFACT = Artifact("sft", 1, "key", "digest", Path())
LOGS = Path("/home/logs/run-1")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(display: Display, clock: Clock) -> None:
    """Two shards of extraction, one cached; a training stage under way; a source left out."""
    display.opened("run-1", LOGS)
    expected = {("extract", "b"): 4.0, ("sft", None): 50.0, ("reward", None): 20.0}
    decisions = [Decision(*slot, "run", "forced", seconds=s) for slot, s in expected.items()]
    display.decided([Decision("extract", "a", "reuse", "unchanged"), *decisions], 2)
    for stage, shard in (("extract", "a"), *expected):
        display.planned(stage, shard)
    display.reused("extract", "a", ARTIFACT)
    display.started("extract", "b")
    display.progressed("extract", "b", Position(5, 10, "documents"))
    clock.now += 6
    display.executed("extract", "b", ARTIFACT)
    display.started("sft", None)
    for step in (0, 30):
        clock.now += 5
        display.progressed("sft", None, Position(step, 120, "steps", {"loss": 1.234}))
    display.skipped("cookbook", "it cannot be had")


def fail(display: Display, logs: Path) -> None:
    """A training stage fails."""
    display.opened("run-1", logs)
    display.planned("sft", None)
    display.started("sft", None)
    (logs / "sft.log").touch()
    display.failed("sft", None, RuntimeError("out of memory"))


def test_plain_lines_tell_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with PlainDisplay(clock) as display:
        play(display, clock)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"run run-1, logs in {LOGS}",
        "extract: 2 shards, done in 6.0 s, 1 cached",
        "note: cookbook: it cannot be had",
    ]


def test_a_long_stage_is_heard_of_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with PlainDisplay(clock) as display:
        play(display, clock)
        for step in range(31, 60):
            clock.now += 1
            display.progressed("sft", None, Position(step, 120, "steps", {"loss": 1.0}))
    heard = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sft")]
    assert heard == [
        "sft: 35/120 steps, 3.5/s, 24 s left, loss 1",
        "sft: 50/120 steps, 2.0/s, 35 s left, loss 1",
    ]


def test_a_failed_stage_names_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay() as display:
        fail(display, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["note: sft failed: out of memory", f"log: {tmp_path / 'sft.log'}"]


@pytest.mark.parametrize("named", [True, False])
def test_the_view_leaves_the_log_of_a_failed_stage(tmp_path: Path, named: bool) -> None:
    display = live(60, 24, Clock())
    log = str(tmp_path / "sft.log")
    with pytest.raises(RuntimeError), display:
        fail(display, tmp_path)
        assert "✗ sft 0:00 failed, see sft.log" in words(display).replace("━", "")
        raise RuntimeError(log if named else "out of memory")
    left = display.console.file.getvalue()  # type: ignore[attr-defined]
    assert (f"sft failed; its log: {log}" in left) is not named


def screen(display: LiveDisplay) -> list[str]:
    """The lines that a terminal shows, as text."""
    with display.console.capture() as capture:
        display.console.print(display.render())
    return re.sub(r"\x1b\[[0-9;]*m", "", capture.get()).splitlines()


def words(display: LiveDisplay) -> str:
    return " ".join(" ".join(screen(display)).split())


def live(width: int, height: int, clock: Clock) -> LiveDisplay:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    return LiveDisplay(console, clock)


def test_the_live_view_has_a_row_a_stage() -> None:
    clock = Clock()
    display = live(100, 30, clock)
    play(display, clock)
    lines = [" ".join(re.sub("[━╸╺]", "", line).split()) for line in screen(display)]
    assert lines == [
        f"run run-1, logs in {LOGS}",
        "✓ extract 0:06 2 shards, 1 cached",
        "▸ sft 0:10 30/120 steps, 6.0/s, 15 s left, loss 1.23",
        "· reward about 20 s",
        "2/4 results, 1 cached, 16 s, about 35 s left",
        "cookbook: it cannot be had",
    ]


def test_a_stage_tried_again_is_no_longer_failed(tmp_path: Path) -> None:
    clock = Clock()
    display = live(100, 30, clock)
    fail(display, tmp_path)
    display.started("sft", None)
    assert "✗" not in words(display)
    display.executed("sft", None, ARTIFACT)
    assert "✓ sft" in words(display)


def run_everything(display: Display, running: Sequence[str]) -> None:
    """All stages: those before the first running one done, those after the last to come."""
    display.opened("run-1", LOGS)
    names = list(STAGES)
    for name in names:
        display.planned(name, None)
    for name in names[: names.index(running[0])]:
        display.reused(name, None, ARTIFACT)
    for name in running:
        display.started(name, None)
        display.progressed(name, None, Position(5, None, "documents", {"loss": 1.0}))
    display.skipped("a long note", "word " * 60)


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 24), (40, 10), (30, 12)])
def test_the_view_fits_every_terminal(width: int, height: int) -> None:
    display = live(width, height, Clock())
    run_everything(display, ["decontaminate", "tokenizer"])
    lines = screen(display)
    assert len(lines) < height
    assert max(len(line.rstrip()) for line in lines) <= width
    for name in ("decontaminate", "tokenizer"):
        assert any(line.startswith(f"▸  {name}") for line in lines)


def test_stages_that_do_not_fit_are_listed_in_a_line() -> None:
    display = live(80, 24, Clock())
    run_everything(display, ["pretrain"])
    lines = screen(display)
    assert lines[1].startswith("✓  19 done: download, fetch, site")
    assert [line.split()[1] for line in lines[2:-2]] == list(STAGES)[19:]
    display = live(80, 12, Clock())
    run_everything(display, ["download"])
    lines = screen(display)
    assert lines[1].startswith("▸  download")
    shown = [line.split()[1] for line in lines[1:-3]]
    assert shown == list(STAGES)[: len(shown)]
    assert lines[-3].startswith(
        f"·  {len(STAGES) - len(shown)} to come: {list(STAGES)[len(shown)]},"
    )


def test_no_escape_codes_where_nobody_looks() -> None:
    assert isinstance(open_display(io.StringIO()), PlainDisplay)


@pytest.fixture
def record() -> dict[str, Any]:
    measure = {
        "name": "pairs ranked right", "value": 0.9, "baseline": 0.5, "low": 0.878, "high": 0.919,
        "better": "higher",
    }  # fmt: skip
    stage = {"name": "reward", "shards": 1, "executed": 0, "cached": 1, "seconds": 15.7}
    return {
        "stages": [{**stage, "measures": [measure]}],
        "executed": 0, "cached": 1, "seconds": 3.2, "notes": ["cookbook: gone"],
    }  # fmt: skip


def test_the_summary_shows_each_measure_with_what_it_has_to_beat(record: dict[str, Any]) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=140)
    print_summary(console, record)
    print_samples(console, [{"prompt": "What is 2 + 3?", "answers": {"sft": "5.", "ppo": "[5]."}}])
    text = " ".join(stream.getvalue().split())
    assert "reward pairs ranked right 0.900 0.500 [0.878, 0.919] 15.7 all" in text
    assert "nothing to do: all 1 stage results were in the store; 3 s" in text
    assert "note: cookbook: gone" in text
    assert 'ppo "[5]."' in text


def test_the_summary_fits_a_narrow_terminal(record: dict[str, Any]) -> None:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=66), record)
    row = stream.getvalue().splitlines()[1]
    assert row.split() == ["reward", "pairs…", "0.900", "0.500", "[0.878,", "0.919]", "15.7", "all"]
