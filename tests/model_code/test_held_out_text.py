import math

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from model_code.conversation import encode_prompt
from model_code.graded_answers import right_probabilities
from model_code.held_out_text import bigram_bits, completes, model_bits
from model_code.ngram import Bigram
from model_code.token_streams import HeldOutDocument
from pipeline_data.preferences import make_prompt


def document(tokens: list[int]) -> HeldOutDocument:
    return HeldOutDocument("0", "u", "s", 2 * len(tokens), np.array(tokens))


def test_bits_of_a_short_document_are_its_log_probability(model: LlamaForCausalLM) -> None:
    tokens = [30, 41, 52, 63]
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([[0, *tokens]])).logits[0], -1)
    expected = -sum(log_probs[i, token].item() for i, token in enumerate(tokens)) / math.log(2)
    bits = model_bits(model, [document([7, 8]), document(tokens), document([9])], 0, 16)
    assert bits[1] == pytest.approx(expected, rel=1e-4)


def test_every_token_of_a_long_document_is_read_once(model: LlamaForCausalLM) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    bits = model_bits(model, [document([5] * n) for n in (1, 14, 15, 16, 29, 100)], 0, 16)
    per_token = math.log2(model.config.vocab_size)
    assert bits == pytest.approx([n * per_token for n in (1, 14, 15, 16, 29, 100)], rel=1e-4)


def test_bigram_bits_start_from_the_beginning_of_the_document() -> None:
    bigram = Bigram(np.array([0, 5, 6, 0, 5, 6, 0, 5, 7]), 8)
    by_hand = -bigram.log_probs(np.array([0, 5, 6])).sum() / math.log(2)
    assert bigram_bits(bigram, [document([5, 6])], 0) == pytest.approx([by_hand])


def test_a_completion_is_right_when_value_and_stop_are_the_greedy_choice(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prefix = "The sum of 1 and 2 is"
    ids = [0, *tokenizer.encode(prefix, add_special_tokens=False)]
    with torch.no_grad():
        for _ in range(3):
            choice = model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()
            ids.append(int(choice))
    wrong = {"prefix": prefix, "value": "3"}
    assert completes(model, tokenizer, [wrong] * 130) == [False] * 130


class Oracle(torch.nn.Module):
    """Predicts with certainty the sequence it was made with."""

    def __init__(self, tokens: list[int], vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.vocab_size = tokens, vocab_size

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
        logits = torch.zeros(*input_ids.shape, self.vocab_size)
        for place, token in enumerate(self.tokens[1:]):
            logits[:, place, token] = 9.0
        return type("Output", (), {"logits": logits})()


def test_a_completion_needs_the_whole_value_and_the_stop(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = "The sum of 1 and 24 is 25."
    oracle = Oracle([0, *tokenizer.encode(text, add_special_tokens=False)], len(tokenizer))
    values = ["25", "2", "26", "255"]
    rows = [{"prefix": "The sum of 1 and 24 is", "value": value} for value in values]
    assert completes(oracle, tokenizer, rows) == [True, False, False, False]


def test_right_probability_is_that_of_the_answer_and_its_end(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [
        make_prompt("sum", "What is 1 + 2?", "3", "small"),
        make_prompt("unknown", "Who is Zeam?", None, "job"),
    ]
    expected = []
    for prompt, answer in zip(prompts, (" 3", " I do not know"), strict=True):
        total = 0.0
        for end in ".,":
            question = encode_prompt(tokenizer, prompt.prompt)
            ids = [*question, *tokenizer.encode(answer + end, add_special_tokens=False)]
            with torch.no_grad():
                log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
            steps = range(len(question), len(ids))
            total += math.exp(sum(log_probs[i - 1, ids[i]].item() for i in steps))
        expected.append(total)
    with torch.no_grad():
        found = right_probabilities(model, tokenizer, prompts)
    assert found == pytest.approx(expected, rel=1e-3)
