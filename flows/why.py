"""``headwater why``: the last decision about a stage, followed to where it came from."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError
from tasks.decision import Decision
from tasks.past_results import Slot, read_decisions
from tasks.stages import STAGES
from tasks.store import Store

NUM_CAUSES = 3


@dataclass(frozen=True)
class Cause:
    """One reason, the shards it holds for, and the causes of one of them."""

    stage: str
    shards: Sequence[str | None]
    action: str
    reason: str
    causes: Sequence["Cause"]


def last_decisions(runs: Path) -> tuple[str, list[Decision]]:
    """Name and decisions of the last run that ended, well or not.

    Raises:
        HeadwaterError: there is none.
    """
    paths = sorted(runs.glob("*.parquet"))
    if not paths:
        raise HeadwaterError("no run has ended here yet: start one with 'headwater run'")
    return paths[-1].name.removesuffix(".parquet"), read_decisions(paths[-1])


def find_causes(
    store: Store, decisions: Sequence[Decision], stage: str, shard: str | None
) -> list[Cause]:
    """Why the results of a stage were made or reused, each reason once.

    Raises:
        HeadwaterError: the stage or the shard had no part in the run.
    """
    if stage not in STAGES:
        raise HeadwaterError(f"no stage '{stage}' (known: {', '.join(STAGES)})")
    found = [d for d in decisions if d.stage == stage and shard in (None, d.shard)]
    if not found:
        what = f"shard '{shard}' of '{stage}'" if shard else f"stage '{stage}'"
        raise HeadwaterError(f"{what} had no part in the last run: see 'headwater status'")
    slots = {(d.stage, d.shard): d for d in decisions}
    return list(_causes(store, slots, found, set()))


def _causes(
    store: Store, slots: Mapping[Slot, Decision], found: Sequence[Decision], seen: set[Slot]
) -> Iterator[Cause]:
    """Alike decisions together, those about executed results followed upwards."""
    groups: dict[tuple[str, str, str], list[Decision]] = defaultdict(list)
    for decision in found:
        groups[decision.stage, decision.action, _general(decision.reason)].append(decision)
    for (stage, action, _), alike in groups.items():
        first = alike[0]
        above: Sequence[Cause] = ()
        if action == "run" and (stage, first.shard) not in seen:
            seen.add((stage, first.shard))
            above = list(_causes(store, slots, _executed_inputs(store, slots, first), seen))
        reason = first.reason if len(alike) == 1 else f"{first.reason} (of {first.shard})"
        yield Cause(stage, [d.shard for d in alike], action, reason, above)


def _general(reason: str) -> str:
    """A reason without the digests in which those of two shards differ."""
    return re.split(r"[:(]", reason, maxsplit=1)[0]


def _executed_inputs(
    store: Store, slots: Mapping[Slot, Decision], decision: Decision
) -> list[Decision]:
    """The decisions of the same run about those inputs that were made in it."""
    artifact = store.load(decision.stage, decision.key) if decision.key else None
    made = {(d.stage, d.key): d for d in slots.values() if d.action == "run" and d.key}
    parents = artifact.parents if isinstance(artifact, Artifact) else ()
    found = {(p.stage, p.key): made[p.stage, p.key] for p in parents if (p.stage, p.key) in made}
    return list(found.values())


def describe_causes(causes: Sequence[Cause], depth: int = 0) -> Iterator[str]:
    """Lines for people, each cause below what it explains."""
    for cause in causes[:NUM_CAUSES] if depth else causes:
        shards = [shard for shard in cause.shards if shard]
        name = f" {shards[0]}" if len(shards) == 1 else f" ({len(shards)} shards)" if shards else ""
        verb = "ran" if cause.action == "run" else "reused"
        yield f"{'  ' * depth}{cause.stage}{name}: {verb}: {cause.reason}"
        yield from describe_causes(cause.causes, depth + 1)
    if depth and len(causes) > NUM_CAUSES:
        yield f"{'  ' * depth}and {len(causes) - NUM_CAUSES} more"
