"""Text to token ids: those of the Hugging Face tokenizer, found by tiktoken where that is proven.

Both merge the pair of lowest rank, leftmost first. They differ in what may merge: Hugging Face
merges the pairs that are listed, tiktoken any two neighbours whose bytes together are a token. They
agree on every text when

1. the merges' results, in the order of the merges, have rising ids (so no two share one), and
2. every token's bytes, encoded alone by Hugging Face, give that one token.

Suppose they first differ where tiktoken joins an unlisted pair (x, y) to a token t. A boundary that
is gone never comes back, so no earlier merge crossed the ends of t: those inside it, each the
lowest and leftmost of the whole piece, were also the lowest and leftmost within t, and so the first
merges of t encoded alone. That run now stands at (x, y) and by (2) ends in t, so (x, y) is listed.
Where tiktoken joins a listed pair, it is by (1) the one that Hugging Face joins.

Both conditions are checked when an encoder is made, and so is that text is split before merging in
a way for which the same pattern is known. Where one fails, Hugging Face's tokenizer encodes; as it
does texts with characters so young that the two may not agree whether they are letters.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken
from tokenizers import Tokenizer

from pipeline_data.errors import ArtifactError

UNASSIGNED = "Cn"

Ids = npt.NDArray[np.uint16]

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGITS_PATTERN = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
"""GPT-2's pattern on what is left between digits, each of which stands alone."""

LONG_TEXT = 100_000
LONG_BLANK = re.compile(r"\s{1000}")


@dataclass(frozen=True)
class Encoder:
    """Encodes text as text: what spells a special token gets the tokens of its characters."""

    reference: Tokenizer
    fast: tiktoken.Encoding | None
    """None where its ids are not proven to be those of the reference."""

    @property
    def name(self) -> str:
        """The library that does the work."""
        return "tokenizers" if self.fast is None else "tiktoken"

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[Ids]:
        """The ids of each text, ``[num_tokens]``."""
        fast = self.fast
        if fast is None:
            return self._encode_by_reference(texts)

        def encode(text: str) -> Ids:
            if is_settled(text) and not has_long_blank(text):
                return np.array(fast.encode_ordinary(text), np.uint16)
            return self._encode_by_reference([text])[0]

        if threads == 1:
            return [encode(text) for text in texts]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(encode, texts))

    def _encode_by_reference(self, texts: Sequence[str]) -> list[Ids]:
        encodings = self.reference.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint16) for encoding in encodings]


def load_encoder(path: Path) -> Encoder:
    """The encoder of a ``tokenizer.json``; the same content is only read once in a process.

    Raises:
        ArtifactError: it is not a tokenizer, or has more ids than 16 bits.
    """
    try:
        return make_encoder(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path}: it cannot be used as a tokenizer: {error}") from None


@lru_cache(maxsize=2)
def make_encoder(text: str) -> Encoder:
    """The encoder of the text of a ``tokenizer.json``.

    Raises:
        ValueError: it is not a tokenizer, or has more ids than 16 bits.
    """
    try:
        reference = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more exact
        raise ValueError(str(error)) from None
    if max(reference.get_vocab().values(), default=0) > np.iinfo(np.uint16).max:
        raise ValueError("its ids do not fit in 16 bits: at most 65536 tokens")
    reference.encode_special_tokens = True
    reference.no_truncation()
    reference.no_padding()
    spec = json.loads(reference.to_str())  # with every key, whatever version wrote the file
    pattern = find_pattern(spec)
    ranks = find_ranks(spec["model"]) if pattern else None
    if pattern is None or ranks is None or not _is_its_own(reference, ranks):
        return Encoder(reference, None)
    encoding = tiktoken.Encoding(
        "headwater", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
    )
    return Encoder(reference, encoding)


def has_long_blank(text: str) -> bool:
    """Whether tiktoken may give up on a text: its stack ends at a million blanks in a row."""
    return len(text) >= LONG_TEXT and LONG_BLANK.search(text) is not None


def is_settled(text: str) -> bool:
    """Whether every character has a category in Python's tables, the oldest of those involved."""
    if text.isascii():
        return True
    suspects = _suspect_characters().findall(text)
    return all(unicodedata.category(character) != UNASSIGNED for character in suspects)


@cache
def _suspect_characters() -> re.Pattern[str]:
    """What is unassigned, and all that lies beyond 16 bits, where a pattern of ranges is slow."""
    unassigned = (c for c in map(chr, range(0x10000)) if unicodedata.category(c) == UNASSIGNED)
    return re.compile(f"[{''.join(unassigned)}\U00010000-\U0010ffff]")


def find_pattern(spec: Mapping[str, Any]) -> str | None:
    """The pattern that splits text as this tokenizer does before merging, if it is a known one."""
    steps = _steps(spec["pre_tokenizer"])
    plain = spec["normalizer"] is None and all(token["special"] for token in spec["added_tokens"])
    if not plain or not steps or steps[-1]["type"] != "ByteLevel":
        return None
    if steps[-1]["add_prefix_space"] or not steps[-1]["use_regex"]:
        return None
    match steps[:-1]:
        case []:
            return GPT2_PATTERN
        case [{"type": "Digits", "individual_digits": True}]:
            return DIGITS_PATTERN
    return None


def find_ranks(model: Mapping[str, Any]) -> dict[bytes, int] | None:
    """The id of the bytes of each token that merging can give; None if condition 1 fails."""
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    if model["type"] != "BPE" or any(model.get(option) for option in options):
        return None
    vocab, alphabet = model["vocab"], byte_alphabet()
    results = ["".join(pair) for pair in model["merges"]]
    ids = [vocab[result] for result in results]
    if any(later <= earlier for earlier, later in pairwise(ids)):
        return None
    if not alphabet.keys() <= vocab.keys():
        return None
    return {_to_bytes(token, alphabet): vocab[token] for token in [*alphabet, *results]}


def byte_alphabet() -> dict[str, int]:
    """The byte of each character of GPT-2's alphabet: printable Latin-1 stands for itself."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


def _is_its_own(reference: Tokenizer, ranks: Mapping[bytes, int]) -> bool:
    """Condition 2."""
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    for token, number in ranks.items():
        found = reference.model.tokenize("".join(letters[byte] for byte in token))
        if [part.id for part in found] != [number]:
            return False
    return True


def _to_bytes(token: str, alphabet: Mapping[str, int]) -> bytes:
    return bytes(alphabet[letter] for letter in token)


def _steps(pre_tokenizer: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if pre_tokenizer is None:
        return []
    if pre_tokenizer["type"] == "Sequence":
        return list(pre_tokenizer["pretokenizers"])
    return [pre_tokenizer]
