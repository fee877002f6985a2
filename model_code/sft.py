"""Supervised fine-tuning: ``trl.SFTTrainer`` on demonstrations, with the loss on answers only."""

from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from model_code import language_model
from model_code.checkpoint import Checkpoints
from model_code.conversation import encode_prompt, encode_response
from model_code.optimizers import adamw, linear_schedule
from model_code.pretrain import MODEL
from model_code.record_order import RecordOrder
from model_code.settings import SftConfig
from model_code.training import set_threads, train, training_arguments
from model_code.training_order import Record, write_record_order
from pipeline_data.artifact import Counts
from pipeline_data.formats import read_jsonl
from pipeline_data.preferences import exercise_url
from pipeline_data.stage_run import Inputs, Runtime

DEMONSTRATIONS = "demonstrations.jsonl"
IGNORED = -100
"""The label of a token that is no part of the loss."""


def run(config: SftConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Fine-tune ``base`` on the demonstrations of ``exercises`` into ``model/``.

    Writes the training order ``demonstrations``.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
    """
    set_threads(runtime)
    base = inputs.one("base").path(MODEL)
    model = language_model.load(base, config.precision)
    tokenizer = language_model.load_tokenizer(base)
    dataset = read_demonstrations(inputs.one("exercises").path(DEMONSTRATIONS), tokenizer)
    order = RecordOrder(
        "demonstrations", len(dataset), config.batch_size, config.steps, config.seed
    )
    records = [
        Record(exercise_url(DEMONSTRATIONS, row), len(tokens))
        for row, tokens in enumerate(dataset["input_ids"])
    ]
    write_record_order(out, order, records)
    optimizer = adamw(list(model.parameters()), config.learning_rate, beta2=0.999)
    schedule = linear_schedule(optimizer, config.steps, config.warmup, config.floor)
    arguments = training_arguments(
        out,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        precision=config.precision,
        clip_norm=1.0,
    )
    trainer = SFTTrainer(
        model=model,
        # TRL would recompute activations to save memory that a small model does not need.
        args=TrlConfig(**arguments, activation_checkpointing=False, max_length=None),
        train_dataset=dataset.select(order.queue),
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
    )
    checkpoints = Checkpoints(config, inputs, out, runtime)
    counts: Counts = dict(train(trainer, checkpoints, runtime, out))
    language_model.save(model, base, out / MODEL)
    counts["demonstrations"] = len(dataset)
    counts["steps"] = config.steps
    return counts


def read_demonstrations(path: Path, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """Demonstrations as ``input_ids`` and ``labels``; prompts are labelled ``IGNORED``.

    One that is not finished has no end token, which a chat template alone could not say.
    """
    return Dataset.from_list(
        [
            tokenize(tokenizer, row["prompt"], row["response"], row["finished"])
            for row in read_jsonl(path)
        ]
    )


def tokenize(
    tokenizer: PreTrainedTokenizerFast, prompt: str, response: str, finished: bool
) -> dict[str, list[int]]:
    """One demonstration as ``input_ids`` and ``labels``."""
    question = encode_prompt(tokenizer, prompt)
    answer = encode_response(tokenizer, prompt, response, finished)
    return {"input_ids": question + answer, "labels": [IGNORED] * len(question) + answer}
