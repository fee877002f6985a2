"""How far what MLflow has agrees with what the store says it is to have."""

import json
import math
from collections.abc import Collection, Iterator, Mapping

from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion

from pipeline_data.artifact import Artifact
from tasks.tracking.entry import TAGS, Entry

REPLACED = "replaced-by"
"""Tag of a run or model version that was found wrong: which one was logged in its place."""
EPSILON = 1e-9


def compare_run(entry: Entry, run: Run) -> Iterator[str]:
    """What differs between a stage's run and the store: tags, params, datasets, numbers."""
    yield from _differing("tag", entry.tags, _only(run.data.tags, TAGS))
    yield from _differing("param", entry.params, run.data.params)
    yield from _compare_datasets(entry, run)
    for number in entry.numbers:
        value = run.data.metrics.get(number.name)
        if value is None:
            yield f"metric {number.name} is missing"
        elif not math.isclose(value, number.value, rel_tol=EPSILON, abs_tol=EPSILON):
            yield f"metric {number.name} is {value:g}, in the store {number.value:g}"


def compare_profiles(entry: Entry, run: Run) -> Iterator[str]:
    """Which datasets of a run have another profile than the store says.

    Runs share a dataset of the same name and digest, so logging a run again does not mend one.
    """
    expected = {(row.name, row.short_digest): row.digest for row in entry.data}
    for item in run.inputs.dataset_inputs:
        name = (item.dataset.name, item.dataset.digest)
        told = json.loads(item.dataset.profile or "{}").get("sha256")
        if name in expected and told != expected[name]:
            yield f"dataset {name[0]} {name[1][:12]}: the SHA-256 in its profile is {_brief(told)}"


def compare_model(entry: Entry, model: LoggedModel) -> Iterator[str]:
    """What differs between a logged model and the store: tags, params, and if it is finished."""
    expected = model_tags(entry.artifacts[0])
    yield from _differing("tag", expected, _only(model.tags, expected))
    yield from _differing("param", entry.params, model.params or {})
    if str(model.status) != "READY":
        yield f"its status is {model.status}: its files may be incomplete"


def compare_version(expected: Mapping[str, str], version: ModelVersion) -> Iterator[str]:
    """What differs between the tags of a registered version and the store."""
    yield from _differing("tag", expected, _only(version.tags, expected))


def model_tags(artifact: Artifact) -> dict[str, str]:
    """The tags by which a logged model and its versions name the artefact."""
    return {"stage": artifact.stage, "key": artifact.key, "digest": artifact.digest}


def _differing(what: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*expected, *found}):
        told, stored = found.get(name), expected.get(name)
        if told is None:
            yield f"{what} {name} is missing, in the store {_brief(stored)}"
        elif stored is None:
            yield f"{what} {name} is {_brief(told)}, the store has none"
        elif told != stored:
            yield f"{what} {name} is {_brief(told)}, in the store {_brief(stored)}"


def _only(tags: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name in names}


def _compare_datasets(entry: Entry, run: Run) -> Iterator[str]:
    expected = {(row.name, row.short_digest): row.digest for row in entry.data}
    found = {}
    for item in run.inputs.dataset_inputs:
        told = [tag.value for tag in item.tags if tag.key == "sha256"]
        found[item.dataset.name, item.dataset.digest] = told
    for name, digest in sorted(expected.keys() - found.keys()):
        yield f"dataset {name} {digest[:12]} is missing"
    for name, digest in sorted(found.keys() - expected.keys()):
        yield f"dataset {name} {digest[:12]} is none of its inputs in the store"
    for dataset in sorted(expected.keys() & found.keys()):
        if found[dataset] != [expected[dataset]]:
            yield f"dataset {dataset[0]} {dataset[1][:12]}: its tag sha256 is not the store's"


def _brief(value: str | None) -> str:
    text = str(value)
    return repr(text if len(text) <= 80 else f"{text[:60]}...{text[-12:]}")
