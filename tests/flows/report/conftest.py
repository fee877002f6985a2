"""A copy of the finished home for each session, and its record, read once."""

from pathlib import Path

import pytest

from flows.report.record import ModelRecord, read_record
from tests.flows.report.homes import copy_home, open_catalogue


@pytest.fixture(scope="session")
def report_home(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished home that reading may write its caches to."""
    return copy_home(finished_home, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def record(report_home: Path) -> ModelRecord:
    """What is on record of the assistant."""
    catalogue = open_catalogue(report_home)
    return read_record(catalogue, catalogue.named("assistant"))
