"""Pretraining: ``transformers.Trainer`` with this project's optimizer and training order."""

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaForCausalLM, Trainer, TrainingArguments

from model_code import language_model
from model_code.checkpoint import Checkpoints
from model_code.data_order import DataOrder, pretraining_order
from model_code.optimizers import linear_schedule, pretraining_optimizer
from model_code.settings import PretrainConfig
from model_code.training import set_threads, train, training_arguments
from model_code.training_order import write_token_order
from pipeline_data.artifact import Counts
from pipeline_data.settings import canonical_json
from pipeline_data.stage_run import Inputs, Runtime

MODEL = "model"
MIXTURE = "mixture.json"
"""The weight each source really had, with a sum of 1: as asked for, or as its limit left it."""


class OrderedRows(Dataset[dict[str, Tensor]]):
    """The rows of a training order, one an item."""

    def __init__(self, order: DataOrder) -> None:
        self.order = order

    def __len__(self) -> int:
        return self.order.steps * self.order.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tokens = torch.from_numpy(self.order.row(index))
        return {"input_ids": tokens, "labels": tokens}


def run(config: PretrainConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Train a base model on the token shards of ``tokens`` with ``tokenizer``.

    Writes the model to ``model/``, the weights its sources had to ``mixture.json``, and the
    training order ``tokens``.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
        RecipeError: no source of the mixture is in the shards, or its limits leave too few rows.
    """
    set_threads(runtime)
    tokenizer_directory = inputs.one("tokenizer").directory
    tokenizer = language_model.load_tokenizer(tokenizer_directory)
    order = pretraining_order(config, inputs.many("tokens"), tokenizer.bos_token_id, out)
    write_token_order(out, "tokens", order)
    model = language_model.build(config.model, tokenizer, config.seed)
    model.set_attn_implementation(language_model.ATTENTION[config.precision])
    trainer = _trainer(config, model, order, out)
    tokens_per_step = config.batch_size * config.context
    checkpoints = Checkpoints(config, inputs, out, runtime)
    counts: Counts = dict(train(trainer, checkpoints, runtime, out, tokens_per_step))
    language_model.save(model, tokenizer_directory, out / MODEL)
    shares = order.shares()
    weights = {s.source: s.share if order.is_limited else s.weight for s in shares}
    (out / MIXTURE).write_text(canonical_json(weights) + "\n", encoding="utf-8")
    counts["parameters"] = model.num_parameters()
    counts["tokens"] = tokens_per_step * config.steps
    for share in shares:
        counts[f"share {share.source}"] = round(share.share, 4)
        counts[f"epochs {share.source}"] = round(share.epochs, 3)
        counts[f"tokens {share.source}"] = share.num_tokens
    if order.missing:
        counts["missing sources"] = ", ".join(order.missing)
    return counts


def _trainer(
    config: PretrainConfig, model: LlamaForCausalLM, order: DataOrder, out: Path
) -> Trainer:
    settings = config.optimizer
    optimizer = pretraining_optimizer(model, settings)
    arguments = training_arguments(
        out,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        precision=config.precision,
        clip_norm=settings.clip_norm,
    )
    schedule = linear_schedule(optimizer, config.steps, settings.warmup, settings.floor)
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=OrderedRows(order),
        optimizers=(optimizer, schedule),
    )
