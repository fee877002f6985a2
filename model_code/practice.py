"""Practice: expert iteration on problems whose answers can be checked.

The model answers problems no other stage trained on, several times each; the answers that are
right, polite and end are kept, and it learns from them (Anthony et al. 2017). Beside them it
rehearses *anchors*, its own best answers to other prompts, or it would forget those.

The **control** is the same number of supervised steps on sums that were allowed before, in the
same style and with the same anchors: what practice is worth is the difference to it.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code import language_model, reward_model
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


def run(config: PracticeConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Practise with ``ppo`` on the practice prompts of ``exercises``; ``reward`` picks the anchors.

    Writes the assistant to ``model/`` and the control to ``control/``.
    """
    set_threads(runtime)
    directory = inputs.one("ppo").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    sampler = Sampler(language_model.load(directory))
    scorer = reward_model.load(inputs.one("reward").directory)
    exercises = inputs.one("exercises")
    problems = read_prompts(exercises.path("prompts-practice.jsonl"))
    generator = torch.Generator().manual_seed(config.seed)
    groups = respond(
        sampler,
        tokenizer,
        problems,
        config.samples,
        max_new_tokens=config.max_new_tokens,
        temperature=1.0,
        generator=generator,
    )
    practice = keep_right(groups, tokenizer)
    others = read_prompts(exercises.path("prompts-ppo.jsonl"))
    anchors = choose_anchors(others[: config.anchors], sampler, tokenizer, scorer, config)
    allowed = supervised(read_prompts(exercises.path("prompts-control.jsonl")), tokenizer)
    runs = {MODEL: practice, CONTROL: allowed}
    for index, (name, examples) in enumerate(runs.items()):
        model = language_model.load(directory)
        _learn(model, [*examples, *anchors], config, out, runtime, index * config.steps)
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


def _learn(
    model: LlamaForCausalLM,
    examples: Sequence[Example],
    config: PracticeConfig,
    out: Path,
    runtime: Runtime,
    done: int,
) -> None:
    """Supervised steps on the answers; every example once in each pass, in a new order.

    Without any answer, as when a weak model gets nothing right, the model stays as it was.
    """
    if not examples:
        return
    optimizer = adamw(list(model.parameters()), config.learning_rate, beta2=0.999)
    schedule = linear_schedule(optimizer, config.steps, 0.1, 0.05)
    sink, rng = FileSink(out), random.Random(config.seed)
    queue: list[int] = []
    for step in range(config.steps):
        while len(queue) < config.batch_size:
            queue += rng.sample(range(len(examples)), len(examples))
        drawn, queue = queue[: config.batch_size], queue[config.batch_size :]
        prompts, answers = zip(*(examples[i] for i in drawn), strict=True)
        batch = pack(prompts, answers, model.config.pad_token_id)
        loss = -token_log_probs(model, batch).sum() / batch.mask.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        metrics = {"loss": loss.item()}
        sink.log(done + step + 1, metrics)
        runtime.progress(done + step + 1, 2 * config.steps, "steps", metrics)
