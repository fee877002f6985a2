"""Small trainings that are stopped in the middle, and what they leave."""

import json
import math
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_code import ppo, practice, pretrain, responses, reward, settings, sft
from pipeline_data.artifact import PROVENANCE, Counts, describe
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime

TINY = settings.ModelShape(hidden_size=16, num_layers=2, num_heads=1, intermediate_size=16)
CONFIGS: Mapping[str, Settings] = {
    "pretrain": settings.PretrainConfig(
        model=TINY, mixture={"world": 3.0, "notes": 1.0}, steps=24, batch_size=4, context=32
    ),
    "sft": settings.SftConfig(steps=12, batch_size=16),
    "responses": settings.ResponsesConfig(batch_size=16),
    "reward": settings.RewardConfig(epochs=5),
    "ppo": settings.PpoConfig(iterations=5, rollouts=8, pretraining_rows=2),
    "practice": settings.PracticeConfig(samples=2, anchors=4, steps=5, batch_size=8),
}
STEPS = {"pretrain": 24, "sft": 12, "responses": 16, "reward": 10, "ppo": 5, "practice": 10}
"""Steps of each, or prompts; ``sft`` and ``reward`` pass over their data several times."""
FUNCTIONS: Mapping[str, Callable[..., Counts]] = {
    "pretrain": pretrain.run,
    "sft": sft.run,
    "responses": responses.run,
    "reward": reward.run,
    "ppo": ppo.run,
    "practice": practice.run,
}


class StoppedError(Exception):
    """A training was stopped from within."""


def interrupt() -> None:
    raise StoppedError


@dataclass
class Recorder:
    """Progress that remembers the steps, and calls ``stop`` once at some step.

    Not at the first it hears of: nothing is saved before that is done.
    """

    stop_at: float = math.inf
    stop: Callable[[], None] = lambda: None
    steps: list[int] = field(default_factory=list)

    def __call__(self, done: int, total: int | None, unit: str, metrics: Any = None) -> None:
        self.steps.append(done)
        if done >= self.stop_at and len(self.steps) > 1:
            self.stop_at = math.inf
            self.stop()


def content(out: Path) -> dict[str, str]:
    """The hash of every file that is part of the identity."""
    return {file.path: file.sha256 for file in describe(out) if not file.is_provenance}


def orders(out: Path) -> dict[str, str]:
    """The hash of every file of the training orders."""
    return {file.path: file.sha256 for file in describe(out) if "/orders/" in file.path}


def metrics(out: Path) -> list[dict[str, float]]:
    """The rows of the metrics without the rates, which depend on the machine."""
    path = out / PROVENANCE / "metrics.jsonl"
    if not path.exists():
        return []
    rows = map(json.loads, path.read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.endswith("_per_second")} for row in rows]


def run_and_be_killed(stage: str, inputs: Inputs, out: Path, checkpoints: Path, seed: int) -> None:
    """In a process of its own: run a stage, and be killed at some moment in its first half."""
    rng = random.Random(seed)
    delay = rng.uniform(0, 0.05)
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
    progress = Recorder(rng.randint(2, STEPS[stage] // 2), timer.start)
    runtime = Runtime(progress=progress, checkpoints=checkpoints, checkpoint_seconds=0.0)
    FUNCTIONS[stage](CONFIGS[stage], inputs, out, runtime)
    timer.join()  # the last file may be written before the moment has come


def kill(stage: str, inputs: Inputs, out: Path, checkpoints: Path, seed: int) -> int | None:
    """The exit code of a process that ran a stage with checkpoints; none if it still runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    arguments = (stage, inputs, out, checkpoints, seed)
    process = context.Process(target=run_and_be_killed, args=arguments)
    process.start()
    process.join(240)
    exit_code = process.exitcode
    process.kill()
    return exit_code
