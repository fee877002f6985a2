"""What a plan says: a line a stage, whatever the number of its shards."""

import json

import pytest

from flows.graphs import GraphPlan
from flows.plan import describe_plan, plan_as_json, print_plan, show_estimate, summarise_plan
from tasks.decision import Action, Decision


def decide(
    stage: str,
    shard: str | None = None,
    reason: str = "unchanged",
    action: Action = "run",
    certain: bool = True,
    seconds: float | None = None,
) -> Decision:
    return Decision(stage, shard, action, reason, certain, seconds=seconds)


def describe(*decisions: Decision, cores: int = 2) -> list[str]:
    return list(describe_plan(decisions, cores))


def test_a_stage_that_runs_says_why_and_how_long() -> None:
    assert describe(decide("pretrain", reason="setting steps: 20 -> 1300", seconds=250.0)) == [
        "run      pretrain: setting steps: 20 -> 1300 [about 4 min 10 s]"
    ]


def test_a_stage_that_may_run_says_what_decides() -> None:
    assert describe(
        decide("sft", reason="after pretrain, if that changes", certain=False, seconds=9.0)
    ) == ["may run  sft: after pretrain, if that changes [up to 9 s]"]


def test_what_is_reused_needs_no_reason() -> None:
    shards = [decide("extract", f"web-{i}", action="reuse") for i in range(4)]
    assert describe(decide("site", action="reuse"), *shards) == [
        "reuse    site",
        "reuse    extract (4 shards)",
    ]


def test_a_thousand_shards_are_one_line() -> None:
    same = [decide("filter", f"web-{i:03}", "setting min_words: 50 -> 40") for i in range(900)]
    own = [
        decide("filter", f"web-{i}", f"input documents (extract web-{i}): {i:012x} -> {i + 1:012x}")
        for i in range(900, 998)
    ]
    late = [
        decide("filter", f"web-{i}", f"after extract web-{i}, if that changes", certain=False)
        for i in (998, 999)
    ]
    kept = [decide("filter", f"web-{i}", action="reuse") for i in range(1000, 1200)]
    assert describe(*same, *own, *late, *kept) == [
        "run      filter (998 of 1,200 shards, up to 2 more): "
        "setting min_words: 50 -> 40 (900 shards); "
        "input documents changed (98 shards); "
        "after extract, if that changes (web-998, web-999)"
    ]


def test_many_different_reasons_are_counted() -> None:
    decisions = [decide("fetch", f"part-{i}", f"its result is damaged: file {i}") for i in range(9)]
    (line,) = describe(*decisions)
    assert line.count("damaged") == 3
    assert line.endswith("; other reasons (6 shards)")


def test_shards_take_turns_on_the_cores() -> None:
    shards = [decide("extract", f"web-{i}", "forced", seconds=10.0) for i in range(8)]
    assert describe(*shards, cores=2)[0].endswith("[about 40 s]")
    assert describe(*shards, cores=16)[0].endswith("[about 10 s]")


@pytest.mark.parametrize(
    ("seconds", "possible", "all_timed", "text"),
    [
        (0.0, 0.0, True, ""),
        (0.2, 0.2, True, ""),
        (0.2, 30.0, True, "up to 30 s"),
        (30.0, 30.0, True, "about 30 s"),
        (30.0, 90.0, True, "30 s to 1 min 30 s"),
        (30.0, 30.0, False, "at least 30 s"),
        (0.0, 0.0, False, ""),
    ],
)
def test_estimates(seconds: float, possible: float, all_timed: bool, text: str) -> None:
    assert show_estimate(seconds, possible, all_timed) == text


PLAN = GraphPlan(
    decisions=[
        decide("crawl", action="reuse"),
        decide("reward", reason="forced", seconds=20.0),
        decide("ppo", reason="after reward, if that changes", certain=False, seconds=60.0),
    ],
    wanted=None,
    notes=["cookbook: it cannot be had"],
    cores=2,
)


def test_the_whole_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    summary = "1 of 3 stage results to make, up to 1 more, 1 reused; 20 s to 1 min 20 s"
    assert summarise_plan(PLAN) == summary
    print_plan(PLAN)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "reuse    crawl"
    assert lines[-2:] == ["note: cookbook: it cannot be had", summary]


def test_the_plan_as_json_has_every_decision() -> None:
    plan = json.loads(json.dumps(plan_as_json(PLAN)))
    assert plan["notes"] == ["cookbook: it cannot be had"]
    assert plan["plan"][2] == {
        "stage": "ppo",
        "shard": None,
        "action": "run",
        "certain": False,
        "reason": "after reward, if that changes",
    }
