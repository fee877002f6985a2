"""Measuring: what is counted, in which order rivals go, and what a report says."""

import argparse
import json
import subprocess
import sys
from typing import Any

import pytest

from bench.measure import (
    Report,
    Table,
    Target,
    busy_seconds,
    cpu_seconds,
    format_table,
    interleave,
    measure,
    open_process,
    parse_arguments,
    print_report,
    ratio,
)

MEGABYTE = 1_000_000


def hold(num_bytes: int) -> int:
    return len(bytearray(b"x" * num_bytes))


def work_in_child(loops: int) -> None:
    subprocess.run([sys.executable, "-c", f"sum(range({loops}))"], check=True)


def test_children_that_were_waited_for_are_counted() -> None:
    _, little = measure(work_in_child, 10)
    _, much = measure(work_in_child, 20_000_000)
    assert much.cpu_seconds > little.cpu_seconds + 0.05
    assert much.wall_seconds > 0


def test_system_wide_work_includes_ours() -> None:
    busy, own = busy_seconds(), cpu_seconds()
    sum(range(20_000_000))
    assert busy_seconds() - busy > 0.5 * (cpu_seconds() - own) > 0


def test_fresh_process_has_a_peak_of_its_own() -> None:
    ballast = bytearray(b"x" * 300 * MEGABYTE)
    with open_process() as process:
        _, small = process(hold, MEGABYTE)
        length, large = process(hold, 200 * MEGABYTE)
    assert length == 200 * MEGABYTE
    assert small.peak_bytes < len(ballast) < small.peak_bytes + len(ballast)
    assert large.peak_bytes > small.peak_bytes + 150 * MEGABYTE


def test_error_in_a_process_comes_back() -> None:
    with open_process() as process, pytest.raises(TypeError):
        process(hold, "not a number")


def test_rivals_take_turns_to_go_first() -> None:
    order: list[str] = []

    def rival(name: str) -> Any:
        return lambda value: order.append(name) or (name, value)

    rounds = list(interleave({"a": rival("a"), "b": rival("b")}, [1, 2, 3]))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert rounds[1] == {"a": ("a", 2), "b": ("b", 2)}


def test_ratio_is_of_sums_with_its_range() -> None:
    found = ratio([1.0, 9.0], [1.0, 3.0])
    assert (found.value, found.low, found.high) == (2.5, 1.0, 3.0)
    assert str(found) == "2.50 (rounds 1.00 to 3.00)"


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("speed", 2.0, 2.0), True),
        (Target("speed", 1.9, 2.0), False),
        (Target("memory", 1.0, 1.0, "lower"), True),
        (Target("memory", 1.1, 1.0, "lower"), False),
    ],
)
def test_target_is_met_at_its_goal(target: Target, met: bool) -> None:
    assert target.met is met


def test_report_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("Speed", ("stage", "rate"), [("extract", 12.5)])
    report = Report("corpus", [Target("speed", 1.23456, 2.0)], [table], ["busy"])
    print_report(report, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["name", "machine", "targets", "tables", "notes"]
    assert printed["targets"] == [
        {"name": "speed", "value": 1.2346, "goal": 2.0, "better": "higher", "met": False}
    ]
    assert printed["tables"] == [{"title": "Speed", "rows": [{"stage": "extract", "rate": 12.5}]}]
    assert printed["machine"]["cores"] >= 1


def test_report_for_people_names_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report("corpus", [Target("speed", 1.5, 2.0), Target("gb", 0.5, 1.0, "lower")]))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["speed", "1.50", ">=", "2", "MISSED"] for line in lines)
    assert any(line.split() == ["gb", "0.50", "<=", "1", "met"] for line in lines)


def test_table_is_aligned() -> None:
    text = format_table(Table("T", ("a", "number"), [("x", 12345), ("long", 0.5)]))
    assert text == "T\na     number\n------------\nx     12,345\nlong     0.5\n"


def test_every_benchmark_has_the_same_options() -> None:
    options = parse_arguments(argparse.ArgumentParser(), ["--quick"])
    assert (options.quick, options.json) == (True, False)
