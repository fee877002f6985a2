"""datatrove's English word tokenizer, in a state that no document can change."""

from functools import cache
from typing import Any


@cache
def load_english_tokenizer() -> Any:
    """The tokenizer that datatrove's filters share within a process.

    spaCy reads a word that is spelled like one of its own symbols (``IS_ALPHA``) right the first
    time and as nothing ever after. Reading every symbol once beforehand makes the words of a
    document the same whatever was read before it.
    """
    from datatrove.utils.word_tokenizers import load_word_tokenizer
    from spacy.symbols import IDS

    tokenizer = load_word_tokenizer("eng")
    for symbol in IDS:
        tokenizer.word_tokenize(symbol)
    return tokenizer
