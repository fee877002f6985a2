"""What differs between two models or two runs: results, their causes, settings and code.

Results are paired by stage and shard. Equal digests are equal bytes, so of equal results nothing
but the record is looked at. A result that differs is a *consequence* if what it was made of
differs; otherwise it differs for a reason of its own, and is where the two part.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline_data.artifact import Artifact
from tasks.decision import ABSENT, compare_settings, differences
from tasks.lineage.difference.sides import Content, Side, contents_of
from tasks.stages import STAGES
from tasks.store import EXTERNAL, Request

Status = Literal["equal", "changed", "added", "removed"]

OUTSIDE = frozenset({EXTERNAL, "fetch", "download", "crawl", "dataset"})
"""Stages that bring in what others may change."""
CODE_FACTS = ("commit", "lock", "python", "machine", "cpu", "cores")
"""What is recorded of the code and the machine that made a result."""
SOURCE_CHANGED = "the source gave other bytes"
UNEXPLAINED = "other bytes from the same inputs, settings and stage version"


@dataclass(frozen=True)
class Pair:
    """The result of a stage and shard on either side; ``name`` is the shard, or a file's path."""

    stage: str
    name: str
    a: Artifact | None
    b: Artifact | None

    @property
    def status(self) -> Status:
        """How B's stands to A's."""
        if self.a is None:
            return "added"
        if self.b is None:
            return "removed"
        return "equal" if self.a.digest == self.b.digest else "changed"

    def shards(self) -> Iterator[tuple[str, Status]]:
        """The shards within, each with its own status; a result without shards is one itself."""
        before, after = (side.parts if side else {} for side in (self.a, self.b))
        names = sorted({*before, *after})
        parts = [Pair(self.stage, n, self._part(self.a, n), self._part(self.b, n)) for n in names]
        if not parts or (self.status != "equal" and all(part.status == "equal" for part in parts)):
            yield self.name, self.status
            return
        for part in parts:
            yield f"{self.name} {part.name}".strip(), part.status

    @staticmethod
    def _part(whole: Artifact | None, shard: str) -> Artifact | None:
        return replace(whole, digest=whole.parts[shard]) if whole and shard in whole.parts else None


@dataclass(frozen=True)
class StageDifference:
    """How the results of a stage stand to each other: how many are equal, which are not."""

    stage: str
    num_equal: int
    changed: Sequence[str]
    added: Sequence[str]
    removed: Sequence[str]


@dataclass(frozen=True)
class Origin:
    """Results that differ for a reason of their own.

    Attributes:
        shards: their shards, empty for the one result of a stage without.
        reasons: of changed ones; added and removed ones are there on one side alone.
        inputs_equal: false where what they were made of differs as well.
    """

    stage: str
    status: Status
    num_results: int
    shards: Sequence[str]
    reasons: Sequence[str]
    inputs_equal: bool


@dataclass(frozen=True)
class SettingChange:
    """A setting of a stage with another value.

    Attributes:
        only_in: the side that has it, where the other has no such setting.
        num_results: of how many results; ``num_changed`` of them came out otherwise.
    """

    stage: str
    setting: str
    a: Any
    b: Any
    only_in: Literal["a", "b"] | None
    num_results: int
    num_changed: int


@dataclass(frozen=True)
class FactChange:
    """A fact about code or machine that differs: its values, and how many results have each."""

    fact: str
    a: Mapping[str, int]
    b: Mapping[str, int]


def pair_results(a: Iterable[Artifact], b: Iterable[Artifact]) -> list[Pair]:
    """The results of both sides by stage and shard, in the order of the pipeline.

    A side may have several of one stage and shard, as where an older corpus is trained on with
    a later curriculum: equal ones are paired first, the others in the order they were made.
    """
    before, after = _by_slot(a), _by_slot(b)
    pairs = []
    for stage, name in sorted({*before, *after}, key=lambda slot: (stage_rank(slot[0]), *slot)):
        for left, right in _match(before.get((stage, name), {}), after.get((stage, name), {})):
            pairs.append(Pair(stage, name, left, right))
    return pairs


def stage_rank(stage: str) -> int:
    """A stage's place in the pipeline; raw files come first."""
    order = [EXTERNAL, *STAGES]
    return order.index(stage) if stage in order else len(order)


def sum_up_stages(pairs: Sequence[Pair]) -> list[StageDifference]:
    """Each stage with its equal and other shards."""
    statuses: dict[str, dict[Status, list[str]]] = {}
    for pair in pairs:
        of_stage = statuses.setdefault(pair.stage, defaultdict(list))
        for name, status in pair.shards():
            of_stage[status].append(name)
    return [
        StageDifference(
            stage,
            len(found["equal"]),
            tuple(found["changed"]),
            tuple(found["added"]),
            tuple(found["removed"]),
        )
        for stage, found in statuses.items()
    ]


def find_origins(pairs: Sequence[Pair], a: Side, b: Side) -> list[Origin]:
    """Where the two part, in the order of the pipeline: alike results of a stage together.

    Those whose inputs are equal come first: the earliest of them is the first difference.
    """
    known_a, known_b = contents_of(a.artifacts), contents_of(b.artifacts)
    groups: dict[tuple[str, Status, tuple[str, ...], bool], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.status == "equal":
            continue
        inputs_equal = not _unknown_inputs(pair.a, known_b) and not _unknown_inputs(pair.b, known_a)
        reasons = _own_reasons(pair, inputs_equal)
        if inputs_equal or reasons:
            groups[pair.stage, pair.status, reasons, inputs_equal].append(pair)
    origins = [
        Origin(stage, status, len(found), _other_shards(found), reasons, inputs_equal)
        for (stage, status, reasons, inputs_equal), found in groups.items()
    ]
    return sorted(origins, key=lambda origin: (not origin.inputs_equal, stage_rank(origin.stage)))


def find_setting_changes(pairs: Sequence[Pair]) -> list[SettingChange]:
    """The settings of stages that both sides have, with or without an effect."""
    found: dict[tuple[str, str, str], tuple[Any, Any, list[Status]]] = {}
    for pair in pairs:
        if pair.a is None or pair.b is None or pair.a.config == pair.b.config:
            continue
        for setting, was, now in compare_settings(pair.a.config, pair.b.config):
            row = found.setdefault((pair.stage, setting, repr((was, now))), (was, now, []))
            row[2].append(pair.status)
    return [
        SettingChange(
            stage,
            setting,
            None if was is ABSENT else was,
            None if now is ABSENT else now,
            "b" if was is ABSENT else "a" if now is ABSENT else None,
            len(statuses),
            statuses.count("changed"),
        )
        for (stage, setting, _), (was, now, statuses) in found.items()
    ]


def find_fact_changes(pairs: Sequence[Pair]) -> list[FactChange]:
    """What differs in the code and the machines that made the results, stage versions included."""
    changes = [
        FactChange(f"version of stage {stage}", {str(was): num}, {str(now): num})
        for (stage, was, now), num in Counter(
            (pair.stage, pair.a.version, pair.b.version)
            for pair in pairs
            if pair.a and pair.b and pair.a.version != pair.b.version
        ).items()
    ]
    for fact in CODE_FACTS:
        before, after = (
            Counter(
                str(artifact.facts[fact])
                for artifact in artifacts
                if artifact and fact in artifact.facts
            )
            for artifacts in ([pair.a for pair in pairs], [pair.b for pair in pairs])
        )
        if before.keys() != after.keys():
            changes.append(FactChange(fact, dict(before), dict(after)))
    return changes


def _other_shards(pairs: Sequence[Pair]) -> tuple[str, ...]:
    return tuple(n for pair in pairs for n, status in pair.shards() if n and status != "equal")


def _by_slot(artifacts: Iterable[Artifact]) -> dict[tuple[str, str], dict[str, Artifact]]:
    """Stage and name to the results by digest, in the order they were made."""
    slots: dict[tuple[str, str], dict[str, Artifact]] = defaultdict(dict)
    for artifact in sorted(artifacts, key=lambda a: str(a.facts.get("created", ""))):
        slots[artifact.stage, _slot_name(artifact)][artifact.digest] = artifact
    return slots


def _slot_name(artifact: Artifact) -> str:
    if artifact.stage != EXTERNAL:
        return artifact.shard or ""
    return artifact.files[0].path if len(artifact.files) == 1 else artifact.directory.name


def _match(
    before: Mapping[str, Artifact], after: Mapping[str, Artifact]
) -> Iterator[tuple[Artifact | None, Artifact | None]]:
    """Equal ones, then the others in turn; one left over is compared with the other side's last."""
    for digest in before.keys() & after.keys():
        yield before[digest], after[digest]
    left = [artifact for digest, artifact in before.items() if digest not in after]
    right = [artifact for digest, artifact in after.items() if digest not in before]
    last_before, last_after = _last(before), _last(after)
    for index in range(max(len(left), len(right))):
        yield (
            left[index] if index < len(left) else last_before,
            right[index] if index < len(right) else last_after,
        )


def _last(artifacts: Mapping[str, Artifact]) -> Artifact | None:
    return list(artifacts.values())[-1] if artifacts else None


def _unknown_inputs(artifact: Artifact | None, known: set[Content]) -> list[Content]:
    """The contents that a result was made of and the other side lacks."""
    parents = artifact.parents if artifact else ()
    contents = [(p.stage, p.shard or "", p.digest) for p in parents]
    return [content for content in contents if content not in known]


def _own_reasons(pair: Pair, inputs_equal: bool) -> tuple[str, ...]:
    """Why a changed result differs, its inputs apart unless these are the same contents."""
    if pair.a is None or pair.b is None:
        return ()
    parents = pair.b.parents if inputs_equal else pair.a.parents
    asked = Request(pair.stage, pair.b.version, pair.b.config, parents)
    reasons = differences(asked, pair.a)
    if not reasons and inputs_equal:
        reasons = [SOURCE_CHANGED if pair.stage in OUTSIDE else UNEXPLAINED]
    return tuple(reasons)
