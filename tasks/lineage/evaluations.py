"""What was measured of models on held-out data: the evaluations that were made of them."""

import json
from typing import Any

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.stages import STAGES

MEASURES = "measures.json"


def find_evaluations(catalogue: Catalogue, artifact: Artifact) -> list[Artifact]:
    """The evaluations of a stage's result, erased ones too, first to last."""
    found = [
        child
        for child in catalogue.children(artifact)
        if child.stage in STAGES and STAGES[child.stage].measures == artifact.stage
    ]
    return sorted(found, key=catalogue.created)


def read_measures(catalogue: Catalogue, artifact: Artifact) -> list[dict[str, Any]]:
    """The rows of the last evaluation of a stage's result; none where it is not measured.

    Raises:
        ArtifactError: the evaluation's file is missing.
    """
    found = [e for e in find_evaluations(catalogue, artifact) if catalogue.erasure(e) is None]
    if not found:
        return []
    path = catalogue.store.fetch(found[-1]).path(MEASURES)
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows
