"""The two things that are compared: a model with all it was made of, or a run with its results.

A crawl that found other pages takes the place of the one before, as the same was asked for. What is
known of the earlier one is what was asked for and, from the records of what was made of it, its
content: it is an artefact without files here.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Literal

from pipeline_data.artifact import Artifact, Parent
from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.evaluations import find_evaluations
from tasks.names import Version
from tasks.past_results import read_decisions
from tasks.stages import STAGES
from tasks.store import FORMER

Content = tuple[str, str, str]
"""Stage, shard and digest."""
NUM_RUNS_NAMED = 3


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: as it was asked for.
        model: the artefact itself; nothing where it is a run.
        artifacts: the model and its ancestors, or the results of the run and theirs.
        evaluations: what was measured of the models among them.
        num_lost: results whose records are gone, and of which so nothing is known.
    """

    name: str
    kind: Literal["model", "run"]
    model: Artifact | None
    artifacts: Sequence[Artifact]
    evaluations: Sequence[Artifact]
    date: str | None = None
    recipe: str | None = None
    recipe_digest: str | None = None
    num_lost: int = 0


def open_side(catalogue: Catalogue, runs: Path, name: str) -> Side:
    """A model by name, ``name@version`` or the start of its digest, or a run by its name.

    Args:
        runs: the folder where runs leave their decisions.

    Raises:
        ArtifactError: nothing is called so, or the record of an ancestor is gone.
    """
    paths = sorted(runs.glob(f"{escape(name)}.*.parquet"))
    if paths:
        return _open_run(catalogue, name, paths[-1])
    try:
        model = catalogue.named(name)
    except ArtifactError as error:
        known = sorted((path.name.split(".")[0] for path in runs.glob("*.parquet")), reverse=True)
        if not known:
            raise
        raise ArtifactError(f"{error}; last runs: {', '.join(known[:NUM_RUNS_NAMED])}") from None
    version = _version_of(catalogue, name, model)
    found, num_lost = _with_ancestors(catalogue, [model])
    artifacts = [_as_asked(artifact) for artifact in found]
    return Side(
        name,
        "model",
        artifacts[0],
        artifacts,
        [e for artifact in artifacts for e in find_evaluations(catalogue, artifact)],
        version.date if version else catalogue.created(model) or None,
        version.recipe if version else None,
        version.recipe_digest if version else None,
        num_lost,
    )


def _as_asked(artifact: Artifact) -> Artifact:
    """An artefact with the config that it was asked for, where another content took its place."""
    config = {name: value for name, value in artifact.config.items() if name != FORMER}
    return replace(artifact, config=config)


def contents_of(artifacts: Sequence[Artifact]) -> set[Content]:
    """The content of artefacts and of their parts."""
    return {
        (artifact.stage, shard, digest)
        for artifact in artifacts
        for shard, digest in ((artifact.shard or "", artifact.digest), *artifact.parts.items())
    }


def _open_run(catalogue: Catalogue, name: str, path: Path) -> Side:
    rows = [row for row in read_decisions(path) if row.key]
    found = [catalogue.get(row.stage, row.key or "") for row in rows]
    results = _as_they_were([artifact for artifact in found if artifact])
    artifacts, num_lost = _with_ancestors(catalogue, results)
    registry = catalogue.store.registry
    versions = (version for known in registry.all() for version in registry.versions(known))
    named = next((version for version in versions if version.run == name), None)
    return Side(
        name,
        "run",
        None,
        artifacts,
        [artifact for artifact in results if STAGES[artifact.stage].measures],
        max(map(catalogue.created, results), default="") or None,
        path.name.removesuffix(".parquet").partition(".")[2],
        named.recipe_digest if named else None,
        num_lost + len(rows) - len(results),
    )


def _with_ancestors(
    catalogue: Catalogue, results: Sequence[Artifact]
) -> tuple[list[Artifact], int]:
    """The results and all they were made of, each content once, and how many are lost."""
    if len(results) == 1:
        try:
            return catalogue.ancestry(results[0]), 0
        except ArtifactError:
            pass  # a record is gone: each step is looked at by itself
    time = max(map(catalogue.created, results), default="")
    known = contents_of(results)
    everything, level = list(results), list(results)
    lost: list[Parent] = []
    while level:
        wanted = [p for artifact in level for p in artifact.parents if _content(p) not in known]
        found, missing = _resolve(catalogue, wanted, time)
        lost += missing
        level = []
        for artifact in found:
            if not contents_of([artifact]) <= known:
                known |= contents_of([artifact])
                level.append(artifact)
        everything += level
    return everything, len({_content(parent) for parent in lost})


def _resolve(
    catalogue: Catalogue, parents: Sequence[Parent], time: str
) -> tuple[list[Artifact], list[Parent]]:
    """The whole artefacts behind parents, and those parents of which no record is left."""
    asked: dict[tuple[str, str], dict[Parent, None]] = defaultdict(dict)
    for parent in parents:
        asked[parent.stage, parent.key][replace(parent, role="")] = None
    everything: list[Artifact] = []
    lost: list[Parent] = []
    for (stage, key), given in asked.items():
        found = {parent: _find(catalogue, parent, time) for parent in given}
        missing = [parent for parent, whole in found.items() if whole is None]
        successor = catalogue.get(stage, key) if missing else None
        if successor:
            everything.append(_before(successor, list(given)))
            continue
        everything += [whole for whole in found.values() if whole]
        lost += missing
    return everything, lost


def _find(catalogue: Catalogue, parent: Parent, time: str) -> Artifact | None:
    """The whole artefact that has the content of a parent."""
    child = Artifact("", 0, "", "", Path(), parents=(parent,))
    try:
        ((_, part),) = catalogue.inputs(child, time)
    except ArtifactError:
        return None
    return catalogue.get(part.stage, part.key)


def _as_they_were(results: Sequence[Artifact]) -> list[Artifact]:
    """The results of a run, those whose place others took since as the run made them."""
    read: dict[tuple[str, str], dict[Parent, None]] = defaultdict(dict)
    for artifact in results:
        for parent in artifact.parents:
            read[parent.stage, parent.key][replace(parent, role="")] = None
    found = []
    for artifact in results:
        given = read[artifact.stage, artifact.key]
        is_same = {_content(parent) for parent in given} <= contents_of([artifact])
        found.append(artifact if is_same else _before(artifact, list(given)))
    return found


def _before(successor: Artifact, given: Sequence[Parent]) -> Artifact:
    """The artefact whose place another took: the same request, and the content that was read."""
    parts = {p.shard: p.digest for p in given if p.shard and p.shard != successor.shard}
    whole = [p.digest for p in given if p.shard == successor.shard]
    digest = whole[0] if whole else ""
    return replace(successor, digest=digest, parts=parts, files=(), counts={}, facts={})


def _content(parent: Parent) -> Content:
    return (parent.stage, parent.shard or "", parent.digest)


def _version_of(catalogue: Catalogue, name: str, model: Artifact) -> Version | None:
    """The version that a name means; of a digest, one that has it."""
    registry = catalogue.store.registry
    if name.partition("@")[0] in registry.all():
        return registry.find(name)
    versions = (version for known in registry.all() for version in registry.versions(known))
    content = (model.stage, model.digest)
    return next((v for v in versions if (v.stage, v.digest) == content), None)
