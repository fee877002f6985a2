"""How far documents got: the trainings that read them, and the models that came of these."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import HostPlace, Place
from tasks.lineage.exposure import ORDERS
from tasks.store import Tombstone

MODEL = "model/"


@dataclass(frozen=True)
class ReachedModel:
    """A model that learned from documents, or was made of one that did.

    Attributes:
        names: what it is called, such as ``assistant@2``.
        in_use: those of its names that mean it at present.
        trained: it read the documents itself.
        erasure: why its files are gone, if they are.
    """

    artifact: Artifact
    names: Sequence[str]
    in_use: Sequence[str]
    trained: bool
    erasure: Tombstone | None


def find_trainings(catalogue: Catalogue, places: Iterable[Place | HostPlace]) -> list[Artifact]:
    """The trainings that read an artefact which holds the documents, each once.

    A training that read the artefact need not have had the documents in a step:
    :mod:`tasks.lineage.exposure` tells.
    """
    found: dict[str, Artifact] = {}
    for place in places:
        if is_training(place.artifact):
            found.setdefault(place.artifact.key, place.artifact)
        elif place.artifact.stage == "tokenize":
            for child in catalogue.children(place.artifact):
                if is_training(child):
                    found.setdefault(child.key, child)
    return list(found.values())


def find_models(catalogue: Catalogue, trainings: Sequence[Artifact]) -> list[ReachedModel]:
    """The models of these trainings, and all that were made of them."""
    names, in_use = name_artifacts(catalogue)
    trained = {training.key for training in trainings}
    return [
        ReachedModel(
            artifact,
            names.get(artifact.key, ()),
            in_use.get(artifact.key, ()),
            artifact.key in trained,
            catalogue.erasure(artifact),
        )
        for artifact in [*trainings, *catalogue.descendants(trainings)]
        if is_model(artifact)
    ]


def name_artifacts(catalogue: Catalogue) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By key: every name an artefact had, as ``name@version``, and those that mean it now."""
    registry = catalogue.store.registry
    names: dict[str, list[str]] = {}
    in_use: dict[str, list[str]] = {}
    for name in registry.all():
        for version in registry.versions(name):
            names.setdefault(version.key, []).append(f"{name}@{version.version}")
        in_use.setdefault(registry.find(name).key, []).append(name)
    return names, in_use


def is_training(artifact: Artifact) -> bool:
    """Whether an artefact says what each of its steps saw."""
    return any(file.path.startswith(f"{ORDERS}/") for file in artifact.files)


def is_model(artifact: Artifact) -> bool:
    """Whether an artefact holds a model."""
    return any(file.path.startswith(MODEL) for file in artifact.files)
