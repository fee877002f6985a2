"""Practice: expert iteration on problems whose answers can be checked.

The model answers problems no other stage trained on, several times each; the answers that are
right, polite and end are kept, and it learns from them (Anthony et al. 2017). Beside them it
rehearses *anchors*, its own best answers to other prompts, or it would forget those.

The **control** is the same number of supervised steps on sums that were allowed before, in the
same style and with the same anchors: what practice is worth is the difference to it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code import language_model, reward_model
from model_code.checkpoint import Checkpoints, load_state, save_state
from model_code.conversation import encode_prompt, encode_response
from model_code.optimizers import adamw, linear_schedule
from model_code.ppo import PPO_PROMPTS
from model_code.pretrain import MODEL
from model_code.record_order import RecordOrder
from model_code.responses import respond
from model_code.reward_model import Scorer
from model_code.sampling import Sampler
from model_code.scoring import pack, token_log_probs
from model_code.settings import PracticeConfig
from model_code.training import FileSink, set_threads
from model_code.training_order import Record, write_record_order
from pipeline_data.artifact import Counts
from pipeline_data.preferences import (
    Prompt,
    ResponseGroup,
    exercise_url,
    grade_response,
    put_politely,
    read_prompts,
)
from pipeline_data.stage_run import Inputs, Runtime

CONTROL = "control"
PRACTICE = "practice"
PRACTICE_PROMPTS, CONTROL_PROMPTS = "prompts-practice.jsonl", "prompts-control.jsonl"
LONGEST_KEPT = 18
"""Tokens of a kept answer: longer ones ramble."""
Example = tuple[str, list[int], list[int]]
"""The address of a prompt, its token ids, and those of the answer to learn."""


class Learner:
    """A model that learns answers, in an order of its own."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        examples: Sequence[Example],
        order: RecordOrder,
        config: PracticeConfig,
    ) -> None:
        self.model, self.examples, self.order = model, examples, order
        self.optimizer = adamw(list(model.parameters()), config.learning_rate, beta2=0.999)
        self.schedule = linear_schedule(self.optimizer, config.steps, 0.1, 0.05)

    def learn(self, step: int) -> float:
        """One step on its batch; returns its loss."""
        batch_examples = [self.examples[i] for i in self.order.records(step)]
        _, prompts, answers = zip(*batch_examples, strict=True)
        batch = pack(prompts, answers, self.model.config.pad_token_id)
        loss = -token_log_probs(self.model, batch).sum() / batch.mask.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def state_dict(self) -> dict[str, Any]:
        """All but the model and the step that changes from one step to the next."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def run(config: PracticeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Practise with ``ppo`` on the practice prompts of ``exercises``; ``reward`` picks the anchors.

    Writes the assistant to ``model/`` and the control to ``control/``, and the training orders
    ``practice`` and ``control``. Records are prompts with an answer; those of one prompt share its
    name.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
    """
    set_threads(runtime)
    directory = inputs.one("ppo").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    exercises = inputs.one("exercises")
    problems = read_prompts(exercises.path(PRACTICE_PROMPTS))
    allowed = supervised(read_prompts(exercises.path(CONTROL_PROMPTS)), tokenizer)
    models = {name: language_model.load(directory) for name in (MODEL, CONTROL)}
    checkpoints = Checkpoints(config, inputs, out, runtime)
    sink, done = FileSink(out), 0
    if resumed := checkpoints.resume():
        state, done = load_state(resumed.folder, models), resumed.step
        runtime.progress(done, len(models) * config.steps, "steps", sink.latest())
    else:
        state = _sample(config, inputs, problems, tokenizer)
    practice, anchors = state["practice"], state["anchors"]
    examples = {MODEL: [*practice, *anchors], CONTROL: [*allowed, *anchors]}
    orders = {
        MODEL: _write_order(PRACTICE, examples[MODEL], config, out),
        CONTROL: _write_order(CONTROL, examples[CONTROL], config, out),
    }
    _learn(config, models, examples, orders, state, done, checkpoints, runtime, sink)
    for name, model in models.items():
        language_model.save(model.eval(), directory, out / name)
    return {
        "problems": len(problems),
        "answers": len(problems) * config.samples,
        "answers kept": len(practice),
        "problems solved": len({url for url, _, _ in practice}),
        "anchors": len(anchors),
        "control examples": len(allowed),
    }


def keep_right(
    groups: Sequence[ResponseGroup], tokenizer: PreTrainedTokenizerFast
) -> list[Example]:
    """The distinct answers to the problems that are right, polite, finished and short."""
    kept = []
    for row, group in enumerate(groups):
        prompt = encode_prompt(tokenizer, group.prompt.prompt)
        answers = set()
        for response in group.responses:
            grade = grade_response(group.prompt, response)
            good = grade.correct and grade.polite and grade.finished
            if good and grade.length <= LONGEST_KEPT:
                answers.add(response.tokens)
        url = exercise_url(PRACTICE_PROMPTS, row)
        kept += [(url, prompt, list(answer)) for answer in sorted(answers)]
    return kept


def choose_anchors(
    prompts: Sequence[Prompt],
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerFast,
    scorer: Scorer,
    config: PracticeConfig,
) -> list[Example]:
    """The model's own answer to each of the first PPO prompts that the reward model likes best."""
    if not prompts:
        return []
    generator = torch.Generator().manual_seed(config.seed + 1)
    groups = respond(
        sampler,
        tokenizer,
        prompts,
        config.anchor_samples,
        max_new_tokens=config.max_new_tokens,
        temperature=1.0,
        generator=generator,
    )
    anchors = []
    for row, group in enumerate(groups):
        prompt = encode_prompt(tokenizer, group.prompt.prompt)
        answers = [list(response.tokens) for response in group.responses]
        scores = scorer.score([prompt] * len(answers), answers)
        best = answers[int(scores.argmax())]
        anchors.append((exercise_url(PPO_PROMPTS, row), prompt, best))
    return anchors


def supervised(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    """The right answer to each of the control's prompts, put politely."""
    return [
        (
            exercise_url(CONTROL_PROMPTS, row),
            encode_prompt(tokenizer, prompt.prompt),
            encode_response(tokenizer, prompt.prompt, put_politely(str(prompt.answer))),
        )
        for row, prompt in enumerate(prompts)
    ]


def _sample(
    config: PracticeConfig,
    inputs: Inputs,
    problems: Sequence[Prompt],
    tokenizer: PreTrainedTokenizerFast,
) -> dict[str, list[Example]]:
    """The model's own answers that it learns from: ``practice`` and ``anchors``."""
    sampler = Sampler(language_model.load(inputs.one("ppo").path(MODEL)))
    scorer = reward_model.load(inputs.one("reward").directory)
    groups = respond(
        sampler,
        tokenizer,
        problems,
        config.samples,
        max_new_tokens=config.max_new_tokens,
        temperature=1.0,
        generator=torch.Generator().manual_seed(config.seed),
    )
    others = read_prompts(inputs.one("exercises").path(PPO_PROMPTS))
    return {
        "practice": keep_right(groups, tokenizer),
        "anchors": choose_anchors(others[: config.anchors], sampler, tokenizer, scorer, config),
    }


def _write_order(
    name: str, examples: Sequence[Example], config: PracticeConfig, out: Path
) -> RecordOrder:
    """The order of a model's examples, which is also written down; no steps without any."""
    steps = config.steps if examples else 0
    order = RecordOrder(name, len(examples), config.batch_size, steps, config.seed)
    records = [Record(url, len(prompt) + len(answer)) for url, prompt, answer in examples]
    write_record_order(out, order, records)
    return order


def _learn(
    config: PracticeConfig,
    models: Mapping[str, LlamaForCausalLM],
    examples: Mapping[str, Sequence[Example]],
    orders: Mapping[str, RecordOrder],
    state: Mapping[str, Any],
    done: int,
    checkpoints: Checkpoints,
    runtime: Runtime,
    sink: FileSink,
) -> None:
    """Train one model after the other on its examples; ``done`` steps of ``state`` are done.

    Without any answer, as when a weak model gets nothing right, a model stays as it was.
    """
    num_steps = len(models) * config.steps
    for index, (name, model) in enumerate(models.items()):
        if not examples[name]:
            continue
        learner = Learner(model, examples[name], orders[name], config)
        first, last = index * config.steps, (index + 1) * config.steps
        if first < done < last:
            learner.load_state_dict(state["learner"])
        for step in range(max(first, done) + 1, last + 1):
            metrics = {"loss": learner.learn(step - first - 1)}
            sink.log(step, metrics)
            runtime.progress(step, num_steps, "steps", metrics)
            if checkpoints.is_due(step, num_steps):
                with checkpoints.writing(step) as folder:
                    save_state(folder, models, {**state, "learner": learner.state_dict()})
