"""What pretraining, SFT and reward modelling share: one family of trainers, set up one way."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from model_code import language_model
from model_code.checkpoint import METRICS, Checkpoint, Checkpoints
from model_code.settings import Precision
from pipeline_data.artifact import PROVENANCE
from pipeline_data.formats import read_jsonl
from pipeline_data.stage_run import Runtime

NUM_LOGS = 50
"""How often metrics are logged in one run."""
LOSS = "loss.json"


class MetricSink(Protocol):
    """Takes the metrics of a step as they come."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def latest(self) -> dict[str, float]: ...


class FileSink:
    """Appends to ``provenance/metrics.jsonl``: its times and rates are no part of the identity."""

    def __init__(self, out: Path) -> None:
        self.path = out / PROVENANCE / METRICS
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, **metrics}) + "\n")

    def latest(self) -> dict[str, float]:
        """The last row; empty when there is none, as before the first step."""
        rows = list(read_jsonl(self.path)) if self.path.exists() else []
        return {name: value for name, value in rows[-1].items() if name != "step"} if rows else {}


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Passes a trainer's steps to the runtime's progress and its logs to a sink."""

    def __init__(self, runtime: Runtime, sink: MetricSink, tokens_per_step: int = 0) -> None:
        self.runtime, self.sink, self.tokens_per_step = runtime, sink, tokens_per_step
        self.latest = sink.latest()
        self.mark = (0, time.perf_counter())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.mark = (state.global_step, time.perf_counter())
        if state.global_step:
            self.runtime.progress(state.global_step, state.max_steps, "steps", self.latest)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.runtime.progress(state.global_step, state.max_steps, "steps", self.latest)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        step, now = state.global_step, time.perf_counter()
        rate = (step - self.mark[0]) / max(1e-9, now - self.mark[1])
        self.mark = (step, now)
        self.latest = {"loss": float(logs["loss"]), "steps_per_second": rate}
        if self.tokens_per_step:
            self.latest["tokens_per_second"] = rate * self.tokens_per_step
        self.sink.log(step, self.latest)


class Saver(TrainerCallback):  # type: ignore[misc]
    """Has a trainer save when a checkpoint is due, and puts what it saved in its place.

    The losses since the last log are the one thing a trainer does not keep.
    """

    def __init__(
        self, trainer: Trainer, checkpoints: Checkpoints, resumed: Checkpoint | None
    ) -> None:
        self.trainer, self.checkpoints, self.resumed = trainer, checkpoints, resumed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.resumed:
            loss = json.loads((self.resumed.folder / LOSS).read_text(encoding="utf-8"))
            self.trainer._tr_loss += loss["sum"]
            self.trainer._globalstep_last_logged = loss["last_logged"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_save = self.checkpoints.is_due(state.global_step, state.max_steps)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        trainer = self.trainer
        last_logged = trainer._globalstep_last_logged
        loss = {"sum": trainer._tr_loss.item(), "last_logged": last_logged}
        folder = self.checkpoints.unfinished / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        (folder / LOSS).write_text(json.dumps(loss), encoding="utf-8")
        self.checkpoints.publish(folder, state.global_step)


def set_threads(runtime: Runtime) -> None:
    """Use the threads the runtime grants for tensor work."""
    torch.set_num_threads(runtime.threads)


def training_arguments(
    out: Path, *, steps: int, batch_size: int, seed: int, precision: Precision, clip_norm: float
) -> dict[str, Any]:
    """Arguments every trainer of this project is made with; optimizer and schedule are given apart.

    Nothing is reported to third parties and nothing is written but what a stage saves itself. All
    stages run on the CPU, where the same bytes come out whatever the number of threads. Items are
    taken as they lie: a stage gives a trainer all its steps' items in their order.
    """
    return {
        "output_dir": str(out / PROVENANCE),
        "max_steps": steps,
        "per_device_train_batch_size": batch_size,
        "seed": seed,
        "bf16": precision == "bfloat16",
        "max_grad_norm": clip_norm,
        "use_cpu": True,
        "logging_steps": max(1, steps // NUM_LOGS),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
    }


def train(
    trainer: Trainer,
    checkpoints: Checkpoints,
    runtime: Runtime,
    out: Path,
    tokens_per_step: int = 0,
) -> dict[str, float]:
    """Run a trainer to its end, from its last checkpoint on; returns its last logged loss.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
    """
    resumed = checkpoints.resume()
    if checkpoints.folder:
        trainer.args.output_dir = str(checkpoints.unfinished)
    reporter = Reporter(runtime, FileSink(out), tokens_per_step)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    trainer.add_callback(Saver(trainer, checkpoints, resumed))
    # Tied weights are saved once; told so, a trainer that resumes does not call them missing.
    trainer.model._keys_to_ignore_on_save = [*getattr(trainer.model, "all_tied_weights_keys", ())]
    with language_model.quiet():
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    return {"loss": reporter.latest.get("loss", float("nan"))}
