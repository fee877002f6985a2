"""Models in MLflow: logged with their source run, registered in versions, marked when they go."""

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.page.page import render_lineage
from tasks.names import Version
from tasks.store import Store
from tasks.tracking.client import MISSING, find_experiment, open_client
from tasks.tracking.comparison import REPLACED, model_tags
from tasks.tracking.description import describe_chain
from tasks.tracking.entry import MODEL_FOLDER, Entry

CHAMPION = "champion"
"""The alias of the version that a name means in the store; every name has it."""
SUPERSEDED = "superseded-by"
ERASED = "erased"
LINEAGE_PAGE = "lineage.html"
VERSIONS_OF_MODEL = "mlflow.modelVersions"
NOTE = "mlflow.note.content"


def log_model(
    client: MlflowClient, catalogue: Catalogue, experiment: str, run: str, name: str, entry: Entry
) -> str:
    """Log the model of an entry as made by a run, with its files and its lineage; returns its id.

    Raises:
        ArtifactError: a file of the model is gone.
    """
    artifact = entry.artifacts[0]
    model = client.create_logged_model(
        experiment,
        name=name,
        source_run_id=run,
        tags={**model_tags(artifact), NOTE: describe_chain(catalogue, artifact)},
        params=dict(entry.params),
        model_type="transformers",
    )
    local = catalogue.store.fetch(artifact)
    client.log_model_artifacts(model.model_id, str(local.path(MODEL_FOLDER)))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, LINEAGE_PAGE)
        page.write_text(render_lineage(catalogue, artifact), encoding="utf-8")
        client.log_model_artifact(model.model_id, str(page))
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def get_model(client: MlflowClient, model_id: str) -> LoggedModel | None:
    """A logged model, unless it was deleted."""
    try:
        return client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != MISSING:
            raise
        return None


def find_models(client: MlflowClient, experiment: str, key: str) -> list[LoggedModel]:
    """The logged models of an artefact, last logged first."""
    return list(
        client.search_logged_models(
            [experiment],
            filter_string=f"tags.key = '{key}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        )
    )


def find_versions(client: MlflowClient, name: str, key: str) -> list[ModelVersion]:
    """The versions of a registered model that stand for an artefact, first to last."""
    found = client.search_model_versions(f"name = '{name}' and tags.`key` = '{key}'")
    return sorted(found, key=lambda version: int(version.version))


def register(
    client: MlflowClient, catalogue: Catalogue, name: str, artifact: Artifact, model: LoggedModel
) -> ModelVersion:
    """The version of a registered model that stands for an artefact, made if there is none.

    It gets the alias ``champion``. A version of the same artefact with another source run was
    found wrong; it is tagged as replaced.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    expected = version_tags(catalogue.store, name, artifact)
    chain = describe_chain(catalogue, artifact)
    known = [v for v in find_versions(client, name, artifact.key) if REPLACED not in v.tags]
    same = [
        v for v in known if v.run_id == model.source_run_id and expected.items() <= v.tags.items()
    ]
    version = (
        same[-1]
        if same
        else client.create_model_version(
            name,
            source=model.artifact_location,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=expected,
            description=chain,
        )
    )
    if chain not in (version.description or ""):
        client.update_model_version(name, version.version, chain)
    _link_version(client, model, version)
    _mark_replaced(client, catalogue.store, version, known)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    stored = stored_versions(catalogue.store, name)
    for gone in stored:
        if gone.superseded_by:
            _mark_superseded(client, name, gone.key, stored[gone.superseded_by - 1].key)
    return version


def stored_versions(store: Store, name: str) -> list[Version]:
    """What a name has meant in the store, or nothing."""
    return store.registry.versions(name) if name in store.names() else []


def version_tags(store: Store, name: str, artifact: Artifact) -> dict[str, str]:
    """The tags of an artefact's version in MLflow: those of the model, and of the store's version.

    ``chain`` is the digest over the records of all it was made of, which so is kept twice.
    """
    content = (artifact.stage, artifact.key, artifact.digest)
    known = (v for v in stored_versions(store, name) if (v.stage, v.key, v.digest) == content)
    version = next(known, None)
    tags = model_tags(artifact)
    if version:
        tags["named"] = f"{name}@{version.version}"
    if version and version.chain:
        tags["chain"] = version.chain
    return tags


def supersede(uri: str, name: str, old_key: str, new_key: str) -> None:
    """Mark the version of one artefact as superseded by that of another; its aliases move there.

    Raises:
        HeadwaterError: MLflow has no version of one of them.
    """
    client = open_client(uri)
    old, new = (find_versions(client, name, key) for key in (old_key, new_key))
    for key, found in ((old_key, old), (new_key, new)):
        if not found:
            raise HeadwaterError(
                f"MLflow has no version of {name} with key {key[:12]}: headwater run registers it"
            )
    _mark_superseded(client, name, old_key, new_key)
    numbers = {str(version.version) for version in old}
    for alias, version in client.get_registered_model(name).aliases.items():
        if str(version) in numbers:
            client.set_registered_model_alias(name, alias, new[-1].version)


def erase_model(uri: str, key: str, reason: str) -> None:
    """Delete the files that MLflow keeps of an artefact, and say so where it is recorded.

    The files are those of its logged models, and those of the run that made it (a report). Digests
    stay. Without anything of the artefact in MLflow, nothing is done.
    """
    client = open_client(uri)
    experiment = find_experiment(client)
    if experiment is None:
        return

    def delete_files(location: str) -> None:
        get_artifact_repository(location, tracking_uri=uri).delete_artifacts()

    note = f"{datetime.now(UTC).isoformat(timespec='seconds')}: {reason}"
    for run in client.search_runs([experiment], f"tags.key = '{key}'"):
        delete_files(run.info.artifact_uri)
        client.set_tag(run.info.run_id, ERASED, note)
    for model in find_models(client, experiment, key):
        delete_files(model.artifact_location)
        client.set_logged_model_tags(model.model_id, {ERASED: note})
    for version in client.search_model_versions(f"tags.`key` = '{key}'"):
        client.set_model_version_tag(version.name, version.version, ERASED, note)


def _link_version(client: MlflowClient, model: LoggedModel, version: ModelVersion) -> None:
    """What a server does when a version is made, and the client on a database does not."""
    versions = json.loads(model.tags.get(VERSIONS_OF_MODEL, "[]"))
    link = {"name": version.name, "version": int(version.version)}
    if link not in versions:
        value = json.dumps([*versions, link])
        client.set_logged_model_tags(model.model_id, {VERSIONS_OF_MODEL: value})


def _mark_replaced(
    client: MlflowClient, store: Store, version: ModelVersion, known: Sequence[ModelVersion]
) -> None:
    """Of the versions of one key, those that stand for nothing the name has meant are wrong."""
    name, key = version.name, version.tags["key"]
    legitimate = {v.digest for v in stored_versions(store, name) if v.key == key}
    for other in known:
        is_legitimate = other.tags.get("digest") in legitimate - {version.tags["digest"]}
        if other.version != version.version and not is_legitimate:
            client.set_model_version_tag(name, other.version, REPLACED, version.version)


def _mark_superseded(client: MlflowClient, name: str, old_key: str, new_key: str) -> None:
    new = find_versions(client, name, new_key)
    for version in find_versions(client, name, old_key) if new else ():
        if version.tags.get(SUPERSEDED) != str(new[-1].version):
            client.set_model_version_tag(name, version.version, SUPERSEDED, new[-1].version)
