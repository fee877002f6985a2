"""Runs of stages in MLflow: finding the one that stands for a stage's result."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from tasks.tracking.comparison import REPLACED, compare_model, compare_run
from tasks.tracking.entry import Entry
from tasks.tracking.models import get_model

LISTING = "artifacts.json"
"""The file of a run that lists the artefacts it stands for."""


def find_runs(client: MlflowClient, experiment: str, entry: Entry) -> list[Run]:
    """The finished runs of a stage's result, last started first, but those found wrong."""
    found = client.search_runs(
        [experiment],
        f"tags.content = '{entry.content}' and attributes.status = 'FINISHED'",
    )
    runs = [run for run in found if REPLACED not in run.data.tags]
    if not entry.models:
        return runs
    return [client.get_run(run.info.run_id) for run in runs]  # a search leaves input models out


def model_of(client: MlflowClient, run: Run) -> LoggedModel | None:
    """The model that a run made, if it is still there."""
    outputs = run.outputs.model_outputs if run.outputs else []
    return get_model(client, outputs[-1].model_id) if outputs else None


def differences(client: MlflowClient, entry: Entry, run: Run) -> Iterator[str]:
    """What differs between a stage's run, with its models, and the store."""
    yield from compare_run(entry, run)
    expected = {(model.key, model.digest): model for model in entry.models}
    found = set()
    for item in run.inputs.model_inputs or []:
        model = get_model(client, item.model_id)
        if model is None:
            yield f"its input model {item.model_id} was deleted"
        else:
            found.add((model.tags.get("key"), model.tags.get("digest")))
    for name in sorted(expected.keys() - found):
        yield f"its input model {expected[name].label} is missing"
    for key, digest in sorted(found - expected.keys(), key=str):
        yield f"its input model {str(digest)[:12]} (key {str(key)[:12]}) is none in the store"
    if entry.makes_model:
        made = model_of(client, run)
        if made is None:
            yield "the model that it made was deleted"
        else:
            for line in compare_model(entry, made):
                yield f"logged model {made.name}: {line}"
