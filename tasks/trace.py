"""The lineage of an artefact as a tree, read from the store alone."""

from collections.abc import Iterator
from typing import Any

from pipeline_data.artifact import Artifact
from tasks.store import EXTERNAL, Store

Node = dict[str, Any]
COUNTS_SHOWN = 4


def lineage_tree(store: Store, artifact: Artifact) -> Node:
    """The artefact and its parents down to raw shards; a node seen before is only named.

    Raises:
        ArtifactError: a parent's record is gone.
    """
    return _node(store, artifact, "", set())


def _node(
    store: Store, artifact: Artifact, role: str, seen: set[tuple[str, str, str | None]]
) -> Node:
    name = (artifact.stage, artifact.key, artifact.shard)
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
    if name in seen:
        return {**node, "repeated": True, "parents": []}
    seen.add(name)
    parents = []
    for parent in artifact.parents:
        whole = store.parent(parent)
        part = whole.part(parent.shard or "") if parent.shard in whole.parts else whole
        parents.append(_node(store, part, parent.role, seen))
    return {**node, "repeated": False, "parents": parents}


def render_tree(node: Node) -> Iterator[str]:
    """The tree as lines of text with box-drawing branches."""
    yield _line(node)
    yield from _branches(node, "")


def _branches(node: Node, indent: str) -> Iterator[str]:
    for index, parent in enumerate(node["parents"]):
        last = index == len(node["parents"]) - 1
        yield f"{indent}{'└── ' if last else '├── '}{_line(parent)}"
        yield from _branches(parent, indent + ("    " if last else "│   "))


def _line(node: Node) -> str:
    shard = f" {node['shard']}" if node["shard"] else ""
    role = f"{node['role']}: " if node["role"] else ""
    if node["repeated"]:
        return f"{role}{node['stage']}{shard} {node['digest'][:12]} (above)"
    shown = [
        f"{name.removeprefix('num_').replace('_', ' ')} {value:,}"
        for name, value in node["counts"].items()
        if isinstance(value, int)
    ]
    counts = ", ".join(shown[:COUNTS_SHOWN])
    path = f" {node['path']}" if "path" in node else ""
    return f"{role}{node['stage']}{shard} {node['digest'][:12]}{path}" + (
        f"  {counts}" if counts else ""
    )
