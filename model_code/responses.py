"""Responses: a model's own answers, several to each prompt, to be ranked by people or a rule."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from model_code import language_model
from model_code.checkpoint import Checkpoints, load_state, save_state
from model_code.conversation import decode_response, encode_prompt
from model_code.pretrain import MODEL
from model_code.sampling import Sampler
from model_code.settings import ResponsesConfig
from model_code.training import set_threads
from pipeline_data.artifact import Counts
from pipeline_data.preferences import (
    Prompt,
    Response,
    ResponseGroup,
    read_prompts,
    read_responses,
    write_responses,
)
from pipeline_data.stage_run import Inputs, Runtime

PREFERENCE_PROMPTS = "prompts-preference.jsonl"
RESPONSES = "responses.jsonl"


def run(config: ResponsesConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Sample answers of ``sft`` to the preference prompts of ``exercises``.

    Writes ``responses.jsonl``, one group a prompt, in the order of the prompts' file.

    Raises:
        ArtifactError: the checkpoint is of another config or other inputs.
    """
    set_threads(runtime)
    directory = inputs.one("sft").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    sampler = Sampler(language_model.load(directory))
    prompts = read_prompts(inputs.one("exercises").path(PREFERENCE_PROMPTS))
    checkpoints = Checkpoints(config, inputs, out, runtime)
    groups = _sample(config, sampler, tokenizer, prompts, checkpoints, runtime)
    write_responses(out / RESPONSES, groups)
    responses = [response for group in groups for response in group.responses]
    return {
        "prompts": len(groups),
        "responses": len(responses),
        "finished": sum(response.finished for response in responses),
        "tokens": sum(response.num_tokens for response in responses),
    }


def _sample(
    config: ResponsesConfig,
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    checkpoints: Checkpoints,
    runtime: Runtime,
) -> list[ResponseGroup]:
    """Answers to all prompts, a batch at a time; those of a checkpoint are taken from there."""
    generator = torch.Generator().manual_seed(config.seed)
    per_batch = max(1, config.batch_size // config.responses_per_prompt)
    groups: list[ResponseGroup] = []
    if resumed := checkpoints.resume():
        groups = list(read_responses(resumed.folder / RESPONSES))
        generator.set_state(load_state(resumed.folder, {})["generator"])
        runtime.progress(len(groups), len(prompts), "prompts")
    for start in range(len(groups), len(prompts), per_batch):
        groups += respond(
            sampler,
            tokenizer,
            prompts[start : start + per_batch],
            config.responses_per_prompt,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            generator=generator,
        )
        runtime.progress(len(groups), len(prompts), "prompts")
        if checkpoints.is_due(len(groups), len(prompts)):
            with checkpoints.writing(len(groups)) as folder:
                write_responses(folder / RESPONSES, groups)
                save_state(folder, {}, {"generator": generator.get_state()})
    return groups


def respond(
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    num_responses: int,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[ResponseGroup]:
    """``num_responses`` answers to each prompt, greedy at temperature 0."""
    encoded = [encode_prompt(tokenizer, prompt.prompt) for prompt in prompts]
    repeated = [ids for ids in encoded for _ in range(num_responses)]
    answers = sampler.generate(
        repeated, max_new_tokens, temperature=temperature, generator=generator
    )
    responses = [
        Response(decode_response(tokenizer, ids), tuple(ids), ids[-1] == sampler.eos)
        for ids in answers
    ]
    return [
        ResponseGroup(prompt, tuple(responses[i * num_responses : (i + 1) * num_responses]))
        for i, prompt in enumerate(prompts)
    ]
