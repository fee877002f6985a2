"""prefect.yaml for real: deployed to a server, run by a worker, with an override and a force."""

from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from tests.flows.deployed import find_deployment, run_deployment, task_states

pytestmark = pytest.mark.xdist_group("deployments")
NAMES = ("pipeline", "corpus", "pretraining", "alignment")


def test_schedules_are_there_and_off(worker: Path) -> None:
    for name in NAMES:
        deployment = find_deployment(f"{name}/{name}")
        assert [s.active for s in deployment.schedules] == [False]
        choices = str(deployment.parameter_openapi_schema)
        assert "evaluate-practice" in choices  # the form offers the stages


@pytest.mark.long
def test_a_run_from_a_deployment_with_an_override_and_a_forced_stage(first_run: FlowRun) -> None:
    overrides = {"tokenize": {"heldout_fraction": 0.2}}
    run = run_deployment(
        "corpus/corpus", {"recipe": "smoke", "overrides": overrides, "force": ["dedup"]}
    )
    assert run.state_name == "Completed"
    assert run.parameters["overrides"] == overrides
    states = task_states(run.id)
    ran = {name for name, state in states.items() if state == "Completed"}
    assert ran == {"dedup", "corpus-report"} | {
        name for name in states if name.startswith("tokenize ")
    }
    assert {s for name, s in states.items() if name not in ran} == {"Cached"}


def test_the_form_refuses_what_no_recipe_allows(worker: Path) -> None:
    with pytest.raises(PrefectHTTPStatusError) as refused:
        run_deployment("corpus/corpus", {"recipe": "smoke", "overrides": {"sft": {"steps": 0}}})
    said = refused.value.response.json()["detail"]
    assert "field 'overrides.sft.steps'. Failure reason: 0 is less than the minimum of 1" in said


@pytest.mark.long
def test_what_only_the_whole_recipe_can_refuse_fails_with_its_key(worker: Path) -> None:
    overrides = {"pretrain": {"context": 512}}
    run = run_deployment("corpus/corpus", {"recipe": "smoke", "overrides": overrides})
    assert run.state_name == "Failed"
    assert run.state
    refusal = "smoke.yaml with pretrain.context=512: pretrain: context must not be greater"
    assert refusal in (run.state.message or "")
