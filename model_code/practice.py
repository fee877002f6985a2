"""Practice: expert iteration on problems whose answers can be checked.

The model answers problems no other stage trained on, several times each; the answers that are
right, polite and end are kept, and it learns from them (Anthony et al. 2017). Beside them it
rehearses *anchors*, its own best answers to other prompts, or it would forget those.

The **control** is the same number of supervised steps on sums that were allowed before, in the
same style and with the same anchors: what practice is worth is the difference to it.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code import language_model, reward_model
from model_code.checkpoint import Checkpoints, load_state, save_state
from model_code.conversation import encode_prompt, encode_response
from model_code.optimizers import adamw, linear_schedule
from model_code.pretrain import MODEL
from model_code.responses import respond
from model_code.reward_model import Scorer
from model_code.sampling import Sampler
from model_code.scoring import pack, token_log_probs
from model_code.settings import PracticeConfig
from model_code.training import FileSink, set_threads
from pipeline_data.artifact import Counts
from pipeline_data.preferences import (
    Prompt,
    ResponseGroup,
    grade_response,
    put_politely,
    read_prompts,
)
from pipeline_data.stage_run import Inputs, Runtime

CONTROL = "control"
LONGEST_KEPT = 18
"""Tokens of a kept answer: longer ones ramble."""
Example = tuple[list[int], list[int]]
"""Token ids of a prompt and of the answer to learn."""


class Learner:
    """A model that learns answers: every example once in each pass, in a new order."""

    def __init__(
        self, model: LlamaForCausalLM, examples: Sequence[Example], config: PracticeConfig
    ) -> None:
        self.model, self.examples = model, examples
        self.optimizer = adamw(list(model.parameters()), config.learning_rate, beta2=0.999)
        self.schedule = linear_schedule(self.optimizer, config.steps, 0.1, 0.05)
        self.batches = _draw_batches(len(examples), config.batch_size, config.seed)

    def step(self) -> float:
        """One step on the next batch; returns its loss."""
        prompts, answers = zip(*(self.examples[i] for i in next(self.batches)), strict=True)
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

    def resume(self, state: Mapping[str, Any], step: int) -> None:
        """Take up the state after ``step`` steps."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches = islice(self.batches, step, None)


def run(config: PracticeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Practise with ``ppo`` on the practice prompts of ``exercises``; ``reward`` picks the anchors.

    Writes the assistant to ``model/`` and the control to ``control/``.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
    """
    set_threads(runtime)
    directory = inputs.one("ppo").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    exercises = inputs.one("exercises")
    problems = read_prompts(exercises.path("prompts-practice.jsonl"))
    allowed = supervised(read_prompts(exercises.path("prompts-control.jsonl")), tokenizer)
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
    _learn(config, models, examples, state, done, checkpoints, runtime, sink)
    for name, model in models.items():
        language_model.save(model.eval(), directory, out / name)
    return {
        "problems": len(problems),
        "answers": len(problems) * config.samples,
        "answers kept": len(practice),
        "problems solved": len({tuple(prompt) for prompt, _ in practice}),
        "anchors": len(anchors),
        "control examples": len(allowed),
    }


def keep_right(
    groups: Sequence[ResponseGroup], tokenizer: PreTrainedTokenizerFast
) -> list[Example]:
    """The distinct answers that are right, polite, finished and short."""
    kept = []
    for group in groups:
        prompt = encode_prompt(tokenizer, group.prompt.prompt)
        answers = set()
        for response in group.responses:
            grade = grade_response(group.prompt, response)
            good = grade.correct and grade.polite and grade.finished
            if good and grade.length <= LONGEST_KEPT:
                answers.add(response.tokens)
        kept += [(prompt, list(answer)) for answer in sorted(answers)]
    return kept


def choose_anchors(
    prompts: Sequence[Prompt],
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerFast,
    scorer: Scorer,
    config: PracticeConfig,
) -> list[Example]:
    """The model's own answer to each prompt that the reward model likes best."""
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
    for group in groups:
        prompt = encode_prompt(tokenizer, group.prompt.prompt)
        answers = [list(response.tokens) for response in group.responses]
        scores = scorer.score([prompt] * len(answers), answers)
        anchors.append((prompt, answers[int(scores.argmax())]))
    return anchors


def supervised(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
    """The right answer to each prompt, put politely."""
    return [
        (
            encode_prompt(tokenizer, prompt.prompt),
            encode_response(tokenizer, prompt.prompt, put_politely(str(prompt.answer))),
        )
        for prompt in prompts
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
    others = read_prompts(inputs.one("exercises").path("prompts-ppo.jsonl"))
    return {
        "practice": keep_right(groups, tokenizer),
        "anchors": choose_anchors(others[: config.anchors], sampler, tokenizer, scorer, config),
    }


def _learn(
    config: PracticeConfig,
    models: Mapping[str, LlamaForCausalLM],
    examples: Mapping[str, Sequence[Example]],
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
        learner = Learner(model, examples[name], config)
        first, last = index * config.steps, (index + 1) * config.steps
        if first < done < last:
            learner.resume(state["learner"], done - first)
        for step in range(max(first, done) + 1, last + 1):
            metrics = {"loss": learner.step()}
            sink.log(step, metrics)
            runtime.progress(step, num_steps, "steps", metrics)
            if checkpoints.is_due(step, num_steps):
                with checkpoints.writing(step) as folder:
                    save_state(folder, models, {**state, "learner": learner.state_dict()})


def _draw_batches(num_examples: int, size: int, seed: int) -> Iterator[list[int]]:
    rng = random.Random(seed)
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue += rng.sample(range(num_examples), num_examples)
        yield queue[:size]
        queue = queue[size:]
