"""MLflow's client, the experiment all is kept in, and MLflow's limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

EXPERIMENT = "headwater"
DIGEST_CHARACTERS = 36
VALUE_CHARACTERS = 6000
"""Of a param; of a tag it is 8,000. MLflow cuts what is longer, with a warning."""
DESCRIPTION_CHARACTERS = 5000
"""Of a model version (``SqlModelVersion.description``); what is longer, PostgreSQL refuses."""
ITEMS_PER_CALL = 1000
PARAMS_PER_CALL = 100
MISSING = "RESOURCE_DOES_NOT_EXIST"

Item = TypeVar("Item")


def open_client(uri: str) -> MlflowClient:
    """The client of a tracking URI, for runs and for registered models."""
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def find_experiment(client: MlflowClient) -> str | None:
    """The id of the experiment, if anything was logged yet."""
    known = client.get_experiment_by_name(EXPERIMENT)
    return str(known.experiment_id) if known else None


def make_experiment(client: MlflowClient, artifacts: Path) -> str:
    """The id of the experiment, made if there is none; it keeps files below ``artifacts``."""
    known = find_experiment(client)
    if known:
        return known
    try:
        return str(client.create_experiment(EXPERIMENT, artifacts.resolve().as_uri()))
    except MlflowException:  # another run made it meanwhile
        known = find_experiment(client)
        if known is None:
            raise
        return known


def in_chunks(items: Sequence[Item], size: int) -> list[list[Item]]:
    """The items in order, in lists of no more than ``size``."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
