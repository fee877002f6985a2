import random
import signal
import zlib
from pathlib import Path
from typing import Any

import pytest

from model_code import training
from pipeline_data.errors import ArtifactError
from pipeline_data.stage_run import Inputs, Runtime
from tests.model_code.interruption import (
    CONFIGS,
    FUNCTIONS,
    STEPS,
    Recorder,
    StoppedError,
    content,
    interrupt,
    kill,
    metrics,
    orders,
)

SLOW = {"sft", "reward", "responses"}
"""Those that go on by the mechanism of another one, which is tested every time."""
pytestmark = pytest.mark.xdist_group("chain")


def saved_steps(checkpoints: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in checkpoints.glob("checkpoint-*"))


@pytest.mark.parametrize(
    "stage", [pytest.param(s, marks=[pytest.mark.long] if s in SLOW else []) for s in CONFIGS]
)
def test_killed_and_resumed_a_stage_gives_the_bytes_of_a_quiet_run(
    chain: dict[str, Any], tmp_path: Path, stage: str
) -> None:
    """Killed in its first half by a signal, then interrupted in its second, then left alone."""
    run, config, inputs = FUNCTIONS[stage], CONFIGS[stage], Inputs(chain)
    checkpoints, last = tmp_path / "checkpoints", STEPS[stage]
    quiet, resumed = tmp_path / "quiet", tmp_path / "resumed"
    told = run(config, inputs, quiet, Runtime())
    seed = zlib.crc32(stage.encode())
    assert kill(stage, inputs, tmp_path / "killed", checkpoints, seed) == -signal.SIGKILL

    other = config.model_copy(update={"seed": 8})
    with pytest.raises(ArtifactError, match=f"not of this run's config; remove {checkpoints} to"):
        run(other, inputs, tmp_path / "other", Runtime(checkpoints=checkpoints))

    saved, progress = saved_steps(checkpoints), Recorder(0.8 * last, interrupt)
    with pytest.raises(StoppedError):
        runtime = Runtime(progress=progress, checkpoints=checkpoints, checkpoint_seconds=0.0)
        run(config, inputs, tmp_path / "interrupted", runtime)
    assert 0 < saved[-1] == progress.steps[0] < progress.steps[-1] <= last

    saved, progress = saved_steps(checkpoints), Recorder()
    runtime = Runtime(progress=progress, checkpoints=checkpoints)
    assert run(config, inputs, resumed, runtime) == told
    assert saved[-1] == progress.steps[0] < progress.steps[-1] == last
    assert content(resumed) == content(quiet)
    assert metrics(resumed) == metrics(quiet)
    assert orders(resumed) == orders(quiet)
    assert bool(orders(quiet)) == (stage != "responses")


@pytest.mark.parametrize("seed", range(2))
def test_interrupted_any_number_of_times_training_ends_the_same(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With several steps between two logs, and now and then a checkpoint that is damaged."""
    monkeypatch.setattr(training, "NUM_LOGS", 7)
    run, config, inputs = FUNCTIONS["pretrain"], CONFIGS["pretrain"], Inputs(prepared)
    quiet, checkpoints, rng = tmp_path / "quiet", tmp_path / "checkpoints", random.Random(seed)
    told = run(config, inputs, quiet, Runtime())
    assert [row["step"] for row in metrics(quiet)] == list(range(3, 25, 3))
    whole = num_attempts = 0
    while True:
        num_attempts += 1
        out = tmp_path / str(num_attempts)
        progress = Recorder(whole + rng.randint(2, 8), interrupt)
        runtime = Runtime(progress=progress, checkpoints=checkpoints, checkpoint_seconds=0.0)
        try:
            assert run(config, inputs, out, runtime) == told
            break
        except StoppedError:
            assert progress.steps[0] == max(1, whole)
        saved = saved_steps(checkpoints)
        if rng.random() < 0.4:
            (checkpoints / f"checkpoint-{saved.pop()}" / "optimizer.pt").write_bytes(b"")
        whole = saved[-1] if saved else 0
    assert num_attempts > 4
    assert content(out) == content(quiet)
    assert metrics(out) == metrics(quiet)
