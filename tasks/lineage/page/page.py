"""The lineage of a model as one HTML file to look at, without a network.

The graph is drawn here, as SVG, and shows without scripts; a script of the page's own answers
clicks and searches. All it knows is in the page: the graph as JSON, and packed what is searched.
Nothing in it can reach out: the content security policy admits this page's style and script, by
their hashes, and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.evaluations import read_measures
from tasks.lineage.page.facts import headline, read_curves, read_exposure, shorten
from tasks.lineage.page.graph import (
    Graph,
    Node,
    fold_ancestry,
    merge_facts,
    merge_settings,
    sum_counts,
)
from tasks.lineage.page.index import TOKENS, build_index, pack
from tasks.lineage.page.layout import CARD_HEIGHT, CARD_WIDTH, Drawing, lay_out

TEMPLATE, STYLE = "lineage.html.jinja", "lineage.css"
SCRIPTS = ("parts", "table", "panel", "search", "results", "page")
NUM_CELLS = 48
"""Cells in a card's strip of shards; more shards than that share cells."""
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render_lineage(catalogue: Catalogue, model: Artifact) -> str:
    """The lineage of an artefact as an HTML page.

    Raises:
        ArtifactError: the record or a file of something it was made of is gone.
    """
    graph = fold_ancestry(catalogue, model)
    names = _read_names(catalogue)
    nodes = [_describe_node(catalogue, graph, node, names) for node in graph.nodes.values()]
    drawing = _draw(graph)
    style, script = _read(STYLE), "\n".join(_read(f"lineage_{name}.js") for name in SCRIPTS)
    index = build_index(catalogue, graph)
    versions = names.get((model.stage, model.key, model.digest), [])
    heading = _describe_model(model, versions, graph)
    record = {"model": heading, "nodes": nodes, "tokens": TOKENS}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_read(TEMPLATE)).render(
        heading=heading,
        tiles=_tiles(nodes, graph),
        nodes=nodes,
        chapters=_chapters(graph),
        drawing=drawing,
        edges=graph.edges,
        card=(CARD_WIDTH, CARD_HEIGHT),
        cells=NUM_CELLS,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        record=Markup(embed(record)),
        index=Markup(pack(index)),
    )


def embed(value: Any) -> str:
    """A JSON value that no text in it can lead out of a ``<script>`` element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    return "".join(UNSAFE.get(char, char) for char in text)


def _read(name: str) -> str:
    return resources.files("tasks.lineage.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls a script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _read_names(catalogue: Catalogue) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Every name and version by the artefact it means."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    registry = catalogue.store.registry
    for name in registry.all():
        for version in registry.versions(name):
            found.setdefault((version.stage, version.key, version.digest), []).append(
                {
                    "name": name,
                    "version": version.version,
                    "recipe": version.recipe,
                    "recipe_digest": version.recipe_digest,
                    "superseded_by": version.superseded_by,
                }
            )
    return found


def _describe_model(
    model: Artifact, versions: Sequence[Mapping[str, Any]], graph: Graph
) -> dict[str, Any]:
    version = versions[0] if versions else {}
    erased = [row for row in graph.rows if row.tombstone and row.whole is None]
    return {
        "name": version.get("name", model.stage),
        "version": version.get("version"),
        "recipe": version.get("recipe"),
        "recipe_digest": version.get("recipe_digest"),
        "superseded_by": version.get("superseded_by"),
        "stage": model.stage,
        "digest": model.digest,
        "key": model.key,
        "created": str(model.facts.get("created", "")),
        "commit": str(model.facts.get("commit", "")),
        "machine": str(model.facts.get("machine", "")),
        "run": str(model.facts.get("run", "")),
        "num_erased": len(erased),
    }


def _describe_node(
    catalogue: Catalogue,
    graph: Graph,
    node: Node,
    names: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    artifacts, kind = node.artifacts, node.kind
    counts = sum_counts(artifacts)
    whole = [a for a in artifacts if catalogue.erasure(a) is None]
    trained = [catalogue.store.fetch(artifact) for artifact in whole if kind == "model"]
    erased = sum(row.tombstone is not None for row in node.shards)
    num_shards = len(node.shards)
    return {
        "stage": node.stage,
        "kind": kind,
        "digest": node.artifacts[0].digest,
        "names": [v for a in artifacts for v in names.get((a.stage, a.key, a.digest), ())],
        "version": sorted({a.version for a in artifacts}),
        "num_shards": num_shards,
        "num_erased": erased,
        "first": node.rows[0].number,
        "num_rows": len(node.rows),
        "num_artifacts": len(artifacts),
        "num_files": sum(len(a.files) for a in artifacts),
        "bytes": sum(f.bytes for a in artifacts for f in a.files),
        "headline": headline(counts, kind),
        "counts": counts,
        "config": merge_settings(a.config for a in artifacts),
        "facts": merge_facts(artifacts),
        "measures": [measure for a in trained for measure in read_measures(catalogue, a)],
        "curves": [curve for a in trained for curve in read_curves(a)],
        "orders": [order for a in trained for order in read_exposure(a)],
        "parents": [
            [e.parent, e.roles, e.num_inputs] for e in graph.edges if e.child == node.stage
        ],
        "children": [
            [e.child, e.roles, e.num_inputs] for e in graph.edges if e.parent == node.stage
        ],
    }


def _chapters(graph: Graph) -> list[dict[str, Any]]:
    """The corpus; and the models, with all that was made with a model."""
    made_with_model: list[str] = []
    for stage, node in graph.nodes.items():
        parents = {edge.parent for edge in graph.edges if edge.child == stage}
        if node.kind == "model" or parents & set(made_with_model):
            made_with_model.append(stage)
    corpus = [stage for stage in graph.nodes if stage not in made_with_model]
    chapters = [
        {"title": "Corpus", "stages": corpus},
        {"title": "Models", "stages": made_with_model},
    ]
    return [chapter for chapter in chapters if chapter["stages"]]


def _draw(graph: Graph) -> Drawing:
    edges = [(edge.parent, edge.child) for edge in graph.edges]
    return lay_out([chapter["stages"] for chapter in _chapters(graph)], edges)


def _tiles(nodes: Sequence[Mapping[str, Any]], graph: Graph) -> list[tuple[str, str]]:
    """The numbers one wants first, as label and text."""
    tokens = next((node for node in nodes if node["stage"] == TOKENS), None)
    tiles = []
    if tokens:
        tiles = [
            (shorten(tokens["counts"].get("num_documents", 0)), "documents in the corpus"),
            (shorten(tokens["counts"].get("num_tokens", 0)), "tokens to train on"),
            (shorten(tokens["num_shards"]), "shards"),
        ]
    seconds = sum(
        float(artifact.facts.get("seconds", 0))
        for node in graph.nodes.values()
        for artifact in node.artifacts
    )
    num_artifacts = sum(node["num_artifacts"] for node in nodes)
    size = sum(node["bytes"] for node in nodes)
    return [
        *tiles,
        (shorten(len(nodes)), "stages"),
        (shorten(num_artifacts), "artefacts"),
        (f"{shorten(size)}{' ' if size < 10_000 else ''}B", "of files"),
        (_duration(seconds), "to make it all"),
    ]


def _duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"
