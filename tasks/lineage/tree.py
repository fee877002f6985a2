"""The lineage of an artefact as a tree, read from the store alone."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue, Lineage
from tasks.store import EXTERNAL

Node = dict[str, Any]
COUNTS_SHOWN = 4
FOLDED = 8
"""Most shards of a stage that have a line each."""


def lineage_tree(catalogue: Catalogue, artifact: Artifact) -> Node:
    """The artefact and its parents down to raw shards; what was followed before is only named.

    Raises:
        ArtifactError: a parent's record is gone.
    """
    return _node(catalogue, catalogue.lineage(artifact), artifact, "", set(), set())


def _node(
    catalogue: Catalogue,
    lineage: Lineage,
    artifact: Artifact,
    role: str,
    seen: set[tuple[str, str, str | None]],
    followed: set[tuple[str, str]],
) -> Node:
    name, whole = (artifact.stage, artifact.key, artifact.shard), (artifact.stage, artifact.key)
    node: Node = {
        "role": role,
        "stage": artifact.stage,
        "shard": artifact.shard,
        "digest": artifact.digest,
        "key": artifact.key,
        "counts": dict(artifact.counts),
    }
    if artifact.stage == EXTERNAL:
        node["path"] = str(artifact.directory / artifact.files[0].path)
    if erasure := catalogue.erasure(artifact):
        node["erased"] = asdict(erasure)
    node["repeated"] = name in seen
    seen.add(name)
    inputs = [] if whole in followed else lineage.inputs(artifact)  # parts have the same parents
    followed.add(whole)
    node["parents"] = [
        _node(catalogue, lineage, parent, role, seen, followed) for role, parent in inputs
    ]
    return node


def render_tree(node: Node, folded: int = FOLDED) -> Iterator[str]:
    """The tree as lines of text with box-drawing branches.

    Args:
        folded: so many shards of a stage have a line each; more of them share one.
    """
    yield _line([node])
    yield from _branches([node], "", folded)


def _branches(nodes: Sequence[Node], indent: str, folded: int) -> Iterator[str]:
    """The lines below one node, or below several that share a line."""
    parents = [parent for node in nodes for parent in node["parents"]]
    if len(nodes) > 1:  # what one of them has above is not said again for the next
        parents = [parent for parent in parents if not parent["repeated"]]
    groups = list(_group(parents, folded))
    for index, group in enumerate(groups):
        last = index == len(groups) - 1
        yield f"{indent}{'└── ' if last else '├── '}{_line(group)}"
        yield from _branches(group, indent + ("    " if last else "│   "), folded)


def _group(nodes: Sequence[Node], folded: int) -> Iterator[list[Node]]:
    """Shards of a stage in one group where they are many, else each by itself."""

    def kind(node: Node) -> tuple[str, str]:
        return node["role"], node["stage"]

    for _, found in groupby(sorted(nodes, key=kind), kind):
        group = list(found)
        if len(group) > folded:
            yield group
        else:
            yield from ([node] for node in group)


def _line(nodes: Sequence[Node]) -> str:
    node = nodes[0]
    role = f"{node['role']}: " if node["role"] else ""
    if len(nodes) > 1:
        return f"{role}{node['stage']} in {len(nodes):,} shards{_show_counts(nodes)}"
    shard = f" {node['shard']}" if node["shard"] else ""
    label = f"{role}{node['stage']}{shard} {node['digest'][:12]}"
    if node["repeated"]:
        return f"{label} (above)"
    path = f" {node['path']}" if "path" in node else ""
    erased = f"  erased {node['erased']['date'][:10]}" if "erased" in node else ""
    return f"{label}{path}{_show_counts(nodes)}{erased}"


def _show_counts(nodes: Sequence[Node]) -> str:
    totals: dict[str, int] = {}
    for node in nodes:
        for name, value in node["counts"].items():
            if isinstance(value, int):
                totals[name] = totals.get(name, 0) + value
    shown = [
        f"{name.removeprefix('num_').replace('_', ' ')} {value:,}" for name, value in totals.items()
    ][:COUNTS_SHOWN]
    return f"  {', '.join(shown)}" if shown else ""
