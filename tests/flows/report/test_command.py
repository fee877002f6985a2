"""``headwater report``: what it writes and where, and how mistakes are told."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.report import FILES, add_report
from flows.report.card import render_card
from flows.report.record import ModelRecord
from flows.report.summary import render_domains
from pipeline_data.errors import ArtifactError, HeadwaterError
from tests.flows.report.homes import copy_home, open_catalogue
from tests.flows.report.receiver import receiver

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(autouse=True)
def home(report_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = copy_home(report_home, tmp_path)
    monkeypatch.setenv("HEADWATER_HOME", str(copy))
    return copy


def report(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_report(parser.add_subparsers())
    options = parser.parse_args(["report", *arguments])
    return int(options.run_command(options))


def test_all_papers_are_written_and_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = open_catalogue(home).named("assistant").digest
    folder = home / "reports" / f"assistant-{digest[:12]}"
    assert report("assistant", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == digest
    assert told["folder"] == str(folder)
    assert {Path(path).name for path in told["files"].values()} == {
        p.name for p in folder.iterdir()
    }
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = home / "papers" / "deep"
    assert report(digest[:8], "--to", str(other)) == 0
    assert {path.name: path.read_bytes() for path in other.iterdir()} == first
    assert str(other / FILES["summary"]) in capsys.readouterr().out


@pytest.mark.parametrize(("name", "render"), [("card", render_card), ("domains", render_domains)])
def test_one_paper_goes_to_standard_output_and_nowhere_else(
    name: str,
    render: Callable[[ModelRecord], str],
    record: ModelRecord,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report("assistant", "--format", name) == 0
    assert capsys.readouterr().out == render(record)
    assert not (home / "reports").exists()


def test_events_go_to_a_receiver_and_no_file_is_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver() as (url, received):
        assert report("assistant", "--openlineage", url, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["events"] == len(received) > 0
        assert report("assistant", "--openlineage", url) == 0
    assert f"{told['events']} events of assistant sent to {url}" in capsys.readouterr().out
    assert not (home / "reports").exists()


def test_what_is_no_model_is_told_in_one_line(home: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no model .*assistant, base, reward, sft"):
        report("corpus")
    with pytest.raises(ArtifactError, match="no model named 'nobody'"):
        report("nobody")


def test_options_that_exclude_each_other_are_refused(home: Path) -> None:
    for options in (["--json"], ["--to", str(home)], ["--openlineage", "http://localhost"]):
        with pytest.raises(HeadwaterError, match="--format prints one paper"):
            report("assistant", "--format", "card", *options)
    with pytest.raises(HeadwaterError, match="--openlineage writes no files"):
        report("assistant", "--openlineage", "http://localhost", "--to", str(home))


def test_a_folder_that_cannot_be_made_is_told(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(HeadwaterError, match=r"cannot be written to .*name another by --to"):
        report("assistant", "--to", str(home / "file"))


def test_a_shard_that_is_gone_is_told(home: Path) -> None:
    shards = (home / "store").glob("tokenize/*/*/tokens.parquet")
    max(shards, key=lambda path: path.stat().st_size).unlink()
    with pytest.raises(
        ArtifactError, match=r"a shard cannot be read: .*headwater verify says which"
    ):
        report("assistant")
