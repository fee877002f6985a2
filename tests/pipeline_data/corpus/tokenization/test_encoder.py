"""tiktoken's ids are the reference's, for every character and every tokenizer let through."""

import random
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pipeline_data.corpus.settings import TokenizerConfig
from pipeline_data.corpus.tokenization import encoder
from pipeline_data.corpus.tokenization.encoder import (
    Encoder,
    byte_alphabet,
    is_settled,
    load_encoder,
    make_encoder,
)
from pipeline_data.corpus.tokenization.tokenizer import train_tokenizer
from pipeline_data.errors import ArtifactError
from tests.pipeline_data.corpus.material import make_text

LETTERS = {byte: letter for letter, byte in byte_alphabet().items()}


def make_bpe(
    merges: Iterable[tuple[str, str]], ids: dict[str, int] | None = None, digits: bool = True
) -> Tokenizer:
    """A byte-level BPE of these merges, whose results have these ids or those that follow."""
    pairs = [
        tuple("".join(LETTERS[b] for b in part.encode("latin-1")) for part in m) for m in merges
    ]
    vocab = {letter: number for number, letter in enumerate(LETTERS.values())}
    for left, right in pairs:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab | (ids or {}), merges=pairs))
    split = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def encode(made: Encoder, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
    return [ids.tolist() for ids in made.encode_batch(texts, threads)]


def reference_ids(made: Encoder, texts: Sequence[str]) -> list[list[int]]:
    return [e.ids for e in made.reference.encode_batch(list(texts), add_special_tokens=False)]


def trained(texts: Sequence[str], vocab_size: int = 600, digits: bool = True) -> Encoder:
    config = TokenizerConfig(vocab_size=vocab_size, digits_individually=digits, min_frequency=1)
    return make_encoder(train_tokenizer(config, texts).to_str())


@pytest.fixture(scope="module", params=[True, False], ids=["digits apart", "digits joined"])
def made(request: pytest.FixtureRequest) -> Encoder:
    return trained(
        [make_text(seed) for seed in range(40)] + ["1999 it's  \n\n x"], 600, request.param
    )


def telltale(digits: bool) -> Encoder:
    """Merges any byte with a letter, stop or space beside it: its ids show each split."""
    every = [chr(byte) for byte in range(256)]
    merges = [(byte, after) for after in "a. " for byte in every]
    merges += [(" ", byte) for byte in every if byte not in "a. "]
    return make_encoder(make_bpe(merges, digits=digits).to_str())


@pytest.mark.parametrize("digits", [True, False])
def test_every_character_is_split_as_by_the_reference(digits: bool) -> None:
    made = telltale(digits)
    assert made.fast is not None
    settled = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    assert len(settled) > 280_000
    for start in range(0, len(settled), 8192):
        text = "".join(f"{c}a {c} {c}." for c in settled[start : start + 8192])
        assert made.fast.encode_ordinary(text) == reference_ids(made, [text])[0]


def test_a_character_of_a_later_unicode_is_left_to_the_reference() -> None:
    unsettled = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cn"]
    assert not any(is_settled(f"a{c}") for c in unsettled)
    made = telltale(digits=True)
    texts = [f"{c}a {c} {c}." for c in unsettled if 0x11DE0 <= ord(c) < 0x11DEA]
    assert encode(made, texts) == reference_ids(made, texts)
    assert encode(made, texts) != [made.fast.encode_ordinary(text) for text in texts]


ALPHABET = st.sampled_from("abc é🙂\n\t'.12世 s")


@settings(max_examples=150, deadline=None)
@given(
    corpus=st.lists(st.text(ALPHABET, max_size=60), min_size=1, max_size=6),
    texts=st.lists(st.text(ALPHABET, max_size=300), max_size=5),
    vocab_size=st.integers(261, 330),
    digits=st.booleans(),
)
def test_whatever_was_learnt_both_ways_agree(
    corpus: list[str], texts: list[str], vocab_size: int, digits: bool
) -> None:
    made = trained(corpus, vocab_size, digits)
    assert encode(made, texts) == reference_ids(made, texts)


@settings(max_examples=150, deadline=None)
@given(
    merges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=14),
    texts=st.lists(st.text("abc ", max_size=40), min_size=1, max_size=5),
)
def test_any_list_of_merges_is_proven_or_left_to_the_reference(
    merges: list[tuple[int, int]], texts: list[str]
) -> None:
    """Merges of random tokens, most of which a trainer would not make."""
    tokens = ["a", "b", "c", " "]
    pairs = []
    for left, right in merges:
        pair = tokens[left % len(tokens)], tokens[right % len(tokens)]
        if pair not in pairs:
            pairs.append(pair)
            tokens.append("".join(pair))
    made = make_encoder(make_bpe(pairs).to_str())
    assert encode(made, texts) == reference_ids(made, texts)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_gets_the_ids_of_the_reference(made: Encoder, text: str) -> None:
    assert made.fast is not None
    assert encode(made, [text]) == reference_ids(made, [text])


def test_long_pieces_and_long_blanks(made: Encoder) -> None:
    rng = random.Random(0)
    texts = [
        "x" * 150_000,
        "".join(rng.choices("thebakr", k=150_000)),
        "7" * 10_000,
        " " * 1_200_000 + "x",
        "x" + " \n" * 50_000,
    ]
    assert encode(made, texts) == reference_ids(made, texts)


def test_threads_change_nothing(made: Encoder) -> None:
    texts = [make_text(seed) for seed in range(30)]
    assert encode(made, texts, threads=2) == encode(made, texts) == reference_ids(made, texts)


def test_special_tokens_are_text(made: Encoder) -> None:
    text = "<|end|><|endoftext|>"
    assert min(encode(made, [text])[0]) >= 5
    assert made.reference.decode(encode(made, [text])[0], skip_special_tokens=False) == text


def ab(change: Callable[[Tokenizer], Any] = lambda _: None) -> Encoder:
    tokenizer = make_bpe([("a", "b")])
    change(tokenizer)
    return make_encoder(tokenizer.to_str())


def unproven() -> dict[str, Encoder]:
    ids = {"ab": 257, "bc": 256}
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return {
        "a token is not its own": make_encoder(
            make_bpe([("a", "b"), ("b", "c"), ("a", "bc")]).to_str()
        ),
        "ids fall": make_encoder(make_bpe([("a", "b"), ("b", "c")], ids).to_str()),
        "a result is shared": make_encoder(
            make_bpe([("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c")]).to_str()
        ),
        "normalizer": ab(lambda t: setattr(t, "normalizer", normalizers.Lowercase())),
        "added token": ab(lambda t: t.add_tokens([AddedToken("aab", special=False)])),
        "whole words": ab(lambda t: setattr(t.model, "ignore_merges", True)),
        "prefix space": ab(lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel())),
        "groups of digits": ab(
            lambda t: setattr(
                t, "pre_tokenizer", pre_tokenizers.Sequence([pre_tokenizers.Digits(), plain])
            )
        ),
        "other split": ab(lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.Whitespace())),
    }


def test_what_is_not_proven_is_left_to_the_reference() -> None:
    texts = ["abc", "Aab abc bc aab 12ab", "abcbc c ab"]
    for reason, made in unproven().items():
        assert made.fast is None, reason
        assert made.name == "tokenizers"
        assert encode(made, texts) == reference_ids(made, texts), reason
    assert ab().name == "tiktoken"


@pytest.mark.parametrize("reason", ["a token is not its own", "ids fall"])
def test_without_the_conditions_ids_would_differ(reason: str) -> None:
    made = unproven()[reason]
    vocab = made.reference.get_vocab()
    ranks = {bytes(byte_alphabet()[c] for c in token): i for token, i in vocab.items()}
    fast = tiktoken.Encoding(
        "x", pat_str=encoder.DIGITS_PATTERN, mergeable_ranks=ranks, special_tokens={}
    )
    assert fast.encode_ordinary("abc") != reference_ids(made, ["abc"])[0]


def test_a_file_that_cuts_or_pads_text_does_neither_here() -> None:
    tokenizer = make_bpe([("a", "b")])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    made = make_encoder(tokenizer.to_str())
    assert made.fast is None
    assert len(encode(made, ["abcabc"])[0]) == 5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "cannot be used"),
        ("{}", "cannot be used"),
        (
            Tokenizer(models.WordLevel({str(i): i for i in range(65_537)}, "0")).to_str(),
            "at most 65536",
        ),
    ],
)
def test_what_is_no_tokenizer_is_refused_by_name(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=rf"tokenizer\.json.*{expected}"):
        load_encoder(path)


def test_the_same_content_is_read_once(tmp_path: Path) -> None:
    content = make_bpe([("a", "b")]).to_str()
    for name in "xy":
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert load_encoder(tmp_path / "x") is load_encoder(tmp_path / "y")
