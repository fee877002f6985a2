"""The lineage of one artefact folded for looking at: a node a stage, a row a shard.

Every artefact of the ancestry is a row; so is every part of a sharded one. A row knows the rows it
was made of, so that a page of the corpus can be followed from shard to shard to the model.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.reach import is_model
from tasks.stages import STAGES
from tasks.store import EXTERNAL, Tombstone

RAW_STAGES = ("pipeline_data.sources.", "pipeline_data.curriculum.")
"""Where the functions of stages lie that bring raw records in."""
NUM_VALUES = 6
"""How many different values of a setting are listed for the shards of a stage."""
VALUE_CHARACTERS = 1000
SUMMED = ("seconds", "cpu_seconds")


@dataclass(frozen=True)
class Row:
    """An artefact, or a part of one: ``whole`` is then the number of the row it belongs to."""

    number: int
    artifact: Artifact
    label: str
    num_bytes: int
    tombstone: Tombstone | None
    whole: int | None = None


@dataclass(frozen=True)
class Edge:
    """What one stage took of another: the roles, and how many inputs in all."""

    parent: str
    child: str
    roles: tuple[str, ...]
    num_inputs: int


@dataclass
class Node:
    """A stage of the ancestry with its rows."""

    stage: str
    rows: list[Row] = field(default_factory=list)

    @cached_property
    def artifacts(self) -> list[Artifact]:
        """The artefacts of the stage, whole."""
        return [row.artifact for row in self.rows if row.whole is None]

    @cached_property
    def shards(self) -> list[Row]:
        """What a reader counts as shards: the parts, where there are any, or the artefacts."""
        return [row for row in self.rows if row.whole is not None] or self.rows

    @property
    def kind(self) -> str:
        """``raw``, ``data`` or ``model``."""
        if any(map(is_model, self.artifacts)):
            return "model"
        stage = STAGES.get(self.stage)
        is_raw = stage.function.startswith(RAW_STAGES) if stage else self.stage == EXTERNAL
        return "raw" if is_raw else "data"


@dataclass(frozen=True)
class Graph:
    """The ancestry by stages, in an order in which what is made comes after what it is made of.

    Attributes:
        parents: the numbers of the rows that a row was made of; a part has those of its whole.
    """

    nodes: Mapping[str, Node]
    edges: Sequence[Edge]
    parents: Mapping[int, Sequence[int]]

    @property
    def rows(self) -> Iterator[Row]:
        """All rows, by number."""
        return (row for node in self.nodes.values() for row in node.rows)


def fold_ancestry(catalogue: Catalogue, artifact: Artifact) -> Graph:
    """The ancestry of an artefact as a graph of stages.

    Raises:
        ArtifactError: the record of something it was made of is gone.
    """
    by_stage: dict[str, list[Artifact]] = {}
    for ancestor in catalogue.ancestry(artifact):
        by_stage.setdefault(ancestor.stage, []).append(ancestor)
    nodes: dict[str, Node] = {}
    number = 0
    for stage in _in_order(by_stage):
        rows = list(_rows(catalogue, by_stage[stage], number))
        nodes[stage] = Node(stage, rows)
        number += len(rows)
    parents, taken = _connect(nodes)
    edges = [
        Edge(parent, child, tuple(roles), sum(roles.values()))
        for (parent, child), roles in taken.items()
    ]
    return Graph(nodes, edges, parents)


def _in_order(by_stage: Mapping[str, Sequence[Artifact]]) -> list[str]:
    """The stages, inputs first."""
    table = {stage: place for place, stage in enumerate(STAGES)}
    names = sorted(by_stage, key=lambda stage: (table.get(stage, -1), stage))
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for stage in names:
        made_of = {parent.stage for artifact in by_stage[stage] for parent in artifact.parents}
        sorter.add(stage, *sorted(made_of & set(names) - {stage}))
    try:
        return list(sorter.static_order())
    except CycleError as error:
        raise ArtifactError(
            f"the stages {' > '.join(error.args[1])} were made of each other: "
            "headwater verify names the record that is wrong"
        ) from None


def _rows(catalogue: Catalogue, artifacts: Sequence[Artifact], number: int) -> Iterator[Row]:
    """The artefacts of a stage by shard, then their parts."""
    ordered = sorted(artifacts, key=lambda a: (a.shard or "", a.key))
    for place, artifact in enumerate(ordered):
        label = artifact.shard or (artifact.files[0].path if artifact.stage == EXTERNAL else "")
        tombstone = catalogue.erasure(artifact)
        num_bytes = sum(file.bytes for file in artifact.files)
        yield Row(number + place, artifact, label, num_bytes, tombstone)
    part = number + len(ordered)
    for whole, artifact in enumerate(ordered, number):
        sizes: Counter[str] = Counter()
        for file in artifact.files:
            sizes[file.path.partition("/")[0]] += file.bytes
        tombstone = catalogue.erasure(artifact) if artifact.parts else None
        for name in artifact.parts:
            label = f"{artifact.shard}/{name}" if artifact.shard else name
            yield Row(part, artifact, label, sizes[name], tombstone, whole)
            part += 1


def _connect(
    nodes: Mapping[str, Node],
) -> tuple[dict[int, list[int]], dict[tuple[str, str], Counter[str]]]:
    """The rows that each row was made of, and what each stage took of each other one."""
    holder: dict[tuple[str, str, str], int] = {}
    for node in nodes.values():
        for row in node.rows:
            content = (node.stage, digest_of(row), shard_of(row))
            holder.setdefault(content, row.number)
    parents: dict[int, list[int]] = {}
    taken: dict[tuple[str, str], Counter[str]] = {}
    for node in nodes.values():
        for row in node.rows:
            if row.whole is not None:
                continue
            entries = row.artifact.parents
            parents[row.number] = list(
                dict.fromkeys(holder[p.stage, p.digest, p.shard or ""] for p in entries)
            )
            for parent in entries:
                if parent.stage != node.stage:
                    taken.setdefault((parent.stage, node.stage), Counter())[parent.role] += 1
    return parents, taken


def shard_of(row: Row) -> str:
    """The shard that other records name when they mean this row."""
    if row.whole is None:
        return row.artifact.shard or ""
    return row.label.removeprefix(f"{row.artifact.shard}/")


def digest_of(row: Row) -> str:
    """The content digest of an artefact or a part."""
    return row.artifact.digest if row.whole is None else row.artifact.parts[shard_of(row)]


def sum_counts(artifacts: Sequence[Artifact]) -> dict[str, int | float | str]:
    """The counts of a stage: whole numbers summed over its shards, others where all agree."""
    names = dict.fromkeys(name for artifact in artifacts for name in artifact.counts)
    summed: dict[str, int | float | str] = {}
    for name in names:
        values = [a.counts[name] for a in artifacts if name in a.counts]
        if all(isinstance(value, int) for value in values):
            summed[name] = sum(value for value in values if isinstance(value, int))
        elif len(set(values)) == 1:
            summed[name] = values[0]
    return summed


def merge_settings(settings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line a setting over all shards: its name, its values, and how many shards have each."""
    found: dict[str, Counter[str]] = {}
    for mapping in settings:
        for name, value in _flatten(mapping):
            found.setdefault(name, Counter())[value] += 1
    return [
        {
            "name": name,
            "values": [
                (value if len(value) <= VALUE_CHARACTERS else f"{value[:VALUE_CHARACTERS]}...", n)
                for value, n in counter.most_common(NUM_VALUES)
            ],
            "more": max(0, len(counter) - NUM_VALUES),
        }
        for name, counter in found.items()
    ]


def merge_facts(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """What is worth knowing of how a stage was made; times are summed over its shards."""
    others = [{k: v for k, v in a.facts.items() if k not in SUMMED} for a in artifacts]
    lines = merge_settings(others)
    for name in SUMMED:
        known = [a.facts[name] for a in artifacts if isinstance(a.facts.get(name), int | float)]
        if known:
            lines.append({"name": name, "values": [[f"{sum(known):,.1f}", len(known)]], "more": 0})
    return lines


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)
