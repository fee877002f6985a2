from spacy.symbols import IDS

from pipeline_data.corpus.filters.word_tokenizer import load_english_tokenizer


def test_words_do_not_depend_on_what_was_read_before() -> None:
    tokenizer = load_english_tokenizer()
    texts = [f"the {symbol} of it" for symbol in IDS]
    first = [tokenizer.word_tokenize(text) for text in texts]
    assert first == [tokenizer.word_tokenize(text) for text in texts]
