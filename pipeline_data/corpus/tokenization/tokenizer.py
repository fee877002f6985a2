"""Stage ``tokenizer``: a byte-level BPE tokenizer (Sennrich et al. 2016; GPT-2's byte alphabet).

The result is a plain Hugging Face folder with the chat template inside. Every byte has a token,
so no text is unknown. Digits are tokens of their own by default, for arithmetic.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.settings import TokenizerConfig
from pipeline_data.errors import ArtifactError
from pipeline_data.formats import read_jsonl
from pipeline_data.stage_run import Inputs, Runtime

BOS, PAD, USER, ASSISTANT, EOS = SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|pad|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
"""Their ids are 0 to 4."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ '<|user|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' }}"
    "{% generation %}{{ ' ' + message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}"
    "{{ raise_exception('a message is by user or assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The answer begins with a space, as a word does in running text."""


def run(config: TokenizerConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Train on input ``samples`` (many, in order); write tokenizer.json and tokenizer_config.json.

    Raises:
        ArtifactError: there is no text to learn from.
    """
    num_bytes: Counter[str] = Counter()
    num_documents = 0

    def texts() -> Iterator[str]:
        nonlocal num_documents
        for source, text in select_texts(config, inputs.many("samples")):
            num_documents += 1
            num_bytes[source] += len(text.encode())
            runtime.progress(num_bytes.total(), config.num_bytes, "bytes")
            yield text

    tokenizer = train_tokenizer(config, texts())
    if not num_documents:
        raise ArtifactError(
            "the tokenizer got no text: check its 'weights' and the 'shards' and 'fraction' "
            "of the sample"
        )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps(_HF_CONFIG, indent=2) + "\n")
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "num_documents": num_documents,
        **{f"num_bytes_{source}": count for source, count in sorted(num_bytes.items())},
    }


def select_texts(config: TokenizerConfig, samples: Sequence[Artifact]) -> Iterator[tuple[str, str]]:
    """(source, text) from each source up to its share of ``num_bytes``, in the order given.

    With no weights, texts come as they are, up to ``num_bytes``; with weights, a source that
    has none gives nothing. A text that would pass the limit ends its source.
    """
    total = sum(config.weights.values())
    left: dict[str, float] = defaultdict(float)
    for source, weight in config.weights.items():
        left[source] = config.num_bytes * weight / total
    left["*"] = config.num_bytes
    for sample in samples:
        for row in read_jsonl(sample.path("sample.jsonl")):
            budget = row["source"] if config.weights else "*"
            left[budget] -= len(row["text"].encode())
            if left[budget] >= 0:
                yield row["source"], row["text"]


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of at most ``config.vocab_size`` tokens learnt from ``texts``."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if config.digits_individually
        else byte_level
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


_HF_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": BOS,
    "eos_token": EOS,
    "pad_token": PAD,
    "additional_special_tokens": [USER, ASSISTANT],
    "clean_up_tokenization_spaces": False,
    "chat_template": CHAT_TEMPLATE,
}
