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


def copy_tokenizer(tokenizer: Any, keep_special_cases: bool = True) -> Any:
    """A spaCy tokenizer that splits alike and computes nothing else about a word.

    Nearly all the time that spaCy takes for a word it has not met goes into a word's attributes.
    """
    from spacy.vocab import Vocab

    return type(tokenizer)(
        Vocab(),
        rules=tokenizer.rules if keep_special_cases else {},
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )
