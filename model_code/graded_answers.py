"""A model's answers to test prompts, graded by the annotator's rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code import language_model
from model_code.conversation import encode_prompt
from model_code.responses import respond
from model_code.sampling import Sampler
from model_code.scoring import pack, span_ends, token_log_probs
from model_code.settings import EvaluateConfig
from pipeline_data.preferences import REFUSAL, Grade, Prompt, ResponseGroup, grade_response

Axis = Callable[[Grade], float]


@dataclass(frozen=True)
class GradedAnswers:
    """Greedy and sampled answers to the same prompts, in their order."""

    prompts: Sequence[Prompt]
    greedy: Sequence[ResponseGroup]
    sampled: Sequence[ResponseGroup]

    def axis(self, axis: Axis, sampled: bool = False) -> npt.NDArray[np.float64]:
        """``[prompts]``: an axis of the grades, averaged over the answers to a prompt."""
        groups = self.sampled if sampled else self.greedy
        return np.array(
            [
                np.mean([axis(grade_response(group.prompt, r)) for r in group.responses])
                for group in groups
            ]
        )


def answer_prompts(
    directory: Path, prompts: Sequence[Prompt], config: EvaluateConfig
) -> GradedAnswers:
    """Let the model of a folder answer, greedily once and sampled ``samples`` times."""
    tokenizer = language_model.load_tokenizer(directory)
    sampler = Sampler(language_model.load(directory))
    generator = torch.Generator().manual_seed(config.seed)
    length = config.max_new_tokens
    return GradedAnswers(
        prompts,
        respond(sampler, tokenizer, prompts, 1, max_new_tokens=length),
        respond(
            sampler,
            tokenizer,
            prompts,
            config.samples,
            max_new_tokens=length,
            temperature=1.0,
            generator=generator,
        ),
    )


@torch.no_grad()
def right_probabilities(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Prompt]
) -> npt.NDArray[np.float64]:
    """``[prompts]``: the exact probability of the right answer, ended by a full stop or a comma.

    It needs no sampling and does not jump as greedy accuracy does.
    """
    total = np.zeros(len(prompts))
    for end in span_ends(tokenizer):
        questions = [encode_prompt(tokenizer, prompt.prompt) for prompt in prompts]
        answers = [
            [*tokenizer.encode(f" {prompt.answer or REFUSAL}", add_special_tokens=False), end]
            for prompt in prompts
        ]
        batch = pack(questions, answers, tokenizer.pad_token_id)
        total += token_log_probs(model, batch).sum(1).double().exp().numpy()
    return total
