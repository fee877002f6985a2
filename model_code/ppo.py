"""Proximal policy optimization of the SFT model against the reward model.

One visible sequence, repeated: 1 rollout, 2 score, 3 advantages, 4 update. What it computes is in
:mod:`model_code.advantages`, as pure functions. Rows of pretraining text are mixed into the
update (PPO-ptx, Ouyang et al. 2022), since otherwise the policy forgets what it was not asked.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from model_code import language_model, reward_model
from model_code.advantages import (
    estimate_advantages,
    policy_loss,
    shape_rewards,
    value_loss,
    whiten,
)
from model_code.checkpoint import Checkpoints, load_state, save_state
from model_code.conversation import encode_prompt
from model_code.data_order import DataOrder, build_data_order
from model_code.optimizers import adamw
from model_code.pretrain import MODEL
from model_code.record_order import RecordOrder
from model_code.reward_model import RewardModel, Scorer
from model_code.sampling import Sampler
from model_code.scoring import Batch, pack, token_log_probs
from model_code.settings import PpoConfig
from model_code.training import FileSink, set_threads
from model_code.training_order import Record, write_record_order, write_token_order
from pipeline_data.artifact import Counts
from pipeline_data.errors import ArtifactError
from pipeline_data.preferences import exercise_url, read_prompts
from pipeline_data.stage_run import Inputs, Runtime

PPO_PROMPTS = "prompts-ppo.jsonl"
WARMUP_ITERATIONS = 3
FINAL_RATE = 0.3


@dataclass(frozen=True)
class Rollout:
    """Answers of the policy to some prompts, and all that an update needs to know of them.

    Tensors are ``[batch, length - 1]`` over predicted tokens.
    """

    batch: Batch
    log_probs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor
    metrics: dict[str, float]


class Learner:
    """Policy, its frozen reference, value model and reward model, and the steps between them."""

    def __init__(self, config: PpoConfig, policy: LlamaForCausalLM, scorer: Scorer) -> None:
        self.config = config
        self.policy = policy
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.scorer = scorer
        self.value_model: RewardModel = copy.deepcopy(scorer.model)
        self.sampler = Sampler(policy)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.policy_optimizer = adamw(list(policy.parameters()), config.learning_rate)
        values = list(self.value_model.classifier.parameters())
        self.value_optimizer = adamw(values, config.value_learning_rate)
        self.num_updates = 0

    def roll_out(self, prompts: Sequence[list[int]]) -> Batch:
        """1. The policy answers the prompts."""
        self.sampler.refresh()
        answers = self.sampler.generate(
            prompts,
            self.config.max_new_tokens,
            temperature=self.config.temperature,
            generator=self.generator,
        )
        return pack(prompts, answers, self.sampler.pad)

    @torch.no_grad()
    def score(self, batch: Batch) -> Tensor:
        """2. ``[batch]``: the reward model's score of each answer, less for one without an end."""
        limit = self.config.reward_clip
        scores = self.scorer.score_batch(batch).clamp(-limit, limit)
        ends = batch.targets[torch.arange(len(scores)), batch.last]
        unfinished = ends.ne(self.sampler.eos)
        return scores - self.config.unfinished_penalty * unfinished

    @torch.no_grad()
    def estimate(self, batch: Batch, scores: Tensor) -> Rollout:
        """3. Advantages, from the scores, the divergence from the reference and the values."""
        log_probs = token_log_probs(self.policy, batch)
        divergence = log_probs - token_log_probs(self.reference, batch)
        values = self.values(batch) * batch.mask
        rewards = shape_rewards(scores, divergence, batch.last, self.config.kl_weight)
        advantages = estimate_advantages(rewards, values, batch.mask, self.config.gae_lambda)
        metrics = {
            "score": float(scores.mean()),
            "divergence": float(divergence.sum(1).mean()),
            "answer_tokens": float(batch.mask.sum(1).float().mean()),
        }
        whitened = whiten(advantages, batch.mask)
        return Rollout(batch, log_probs, values, advantages + values, whitened, metrics)

    def values(self, batch: Batch) -> Tensor:
        """The value model's estimate before each predicted token, in standard deviations."""
        scale = self.scorer.scale
        values: Tensor = self.value_model.values(batch)[:, :-1]
        return (values - scale.mean) / scale.deviation

    def update(self, rollout: Rollout, pretraining: Iterator[Tensor]) -> None:
        """4. Some passes of minibatches over the rollout, for the policy and the value model."""
        size = len(rollout.batch.tokens)
        for _ in range(self.config.epochs):
            order = torch.randperm(size, generator=self.generator)
            for rows in order.tensor_split(self.config.minibatches):
                batch = rollout.batch.select(rows)
                end = batch.mask.shape[1]
                self._update_policy(batch, rollout, rows, end, next(pretraining))
                self._update_values(batch, rollout, rows, end)
                self.num_updates += 1

    def set_rate(self, iteration: int) -> None:
        """Warm up over the first iterations, then decay linearly."""
        warmup = min(1.0, (iteration + 1) / WARMUP_ITERATIONS)
        decay = 1 - (1 - FINAL_RATE) * iteration / self.config.iterations
        for group in self.policy_optimizer.param_groups:
            group["lr"] = self.config.learning_rate * warmup * decay

    def save(self, folder: Path) -> None:
        """Write all that changes from one iteration to the next."""
        state = {
            "policy_optimizer": self.policy_optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "num_updates": self.num_updates,
        }
        save_state(folder, {"policy": self.policy, "values": self.value_model}, state)

    def load(self, folder: Path) -> None:
        """Take up what :meth:`save` wrote."""
        state = load_state(folder, {"policy": self.policy, "values": self.value_model})
        self.policy_optimizer.load_state_dict(state["policy_optimizer"])
        self.value_optimizer.load_state_dict(state["value_optimizer"])
        self.generator.set_state(state["generator"])
        self.num_updates = state["num_updates"]

    def _update_policy(
        self, batch: Batch, rollout: Rollout, rows: Tensor, end: int, pretraining: Tensor
    ) -> None:
        loss = policy_loss(
            token_log_probs(self.policy, batch),
            rollout.log_probs[rows, :end],
            rollout.advantages[rows, :end],
            batch.mask,
            self.config.clip,
        )
        if self.config.pretraining_weight:
            logits = self.policy(input_ids=pretraining, use_cache=False).logits[:, :-1]
            likelihood = functional.cross_entropy(
                logits.flatten(0, 1), pretraining[:, 1:].flatten()
            )
            loss = loss + self.config.pretraining_weight * likelihood
        _step(self.policy_optimizer, loss)

    def _update_values(self, batch: Batch, rollout: Rollout, rows: Tensor, end: int) -> None:
        loss = value_loss(
            self.values(batch),
            rollout.values[rows, :end],
            rollout.returns[rows, :end],
            batch.mask,
            self.config.value_clip,
        )
        _step(self.value_optimizer, loss)


def run(config: PpoConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Optimize ``sft`` against ``reward`` on the PPO prompts of ``exercises`` into ``model/``.

    ``tokens`` holds the token shards of the pretraining rows. Writes the training orders
    ``prompts``, whose steps are iterations, and ``tokens``, the pretraining rows of each update.

    Raises:
        ArtifactError: there is no prompt, or the checkpoint is of another config or other inputs.
        RecipeError: no source of the pretraining mixture is in the shards.
    """
    set_threads(runtime)
    directory = inputs.one("sft").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    policy = language_model.load(directory)
    prompts = [
        encode_prompt(tokenizer, prompt.prompt)
        for prompt in read_prompts(inputs.one("exercises").path(PPO_PROMPTS))
    ]
    if not prompts:
        raise ArtifactError("ppo: no prompt; raise num_ppo_prompts of the curriculum")
    torch.manual_seed(config.seed)
    learner = Learner(config, policy, reward_model.load(inputs.one("reward").directory))
    checkpoints = Checkpoints(config, inputs, out, runtime)
    order = RecordOrder("prompts", len(prompts), config.rollouts, config.iterations, config.seed)
    records = [Record(exercise_url(PPO_PROMPTS, row), len(ids)) for row, ids in enumerate(prompts)]
    write_record_order(out, order, records, step="iteration")
    text = _pretraining_order(config, inputs, tokenizer.bos_token_id, out)
    if config.pretraining_weight:
        write_token_order(out, "tokens", text, step="update")
    batches = [[prompts[row] for row in order.records(i)] for i in range(order.steps)]
    metrics = _optimize(learner, batches, text, checkpoints, runtime, FileSink(out))
    language_model.save(policy.eval(), directory, out / MODEL)
    counts: Counts = {"iterations": config.iterations, "prompts": len(prompts)}
    return counts | {name: round(value, 4) for name, value in metrics.items()}


def _optimize(
    learner: Learner,
    prompts: Sequence[Sequence[list[int]]],
    text: DataOrder,
    checkpoints: Checkpoints,
    runtime: Runtime,
    sink: FileSink,
) -> dict[str, float]:
    """All iterations that are left, on their prompts; returns the metrics of the last one."""
    config, first = learner.config, 0
    metrics: dict[str, float] = {}
    if resumed := checkpoints.resume():
        learner.load(resumed.folder)
        first = resumed.step
        runtime.progress(first, config.iterations, "iterations", sink.latest())
    rows = (torch.from_numpy(text.rows(i)) for i in range(learner.num_updates, text.steps))
    for iteration in range(first, config.iterations):
        learner.set_rate(iteration)
        batch = learner.roll_out(prompts[iteration])
        scores = learner.score(batch)
        rollout = learner.estimate(batch, scores)
        learner.update(rollout, rows)
        metrics = rollout.metrics
        sink.log(iteration + 1, metrics)
        runtime.progress(iteration + 1, config.iterations, "iterations", metrics)
        if checkpoints.is_due(iteration + 1, config.iterations):
            with checkpoints.writing(iteration + 1) as folder:
                learner.save(folder)
    return metrics


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _pretraining_order(config: PpoConfig, inputs: Inputs, bos: int, scratch: Path) -> DataOrder:
    return build_data_order(
        inputs.many("tokens"),
        config.pretraining_mixture,
        bos,
        seed=config.seed,
        batch_size=config.pretraining_rows,
        context=config.pretraining_context,
        steps=config.iterations * config.epochs * config.minibatches,
        scratch=scratch,
    )
