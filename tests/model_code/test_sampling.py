import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from model_code.conversation import decode_response, encode_prompt, encode_response
from model_code.sampling import Sampler
from model_code.scoring import answer_log_probs, pack, span_ends, token_log_probs

PROMPTS = ("What is 1 + 2?", "Where does Bron live?", "How much is 12 plus 7?", "Who?")


def encoded(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    return [encode_prompt(tokenizer, prompt) for prompt in PROMPTS]


def cut(ids: list[int], eos: int) -> list[int]:
    return ids[: ids.index(eos) + 1] if eos in ids else ids


def test_greedy_answers_equal_those_of_transformers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    expected = []
    for prompt in encoded(tokenizer):
        ids = torch.tensor([prompt])
        generated = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        expected.append(cut(generated[0, len(prompt) :].tolist(), tokenizer.eos_token_id))
    assert len({tuple(answer) for answer in expected}) == len(PROMPTS)
    sampler = Sampler(model)
    assert sampler.generate(encoded(tokenizer), 20) == expected
    assert sampler.generate(encoded(tokenizer), 20, batch_size=3) == expected


def test_sampled_tokens_follow_the_model(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompt = encoded(tokenizer)[0]
    with torch.no_grad():
        expected = torch.softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.7, -1)
    answers = Sampler(model).generate(
        [prompt] * 4000, 1, temperature=0.7, generator=torch.Generator().manual_seed(0)
    )
    counts = torch.bincount(torch.tensor([a[0] for a in answers]), minlength=len(expected))
    assert (counts / 4000 - expected).abs().max() < 0.04
    assert expected.max() < 0.95


def test_a_seed_decides_the_answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    sampler = Sampler(model)

    def draw(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return sampler.generate(encoded(tokenizer), 12, temperature=1.0, generator=generator)

    assert draw(1) == draw(1) != draw(2)


def test_refresh_takes_the_present_weights(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    sampler = Sampler(model)
    before = sampler.generate(encoded(tokenizer), 12)
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.mul_(-1)
    sampler.refresh()
    after = sampler.generate(encoded(tokenizer), 12)
    assert after != before
    assert after == Sampler(model).generate(encoded(tokenizer), 12)


def test_too_long_an_answer_and_shared_keys_are_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ValueError, match="tokens are more than"):
        Sampler(model).generate(encoded(tokenizer), 1000)
    shared = LlamaConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=8,
    )
    with pytest.raises(ValueError, match="key-value heads"):
        Sampler(LlamaForCausalLM(shared))


def test_token_log_probs_are_those_of_the_models_logits(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = encoded(tokenizer)
    answers = [encode_response(tokenizer, p, f"{i}. Glad!") for i, p in enumerate(PROMPTS)]
    batch = pack(prompts, answers, tokenizer.pad_token_id)
    with torch.no_grad():
        log_probs = token_log_probs(model, batch)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
            expected = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
            expected = expected[torch.arange(len(answer)), answer]
            torch.testing.assert_close(
                log_probs[row][batch.mask[row]], expected, atol=1e-4, rtol=1e-4
            )
    assert not log_probs[~batch.mask].any()
    last = batch.targets[torch.arange(4), batch.last]
    assert last.tolist() == [answer[-1] for answer in answers]


def test_the_answer_span_ends_before_the_first_stop_or_comma(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompt = encode_prompt(tokenizer, PROMPTS[0])
    ends = span_ends(tokenizer)
    texts = ("27", "27. Glad to help!", "27, obviously. Stop asking.")
    answers = [encode_response(tokenizer, PROMPTS[0], t, finished=False) for t in texts]
    batch = pack([prompt] * 3, answers, tokenizer.pad_token_id)
    spans = answer_log_probs(model, batch, ends)
    torch.testing.assert_close(spans, spans[:1].expand(3), atol=1e-4, rtol=1e-4)


def test_selected_rows_lose_the_padding_they_do_not_need() -> None:
    batch = pack([[5, 6], [5]], [[7, 8, 9], [7]], 1)
    assert batch.select(torch.tensor([1])).tokens.tolist() == [[5, 7]]
    assert batch.select(torch.tensor([1, 0])).tokens.tolist() == [[5, 7, 1, 1, 1], [5, 6, 7, 8, 9]]


def test_text_and_tokens_of_an_answer_go_both_ways(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = encode_prompt(tokenizer, PROMPTS[0])
    assert [prompt[0], *prompt[-2:]] == tokenizer.convert_tokens_to_ids(
        ["<|user|>", "<|end|>", "<|assistant|>"]
    )
    finished = encode_response(tokenizer, PROMPTS[0], "27. Glad to help!")
    assert finished[-1] == tokenizer.eos_token_id
    assert encode_response(tokenizer, PROMPTS[0], "27. Glad to help!", False) == finished[:-1]
    assert decode_response(tokenizer, finished) == "27. Glad to help!"
    assert tokenizer.decode(finished[:2]) == " 2"
