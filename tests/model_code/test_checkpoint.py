import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from model_code.checkpoint import Checkpoints, load_state, save_state
from model_code.settings import SftConfig
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime

BASE = Artifact("base", 1, "key", "digest", Path())


def open_checkpoints(
    tmp_path: Path,
    seconds: float = 0.0,
    config: Settings | None = None,
    artifact: Artifact = BASE,
    attempt: str = "out",
) -> Checkpoints:
    runtime = Runtime(checkpoints=tmp_path / "checkpoints", checkpoint_seconds=seconds)
    inputs = Inputs({"base": artifact, "tokens": [BASE]})
    return Checkpoints(config or SftConfig(), inputs, tmp_path / attempt, runtime)


def write(checkpoints: Checkpoints, step: int) -> None:
    with checkpoints.writing(step) as folder:
        save_state(folder, {}, {"step": step})


def names(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "checkpoints").iterdir()}


def test_without_a_folder_none_is_due_and_none_found(tmp_path: Path) -> None:
    runtime = Runtime(checkpoint_seconds=0.0)
    checkpoints = Checkpoints(SftConfig(), Inputs({}), tmp_path, runtime)
    assert not checkpoints.is_due(1, 10)
    assert checkpoints.resume() is None
    assert list(tmp_path.iterdir()) == []


def test_models_and_state_come_back_as_they_were(tmp_path: Path) -> None:
    models = {"a": nn.Linear(3, 2), "b": nn.Linear(2, 2)}
    optimizer = torch.optim.AdamW(models["a"].parameters())
    models["a"](torch.ones(3)).sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "rows": [([1, 2], [3])], "rate": 0.1}
    save_state(tmp_path, models, state)
    others = {"a": nn.Linear(3, 2), "b": nn.Linear(2, 2)}
    loaded = load_state(tmp_path, others)
    assert loaded["rows"] == state["rows"] and loaded["rate"] == 0.1
    torch.testing.assert_close(loaded["optimizer"], state["optimizer"], rtol=0, atol=0)
    for name, model in models.items():
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, others[name].state_dict()[key])


def test_saving_takes_a_fiftieth_of_the_time_at_most(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path, seconds=0.001)
    time.sleep(0.002)
    assert not checkpoints.is_due(10, 10)  # what follows the last step is the result itself
    begun = time.monotonic()
    assert checkpoints.is_due(9, 10)
    time.sleep(0.01)
    write(checkpoints, 9)
    cost = time.monotonic() - begun
    assert not checkpoints.is_due(9, 10)
    time.sleep(51 * cost)
    assert checkpoints.is_due(9, 10)
    assert not open_checkpoints(tmp_path, seconds=3600).is_due(9, 10)


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    for step in (8, 9, 10, 11):
        assert checkpoints.is_due(step, 20)
        write(checkpoints, step)
    assert names(tmp_path) == {"checkpoint-10", "checkpoint-11"}
    found = open_checkpoints(tmp_path, attempt="second").resume()
    assert found and found.step == load_state(found.folder, {})["step"] == 11


def flip(folder: Path) -> None:
    content = bytearray((folder / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "state.pt").write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "a file cut short": lambda folder: os.truncate(folder / "state.pt", 100),
    "a missing file": lambda folder: (folder / "state.pt").unlink(),
    "a missing record": lambda folder: (folder / "checkpoint.json").unlink(),
    "a record cut short": lambda folder: os.truncate(folder / "checkpoint.json", 30),
    "a record of zeros": lambda folder: (folder / "checkpoint.json").write_bytes(bytes(99)),
    "a record of something else": lambda folder: (folder / "checkpoint.json").write_text("{}"),
    "nothing in it": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_told_and_the_one_before_is_read(
    tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints = open_checkpoints(tmp_path)
    write(checkpoints, 1)
    write(checkpoints, 2)
    last = tmp_path / "checkpoints" / "checkpoint-2"
    DAMAGES[damage](last)
    found = open_checkpoints(tmp_path).resume()
    assert found and found.step == 1
    damaged, resumed = capfd.readouterr().err.splitlines()
    assert str(last) in damaged and "damaged" in damaged
    assert str(found.folder) in resumed
    write(checkpoints, 2)
    again = open_checkpoints(tmp_path).resume()
    assert again and again.step == 2
    for folder in (found.folder, again.folder):
        DAMAGES[damage](folder)
    assert open_checkpoints(tmp_path).resume() is None
    assert names(tmp_path) == set()


@pytest.mark.parametrize("what", ["config", "inputs"])
def test_one_of_another_run_is_refused_in_a_line(tmp_path: Path, what: str) -> None:
    write(open_checkpoints(tmp_path), 1)
    if what == "config":
        other = open_checkpoints(tmp_path, config=SftConfig(seed=1))
    else:
        other = open_checkpoints(tmp_path, artifact=replace(BASE, digest="other"))
    with pytest.raises(ArtifactError, match=f"checkpoint-1 is not of this run's {what}; remove"):
        other.resume()
    assert names(tmp_path) == {"checkpoint-1"}


def test_what_a_killed_process_had_begun_to_write_is_never_read_and_goes(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    write(checkpoints, 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                               capture_output=True, text=True, check=True)  # fmt: skip
        begun = [
            checkpoints.unfinished.with_name(f"unfinished-{host}-{pid}")
            for host, pid in (
                (socket.gethostname(), os.getpid()),
                (socket.gethostname(), int(ended.stdout)),
                (socket.gethostname(), living.pid),
                ("elsewhere", int(ended.stdout)),
            )
        ]
        for folder in begun:
            (folder / "checkpoint").mkdir(parents=True)
            (folder / "checkpoint" / "state.pt").write_bytes(b"PK")
        found = open_checkpoints(tmp_path).resume()
    assert found and found.step == 1
    assert [folder.exists() for folder in begun] == [False, False, True, True]


def test_two_attempts_may_save_the_same_step(tmp_path: Path) -> None:
    first, second = open_checkpoints(tmp_path), open_checkpoints(tmp_path, attempt="second")
    write(first, 1)
    write(second, 1)
    assert names(tmp_path) == {"checkpoint-1"}
    found = second.resume()
    assert found and found.step == 1


def test_a_save_that_fails_is_not_put_in_place(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    with pytest.raises(OSError, match="full"), checkpoints.writing(1) as folder:
        (folder / "state.pt").write_bytes(b"PK")
        raise OSError("the disk is full")
    assert checkpoints.resume() is None
    write(checkpoints, 1)
    assert names(tmp_path) == {"checkpoint-1"}


def test_metrics_go_on_from_the_rows_the_checkpoint_had(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path, attempt="first")
    metrics = tmp_path / "first" / "provenance" / "metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"step": 1}\n')
    write(checkpoints, 1)
    metrics.write_text('{"step": 1}\n{"step": 2}\n')
    assert open_checkpoints(tmp_path, attempt="second").resume()
    assert (tmp_path / "second/provenance/metrics.jsonl").read_text() == '{"step": 1}\n'
