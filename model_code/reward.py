"""The reward stage: learn from labelled pairs which answers people prefer.

It uses ``transformers.Trainer`` rather than ``trl.RewardTrainer``: the latter reads each pair as
two sequences, so that the six pairs of four answers would pass through the model as twelve. Here,
as in Ouyang et al. 2022, all answers to a prompt are one batch element, and pass once. That
replaces the collator and the loss, which are all that ``RewardTrainer`` adds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from model_code import language_model, reward_model
from model_code.checkpoint import Checkpoints
from model_code.conversation import encode_prompt
from model_code.optimizers import linear_schedule
from model_code.pretrain import MODEL
from model_code.record_order import RecordOrder
from model_code.responses import PREFERENCE_PROMPTS
from model_code.reward_model import RewardModel, Scale, Scorer
from model_code.scoring import answer_log_probs, pack, span_ends
from model_code.settings import RewardConfig
from model_code.training import set_threads, train, training_arguments
from model_code.training_order import Record, write_record_order
from pipeline_data.artifact import Counts
from pipeline_data.errors import ArtifactError
from pipeline_data.preferences import (
    Preference,
    ResponseGroup,
    exercise_url,
    read_preferences,
    read_responses,
)
from pipeline_data.stage_run import Inputs, Runtime

CALIBRATION_GROUPS = 150
"""Groups over which the scale of the rewards is taken."""


def run(config: RewardConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Learn a reward model from ``sft``, its ``responses`` and the ``preferences`` among them.

    Writes the folders ``model/`` (classifier), ``reference/`` (the SFT model) and ``scale.json``,
    and the training order ``responses``, in which a prompt with all its answers is one record. The
    last batch is filled up from a further pass.

    Raises:
        ArtifactError: there is no labelled pair, or the checkpoint is of another config or other
            inputs.
    """
    set_threads(runtime)
    sft = inputs.one("sft").path(MODEL)
    policy, tokenizer = language_model.load(sft), language_model.load_tokenizer(sft)
    groups = list(read_responses(inputs.one("responses").path("responses.jsonl")))
    labels = read_preferences(inputs.one("preferences").path("preferences.jsonl"))
    examples = build_examples(groups, labels, policy, tokenizer)
    if not examples:
        raise ArtifactError("reward: no labelled pair; rank at least one pair of responses")
    model = reward_model.build(policy, config.likelihood_weight, config.centre, config.seed)
    steps = -(-config.epochs * len(examples) // config.batch_size)
    order = RecordOrder("responses", len(examples), config.batch_size, steps, config.seed)
    write_record_order(out, order, [_describe(example) for example in examples])
    trainer = _trainer(model, examples, order, config, policy.config.pad_token_id, out)
    checkpoints = Checkpoints(config, inputs, out, runtime)
    counts: Counts = dict(train(trainer, checkpoints, runtime, out))
    scorer = Scorer(model.eval(), policy, span_ends(tokenizer), Scale())
    scorer.scale = calibrate(scorer, groups[:CALIBRATION_GROUPS], tokenizer)
    reward_model.save(scorer, sft, out)
    counts["prompts"] = len(examples)
    counts["pairs"] = sum(len(example["pairs"]) for example in examples)
    counts["likelihood weight"] = model.likelihood_weight.item()
    return counts


def build_examples(
    groups: Sequence[ResponseGroup],
    labels: Sequence[Preference],
    policy: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
) -> list[dict[str, Any]]:
    """One example a prompt that has labelled pairs: its answers, their likelihoods, the pairs."""
    pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for label in labels:
        pairs[label.prompt_id].append((label.chosen, label.rejected))
    ends = span_ends(tokenizer)
    examples = []
    for row, group in enumerate(groups):  # as the prompts' file has them
        if group.prompt.prompt_id not in pairs:
            continue
        prompt = encode_prompt(tokenizer, group.prompt.prompt)
        answers = [list(response.tokens) for response in group.responses]
        batch = pack([prompt] * len(answers), answers, policy.config.pad_token_id)
        examples.append(
            {
                "url": exercise_url(PREFERENCE_PROMPTS, row),
                "prompt": prompt,
                "answers": answers,
                "likelihood": answer_log_probs(policy, batch, ends),
                "pairs": pairs[group.prompt.prompt_id],
            }
        )
    return examples


def collate(examples: Sequence[Mapping[str, Any]], pad: int) -> dict[str, Tensor]:
    """Groups as one batch of answers, and pairs as indices into it."""
    prompts = [example["prompt"] for example in examples for _ in example["answers"]]
    answers = [answer for example in examples for answer in example["answers"]]
    batch = pack(prompts, answers, pad)
    chosen, rejected, first = [], [], 0
    for example in examples:
        chosen += [first + i for i, _ in example["pairs"]]
        rejected += [first + j for _, j in example["pairs"]]
        first += len(example["answers"])
    return {
        "tokens": batch.tokens,
        "answers": batch.answers,
        "likelihood": torch.cat([example["likelihood"] for example in examples]),
        "chosen": torch.tensor(chosen),
        "rejected": torch.tensor(rejected),
    }


def calibrate(
    scorer: Scorer, groups: Sequence[ResponseGroup], tokenizer: PreTrainedTokenizerFast
) -> Scale:
    """Mean and deviation of the raw rewards of some groups' answers."""
    prompts = [encode_prompt(tokenizer, g.prompt.prompt) for g in groups for _ in g.responses]
    rewards = scorer.score(prompts, [list(r.tokens) for g in groups for r in g.responses])
    return Scale(float(rewards.mean()), max(1e-6, float(rewards.std(correction=0))))


def _describe(example: Mapping[str, Any]) -> Record:
    """The record of an example; its prompt enters the model with each of its answers."""
    num_tokens = sum(len(example["prompt"]) + len(answer) for answer in example["answers"])
    return Record(example["url"], num_tokens)


def _trainer(
    model: RewardModel,
    examples: Sequence[Mapping[str, Any]],
    order: RecordOrder,
    config: RewardConfig,
    pad: int,
    out: Path,
) -> Trainer:
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.classifier.parameters()), "lr": config.learning_rate},
            {"params": [model.likelihood_weight], "lr": config.likelihood_learning_rate},
        ],
        betas=(0.9, 0.99),
        weight_decay=0.01,
        fused=True,
    )
    arguments = training_arguments(
        out,
        steps=order.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        precision="float32",
        clip_norm=1.0,
    )
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=[examples[record] for record in order.queue],
        data_collator=lambda batch: collate(batch, pad),
        optimizers=(optimizer, linear_schedule(optimizer, order.steps, 0.1, 0.05)),
    )
