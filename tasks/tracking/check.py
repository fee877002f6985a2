"""Where MLflow's record of a model and of all it was made of disagrees with the store."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from pipeline_data.artifact import Artifact, hash_file
from tasks.lineage.catalogue import Catalogue
from tasks.names import Version
from tasks.stages import STAGES
from tasks.store import EXTERNAL
from tasks.tracking.client import find_experiment, open_client
from tasks.tracking.comparison import REPLACED, compare_profiles, compare_version
from tasks.tracking.description import describe_chain
from tasks.tracking.entry import MODEL_FOLDER, Entry, describe_stage, is_model
from tasks.tracking.models import (
    CHAMPION,
    LINEAGE_PAGE,
    SUPERSEDED,
    find_versions,
    stored_versions,
    version_tags,
)
from tasks.tracking.runs import LISTING, differences, find_runs, model_of

MEND = "headwater run logs it again"


def disagreements(catalogue: Catalogue, artifact: Artifact, uri: str) -> list[str]:
    """What MLflow says otherwise than the store of a model, its ancestry and its evaluations.

    The runs of all stages (tags, params, datasets, final metrics, input models), the logged models
    with every byte of their files, and the registered versions with their aliases. The store is
    taken to be right: :meth:`tasks.store.Store.damage` tells whether it is. A line each, saying how
    to mend it; none if all agrees.

    Raises:
        ArtifactError: the record of something the model was made of is gone from the store.
    """
    client = open_client(uri)
    experiment = find_experiment(client)
    if experiment is None:
        return [f"MLflow at {uri} knows nothing of any model: {MEND}"]
    found: list[str] = []
    runs: set[str] = set()
    ancestry = [a for a in catalogue.ancestry(artifact) if a.stage != EXTERNAL]
    for artifacts in _stages(catalogue, ancestry):
        entry = describe_stage(catalogue, artifacts)
        run, problems = _check_stage(client, catalogue, experiment, entry)
        found += problems
        if run:
            runs.add(run.info.run_id)
    found += [f"{problem}: {MEND}" for problem in _check_names(client, catalogue, ancestry, runs)]
    return found


def _stages(catalogue: Catalogue, ancestry: Sequence[Artifact]) -> Iterator[list[Artifact]]:
    """Artefacts by stage, then the last evaluation of each model among them."""
    stages: dict[str, list[Artifact]] = {}
    for made in ancestry:
        stages.setdefault(made.stage, []).append(made)
    yield from stages.values()
    for model in filter(is_model, ancestry):
        evaluations = [
            child
            for child in catalogue.children(model)
            if child.stage in STAGES
            and STAGES[child.stage].measures == model.stage
            and catalogue.erasure(child) is None
        ]
        if evaluations:
            yield [max(evaluations, key=catalogue.created)]


def _check_stage(
    client: MlflowClient, catalogue: Catalogue, experiment: str, entry: Entry
) -> tuple[Run | None, list[str]]:
    """The run of a stage's result, if one agrees with the store; else what is wrong."""
    problems: list[str] = []
    for run in find_runs(client, experiment, entry):
        told = list(differences(client, entry, run))
        if not told:
            return run, list(_check_unmendable(client, catalogue, entry, run))
        problems += [f"MLflow's {_label(run)}: {line}: {MEND}" for line in told]
    if problems:
        return None, problems
    missing = _check_listed(client, catalogue, experiment, entry)
    return None, [f"{line}: {MEND}" for line in missing]


def _check_unmendable(
    client: MlflowClient, catalogue: Catalogue, entry: Entry, run: Run
) -> Iterator[str]:
    """What is wrong with a run that agrees otherwise, and no later run looks at or mends."""
    for line in compare_profiles(entry, run):
        yield f"MLflow's {_label(run)}: {line}: put back a copy of its database, or log in another"
    if entry.makes_model:
        model = model_of(client, run)
        assert model is not None, "a run without its model does not agree"
        for line in _check_files(client, catalogue, entry.artifacts[0], model):
            mend = f"mlflow runs delete --run-id {run.info.run_id}, then {MEND}"
            yield f"MLflow's {_label(run)}: logged model {model.name}: {line}: {mend}"


def _check_listed(
    client: MlflowClient, catalogue: Catalogue, experiment: str, entry: Entry
) -> Iterator[str]:
    """What is wrong where no run stands for just these shards: some run may list each of them."""
    missing = {(a.key, a.digest): a for a in entry.artifacts}
    for run in client.search_runs([experiment], f"tags.stage = '{entry.stage}'"):
        if not missing or REPLACED in run.data.tags or run.info.status != "FINISHED":
            continue
        listed = _listed(client, catalogue, entry.stage, run)
        if listed and any((a.key, a.digest) in missing for a in listed):
            for line in differences(client, describe_stage(catalogue, listed), run):
                yield f"MLflow's {_label(run)}: {line}"
            for artifact in listed:
                missing.pop((artifact.key, artifact.digest), None)
    if len(missing) == 1:
        yield f"MLflow has no run of {next(iter(missing.values())).label}"
    elif missing:
        yield f"MLflow has no run of {entry.stage} for {len(missing):,} shards"


def _listed(client: MlflowClient, catalogue: Catalogue, stage: str, run: Run) -> list[Artifact]:
    """The artefacts that a run lists and the store knows."""
    if LISTING not in {file.path for file in client.list_artifacts(run.info.run_id)}:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        path = _local_copy(client, run.info.artifact_uri, LISTING, temporary)
        rows = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
    found = (catalogue.get(stage, row["key"]) for row in rows)
    return [artifact for artifact in found if artifact]


def _check_files(
    client: MlflowClient, catalogue: Catalogue, artifact: Artifact, model: LoggedModel
) -> Iterator[str]:
    """What is wrong with the copy of a model that MLflow keeps; every byte is read."""
    if catalogue.erasure(artifact):
        return
    expected = {
        file.path.removeprefix(f"{MODEL_FOLDER}/"): file.sha256
        for file in artifact.files
        if file.path.startswith(f"{MODEL_FOLDER}/")
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = _local_copy(client, model.artifact_location, "", temporary)
        found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        for name, digest in expected.items():
            if name not in found:
                yield f"{name} is missing"
            elif hash_file(found[name]) != digest:
                yield f"{name} does not match its SHA-256"
        for name in sorted(found.keys() - expected.keys() - {LINEAGE_PAGE}):
            yield f"{name} is no file of the model"


def _local_copy(client: MlflowClient, location: str, path: str, folder: str) -> Path:
    """Where a file or folder of an artefact location can be read; one elsewhere is brought here."""
    if is_local_uri(location):
        return Path(local_file_uri_to_path(location), path)
    repository = get_artifact_repository(location, tracking_uri=client.tracking_uri)
    return Path(repository.download_artifacts(path, folder))


def _check_names(
    client: MlflowClient, catalogue: Catalogue, ancestry: Sequence[Artifact], runs: set[str]
) -> Iterator[str]:
    """What is wrong with the registered versions of models, and with the aliases of their names."""
    models = {(a.stage, a.key, a.digest): a for a in ancestry if is_model(a)}
    for name in catalogue.store.names():
        stored = stored_versions(catalogue.store, name)
        concerned = [v for v in stored if (v.stage, v.key, v.digest) in models]
        for version in concerned:
            made = models[version.stage, version.key, version.digest]
            expected = version_tags(catalogue.store, name, made)
            yield from _check_version(client, name, version, expected, runs)
        if concerned:
            yield from _check_alias(client, catalogue, name)


def _check_version(
    client: MlflowClient, name: str, stored: Version, expected: Mapping[str, str], runs: set[str]
) -> Iterator[str]:
    """One version of those that MLflow has of an artefact must agree, if others were replaced."""
    found = [v for v in find_versions(client, name, stored.key) if REPLACED not in v.tags]
    if not found:
        yield f"MLflow has no model version of {name} {stored.digest[:12]}"
        return
    told: list[str] = []
    for version in found:
        told = list(compare_version(expected, version))
        if version.run_id not in runs:
            told.append("its source run is gone or wrong")
        if stored.superseded_by and SUPERSEDED not in version.tags:
            told.append("it is not marked as superseded")
        if not told:
            return
    for line in told:
        yield f"MLflow's {name} version {version.version}: {line}"


def _check_alias(client: MlflowClient, catalogue: Catalogue, name: str) -> Iterator[str]:
    """The alias must be at the version that the name means; people read its description."""
    current = catalogue.store.registry.find(name)
    registered = client.search_registered_models(f"name = '{name}'")
    number = registered[0].aliases.get(CHAMPION) if registered else None
    if number is None:
        yield f"MLflow's {name} has no version with the alias {CHAMPION}"
        return
    version = client.get_model_version(name, number)
    expected = version_tags(catalogue.store, name, catalogue.named(name))
    if not expected.items() <= version.tags.items():
        digest = str(version.tags.get("digest"))[:12]
        yield (
            f"MLflow's alias {name}@{CHAMPION} points at version {number} ({digest}), "
            f"the store's name at {current.digest[:12]}"
        )
    elif describe_chain(catalogue, catalogue.named(name)) not in (version.description or ""):
        yield f"MLflow's {name} version {number}: its description was changed"


def _label(run: Run) -> str:
    return f"run of {run.data.tags.get('stage', run.info.run_name)} ({run.info.run_id})"
