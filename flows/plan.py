"""What a run of a recipe would do, in words: the same ones in the terminal and on the run page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flows.graphs import GraphPlan
from tasks.decision import Decision
from tasks.pace import show_duration

NUM_REASONS = 3
NUM_NAMED = 3
_ONE_INPUT = re.compile(r"(input \S+) \(.*\): \w+ -> \w+")


@dataclass(frozen=True)
class StagePlan:
    """What becomes of one stage, all its shards together.

    Attributes:
        num_certain: results that are made in any case.
        num_possible: results that are made if another, still to come, differs.
        reasons: one line each for what most of them have in common, the rest counted.
        seconds: estimate for the certain ones.
        possible_seconds: the same with the possible ones.
        all_timed: whether all of them were made before, and so have a share in the estimates.
    """

    stage: str
    num_certain: int
    num_possible: int
    num_reused: int
    reasons: Sequence[str]
    seconds: float
    possible_seconds: float
    all_timed: bool

    @property
    def num_results(self) -> int:
        """The stage's results, whatever becomes of them."""
        return self.num_certain + self.num_possible + self.num_reused

    @property
    def action(self) -> str:
        """What becomes of the stage, in a word or two."""
        if self.num_certain:
            return "run"
        return "may run" if self.num_possible else "reuse"

    @property
    def duration(self) -> str:
        """How long it may take; empty where that is not known, or nothing is to do."""
        return show_estimate(self.seconds, self.possible_seconds, self.all_timed)

    @property
    def shards(self) -> str:
        """How many shards it is about; empty for a stage without any, or with one."""
        if self.num_results == 1:
            return ""
        num_run = self.num_certain or self.num_possible
        of_all = f"{num_run:,} of " if num_run else ""
        more = (
            f", up to {self.num_possible:,} more" if self.num_certain and self.num_possible else ""
        )
        return f"{of_all}{self.num_results:,} shards{more}"


def print_plan(plan: GraphPlan) -> None:
    """A line a stage: how many of its shards run, why, and how long that may take."""
    for line in [
        *describe_plan(plan.decisions, plan.cores),
        *(f"note: {note}" for note in plan.notes),
        summarise_plan(plan),
    ]:
        print(line)


def plan_as_json(plan: GraphPlan) -> dict[str, Any]:
    """The plan for other programs."""
    rows = [
        {name: getattr(d, name) for name in ("stage", "shard", "action", "certain", "reason")}
        for d in plan.decisions
    ]
    return {"plan": rows, "notes": list(plan.notes)}


def describe_plan(decisions: Sequence[Decision], cores: int) -> Iterator[str]:
    """A line a stage."""
    for plan in plan_stages(decisions, cores):
        shards = f" ({plan.shards})" if plan.shards else ""
        reasons = f": {'; '.join(plan.reasons)}" if plan.reasons else ""
        duration = f" [{plan.duration}]" if plan.duration else ""
        yield f"{plan.action:<7}  {plan.stage}{shards}{reasons}{duration}"


def summarise_plan(plan: GraphPlan) -> str:
    """One line: how many results are made and reused, and how long that may take."""
    stages = plan_stages(plan.decisions, plan.cores)
    num_certain = sum(stage.num_certain for stage in stages)
    num_possible = sum(stage.num_possible for stage in stages)
    num_reused = sum(stage.num_reused for stage in stages)
    possible = f", up to {num_possible:,} more" if num_possible else ""
    duration = show_estimate(  # one after the other, as most need the one before
        sum(stage.seconds for stage in stages),
        sum(stage.possible_seconds for stage in stages),
        all(stage.all_timed for stage in stages),
    )
    return (
        f"{num_certain:,} of {len(plan.decisions):,} stage results to make{possible}, "
        f"{num_reused:,} reused{f'; {duration}' if duration else ''}"
    )


def plan_stages(decisions: Sequence[Decision], cores: int) -> list[StagePlan]:
    """The decisions by stage, in the order of the graph."""
    by_stage: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_stage.setdefault(decision.stage, []).append(decision)
    return [_plan_stage(stage, found, cores) for stage, found in by_stage.items()]


def _plan_stage(stage: str, decisions: Sequence[Decision], cores: int) -> StagePlan:
    run = [d for d in decisions if d.action == "run"]
    certain = [d for d in run if d.certain]
    return StagePlan(
        stage,
        len(certain),
        len(run) - len(certain),
        len(decisions) - len(run),
        tuple(group_reasons(run)),
        _estimate(certain, cores),
        _estimate(run, cores),
        all(decision.seconds is not None for decision in run),
    )


def group_reasons(decisions: Sequence[Decision]) -> Iterator[str]:
    """What the decisions of a stage have in common, and for how many shards."""
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        alone = len(decisions) == 1
        reason = decision.reason if alone else _without_shard(decision)
        groups.setdefault(reason, []).append(decision)
    by_size = sorted(groups.items(), key=lambda group: -len(group[1]))
    for reason, found in by_size[:NUM_REASONS]:
        yield reason if len(found) == len(decisions) else f"{reason} ({_name_shards(found)})"
    if len(by_size) > NUM_REASONS:
        num_left = sum(len(found) for _, found in by_size[NUM_REASONS:])
        yield f"other reasons ({num_left:,} shards)"


def _without_shard(decision: Decision) -> str:
    """The reason as it may be that of other shards, too."""
    reason = _ONE_INPUT.sub(r"\1 changed", decision.reason)
    return reason.replace(f" {decision.shard}", "") if decision.shard else reason


def _name_shards(decisions: Sequence[Decision]) -> str:
    if len(decisions) > NUM_NAMED:
        return f"{len(decisions):,} shards"
    return ", ".join(decision.shard or "" for decision in decisions)


def _estimate(decisions: Sequence[Decision], cores: int) -> float:
    """Shards side by side, as many as there are cores."""
    known = [decision.seconds for decision in decisions if decision.seconds is not None]
    return max(sum(known) / cores, max(known, default=0.0))


def show_estimate(seconds: float, possible_seconds: float, all_timed: bool) -> str:
    """How long it may take, for people; empty where that is not known, or no time at all."""
    if round(possible_seconds) == 0:
        return ""
    if not all_timed:
        return f"at least {show_duration(seconds)}" if round(seconds) else ""
    if round(seconds) == 0:
        return f"up to {show_duration(possible_seconds)}"
    if possible_seconds > seconds:
        return f"{show_duration(seconds)} to {show_duration(possible_seconds)}"
    return f"about {show_duration(seconds)}"
