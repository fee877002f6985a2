"""The runs that whole groups of tests share."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.cli import main
from flows.home import open_home
from flows.run_record import last_record
from tests.finished_home import OPTIONS
from tests.flows.deployed import run_deployment


@pytest.fixture(scope="session")
def small_run(prefect_server: str) -> dict[str, Any]:
    """The record of a run of every stage, at its smallest, in the session's home.

    Tests that use it are in the group ``prefect``, so that it is made once.
    """
    assert main(["run", "smoke", *OPTIONS, "--json"]) == 0
    return last_record(open_home().runs)


@pytest.fixture(scope="session")
def changed_run(small_run: dict[str, Any]) -> dict[str, Any]:
    """The record of the same with another setting of its last training."""
    assert main(["run", "smoke", *OPTIONS, "--set", "practice.steps=5", "--json"]) == 0
    return last_record(open_home().runs)


@pytest.fixture(scope="session")
def first_run(worker: Path) -> FlowRun:
    """A run of the smoke recipe's corpus, after which all its results are in the store."""
    run = run_deployment("corpus/corpus", {"recipe": "smoke"})
    assert run.state_name == "Completed", run.state and run.state.message
    return run
