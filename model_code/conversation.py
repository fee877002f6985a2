"""Between text and the token ids of a conversation, by the tokenizer's own chat template."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerFast


def encode_messages(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]]
) -> list[int]:
    """The ids of messages (``role``, ``content``) up to where the assistant is to speak."""
    return list(
        tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)
    )


def encode_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The ids of one question up to where the answer starts."""
    return encode_messages(tokenizer, [{"role": "user", "content": prompt}])


def encode_response(
    tokenizer: PreTrainedTokenizerFast, prompt: str, response: str, finished: bool = True
) -> list[int]:
    """The ids of an answer to a question, with the end token when it is ``finished``."""
    messages = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": response},
    ]
    conversation = list(tokenizer.apply_chat_template(messages, return_dict=False))
    ids = conversation[len(encode_prompt(tokenizer, prompt)) :]
    return ids if finished else ids[:-1]


def decode_response(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int]) -> str:
    """The text of an answer without special tokens and surrounding space."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
