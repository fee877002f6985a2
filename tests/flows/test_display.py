import io
from pathlib import Path

import pytest
from rich.console import Console

from flows.display import Display, LiveDisplay, PlainDisplay, open_display
from flows.summary import print_samples, print_summary
from pipeline_data.artifact import Artifact

ARTIFACT = Artifact("sft", 1, "key", "digest", Path())


def play(display: Display) -> None:
    """Two shards of extraction, one cached; a training stage under way; a source left out."""
    for shard in ("a", "b"):
        display.planned("extract", shard)
    display.planned("sft", None)
    display.reused("extract", "a", ARTIFACT)
    display.started("extract", "b")
    display.progressed("extract", "b", 5, 10, "documents", {})
    display.executed("extract", "b", ARTIFACT)
    display.started("sft", None)
    display.progressed("sft", None, 30, 120, "steps", {"loss": 1.234})
    display.skipped("cookbook", "it cannot be had")


def test_plain_lines_tell_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay() as display:
        play(display)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "extract: 2 shards, done in 0.0 s, 1 cached",
        "note: cookbook: it cannot be had",
    ]


def test_a_long_stage_is_heard_of_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.display.PLAIN_SECONDS", 0.0)
    with PlainDisplay() as display:
        play(display)
    assert "sft: 30/120 steps  loss 1.23" in capsys.readouterr().err


def test_the_live_view_has_a_row_a_stage() -> None:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, width=100, force_terminal=True, no_color=True))
    play(display)
    display._live.console.print(display._render())
    text = " ".join(stream.getvalue().split())
    assert "✓ extract 2/2" in text
    assert "1 cached" in text
    assert "▸ sft" in text
    assert "30/120 steps loss 1.23" in text
    assert "cookbook: it cannot be had" in text
    assert "pretrain" not in text  # not planned


def test_no_escape_codes_where_nobody_looks() -> None:
    assert isinstance(open_display(io.StringIO()), PlainDisplay)


def test_the_summary_shows_each_measure_with_what_it_has_to_beat() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=140)
    measure = {
        "name": "pairs ranked right", "value": 0.9, "baseline": 0.5, "low": 0.878, "high": 0.919,
        "better": "higher",
    }  # fmt: skip
    stage = {"name": "reward", "shards": 1, "executed": 0, "cached": 1, "seconds": 15.7}
    record = {
        "stages": [{**stage, "measures": [measure]}],
        "executed": 0, "cached": 1, "seconds": 3.2, "notes": ["cookbook: gone"],
    }  # fmt: skip
    print_summary(console, record)
    print_samples(console, [{"prompt": "What is 2 + 3?", "answers": {"sft": "5.", "ppo": "[5]."}}])
    text = " ".join(stream.getvalue().split())
    assert "reward pairs ranked right 0.900 0.500 [0.878, 0.919] 15.7 all" in text
    assert "nothing to do: all 1 stage results were in the store; 3 s" in text
    assert "note: cookbook: gone" in text
    assert 'ppo "[5]."' in text
