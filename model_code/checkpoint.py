"""Checkpoints: a training that was killed goes on where it was, and ends with the same bytes.

A checkpoint is a folder ``checkpoint-STEP``. It is written under another name, brought to the disk
and renamed, so whatever has the name is whole; its record has the hash of every file, so that one a
failing disk has damaged is noticed and the one before it read. Only the last two are kept.

Files are named by whoever writes them: ``transformers.Trainer``, or :func:`save_state`.
"""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from pipeline_data.artifact import PROVENANCE, describe
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import Settings, canonical_json, fingerprint
from pipeline_data.stage_run import Inputs, Runtime

RECORD = "checkpoint.json"
METRICS = "metrics.jsonl"
STATE = "state.pt"
NUM_KEPT = 2
"""The last, and the one before it, which another attempt may be reading."""
COST_FACTOR = 50
"""Time between two checkpoints, in times of what the last one took: saving costs 2% at most."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole: its folder, and the steps that were done."""

    folder: Path
    step: int


class Checkpoints:
    """The checkpoints of one stage run; without a folder for them, none is due and none found."""

    def __init__(self, config: Settings, inputs: Inputs, out: Path, runtime: Runtime) -> None:
        self.folder = runtime.checkpoints
        self.metrics = out / PROVENANCE / METRICS
        self.identity = {
            "config": fingerprint([type(config).__name__, config.model_dump(mode="json")]),
            "inputs": fingerprint(
                {role: [artifact.digest for artifact in inputs.many(role)] for role in inputs.roles}
            ),
        }
        self._seconds = runtime.checkpoint_seconds
        self._begun = time.monotonic()
        self._next = self._begun + self._seconds

    @property
    def unfinished(self) -> Path:
        """The folder in which this process writes a checkpoint.

        Raises:
            ValueError: the run has no folder for checkpoints.
        """
        if self.folder is None:
            raise ValueError("this run has no folder for checkpoints")
        return self.folder / f"unfinished-{socket.gethostname()}-{os.getpid()}"

    def resume(self) -> Checkpoint | None:
        """The newest checkpoint that can be read; its metrics are put where this run keeps its own.

        Raises:
            ArtifactError: it was made with another config or of other inputs.
        """
        if self.folder is None:
            return None
        self._remove_unfinished()
        for folder in reversed(_find(self.folder)):
            record = _read_record(folder)
            if record is None:
                _tell(f"checkpoint {folder} is damaged and was removed")
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._check(folder, record)
            _tell(f"going on from {folder}")
            self.metrics.parent.mkdir(parents=True, exist_ok=True)
            if (folder / METRICS).exists():
                shutil.copyfile(folder / METRICS, self.metrics)
            return Checkpoint(folder, record["step"])
        return None

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether to save now, after ``step`` steps; never after the last one."""
        now = time.monotonic()
        if self.folder is None or step >= num_steps or now < self._next:
            return False
        self._begun = now
        return True

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """A folder to write the checkpoint of a step to, which is put in its place at the end."""
        folder = self.unfinished / "checkpoint"
        folder.mkdir(parents=True)
        yield folder
        self.publish(folder, step)

    def publish(self, folder: Path, step: int) -> None:
        """Put a checkpoint written below ``unfinished`` in its place and remove older ones."""
        place = self.unfinished.parent / f"checkpoint-{step}"
        if self.metrics.exists():
            shutil.copyfile(self.metrics, folder / METRICS)
        files = [asdict(file) for file in describe(folder)]
        record = canonical_json({"step": step, **self.identity, "files": files})
        (folder / RECORD).write_text(record + "\n", encoding="utf-8")
        for path in (*folder.rglob("*"), folder):
            _sync(path)
        try:
            folder.rename(place)
        except OSError:
            if not place.exists():  # where it does, another attempt was here first
                raise
        _sync(place.parent)
        for path in (self.unfinished, *_find(place.parent)[:-NUM_KEPT]):
            shutil.rmtree(path, ignore_errors=True)
        now = time.monotonic()
        pause = max(self._seconds, COST_FACTOR * (now - self._begun)) if self._seconds else 0.0
        self._next = now + pause

    def _check(self, folder: Path, record: Mapping[str, Any]) -> None:
        for what, expected in self.identity.items():
            if record.get(what) != expected:
                raise ArtifactError(
                    f"checkpoint {folder} is not of this run's {what}; remove {folder.parent} to "
                    "train from the beginning"
                )

    def _remove_unfinished(self) -> None:
        """Remove what processes of this machine left that were killed while they saved."""
        assert self.folder is not None
        for path in self.folder.glob(f"unfinished-{socket.gethostname()}-*"):
            owner = int(path.name.rpartition("-")[2])
            if owner == os.getpid() or not psutil.pid_exists(owner):
                shutil.rmtree(path, ignore_errors=True)


def save_state(folder: Path, models: Mapping[str, nn.Module], state: Mapping[str, Any]) -> None:
    """Write the weights of models, and beside them tensors, numbers and containers of them."""
    for name, model in models.items():
        save_model(model, str(folder / f"{name}.safetensors"))
    torch.save(dict(state), folder / STATE)


def load_state(folder: Path, models: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Read what :func:`save_state` wrote: weights into the models, the rest as it was."""
    for name, model in models.items():
        load_model(model, folder / f"{name}.safetensors")
    state: dict[str, Any] = torch.load(folder / STATE, weights_only=True)
    return state


def _find(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, the newest last."""
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def _read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a checkpoint; nothing when a file is not what it was."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files = [asdict(file) for file in describe(folder) if file.path != RECORD]
    except (OSError, ValueError):
        return None
    return record if record.get("files") == files else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tell(line: str) -> None:
    """Say something in the stage's log, where all output of a stage goes."""
    print(line, file=sys.stderr, flush=True)
