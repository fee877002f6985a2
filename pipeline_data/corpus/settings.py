"""The configs of the corpus stages: what a user may set, with the limits it must keep."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_data.settings import Fraction, Settings, Strings
from pipeline_data.sources.settings import ReaderConfig, TextSource

RuleName = Literal["url", "gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality"]
PiiKind = Literal["email", "ip", "ipv6", "iban", "card", "phone"]

NumWords = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0.0)]
NGramLimits = Annotated[
    tuple[Annotated[tuple[Annotated[int, Field(ge=1)], Fraction], Field(strict=False)], ...],
    Field(strict=False),
]
"""Pairs of n-gram length and the highest share of a text's characters it may fill."""

MAX_VOCAB_SIZE = 65535
NUM_SPECIAL_TOKENS = 5
NUM_BYTES = 256


class ExtractOptions(Settings):
    """How HTML becomes plain text."""

    extractor: Literal["trafilatura", "fast"] = "trafilatura"
    """Trafilatura, or our own, which is several times faster."""
    favour: Literal["precision", "balance", "recall"] = "precision"
    """Which way trafilatura errs when it is unclear whether a block belongs to the main text."""
    include_tables: bool = True
    """Keep the text of tables (trafilatura)."""
    min_chars: Annotated[int, Field(ge=1)] = 1
    """Drop a document whose text is shorter."""


class ExtractConfig(ExtractOptions):
    """From raw records of one source to documents of plain text."""

    source: Annotated[str, Field(min_length=1)]
    """Name of the source; a part of every document's id."""
    reader: ReaderConfig
    """How the raw shard is read."""


class RedactConfig(Settings):
    """Whose records are cut out of a copy of a raw shard."""

    targets: Annotated[Strings, Field(min_length=1)]
    """Addresses, exactly as they are spelt there, and hosts with all their subdomains."""
    reader: ReaderConfig
    """How the raw shard is read."""


class UrlConfig(Settings):
    """Which addresses may enter the corpus."""

    block_urls: Strings = ()
    """Addresses to leave out, exactly as they are spelt in the corpus."""
    block_domains: Strings = ()
    """Hosts to leave out, with all their subdomains."""
    block_words: Strings = ()
    """Leave out an address that holds one of these as a whole word."""
    allow_domains: Strings = ()
    """Hosts, with their subdomains, that the blocked domains and words do not touch."""


class GopherRepetitionConfig(Settings):
    """Gopher's repetition limits (arXiv:2112.11446, table A1); a limit of 0 is off."""

    dup_line_frac: Fraction = 0.3
    """Highest share of lines that repeat an earlier one."""
    dup_para_frac: Fraction = 0.3
    """Highest share of paragraphs that repeat an earlier one."""
    dup_line_char_frac: Fraction = 0.2
    """Highest share of characters in repeated lines."""
    dup_para_char_frac: Fraction = 0.2
    """Highest share of characters in repeated paragraphs."""
    top_n_grams: NGramLimits = ((2, 0.2), (3, 0.18), (4, 0.16))
    """Highest share of characters in the most frequent n-gram, for each n; none is off."""
    dup_n_grams: NGramLimits = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    """Highest share of characters in repeated n-grams, for each n; none is off."""


class GopherQualityConfig(Settings):
    """Gopher's quality limits (arXiv:2112.11446, appendix A1.1); a limit of 0 is off."""

    min_doc_words: Annotated[int, Field(ge=1)] = 50
    """Fewest words."""
    max_doc_words: NumWords = 100000
    """Most words."""
    min_avg_word_length: NumWords = 3
    """Shortest mean word, in characters."""
    max_avg_word_length: NumWords = 10
    """Longest mean word, in characters."""
    max_symbol_word_ratio: Ratio = 0.1
    """Most hash signs, or ellipses, a word."""
    max_bullet_lines_ratio: Fraction = 0.9
    """Highest share of lines that begin with a bullet."""
    max_ellipsis_lines_ratio: Fraction = 0.3
    """Highest share of lines that end in an ellipsis."""
    max_non_alpha_words_ratio: Fraction = 0.8
    """Lowest share of words with a letter (datatrove's name for it)."""
    min_stop_words: NumWords = 2
    """Fewest different stop words."""
    stop_words: Strings = ()
    """The stop words; none means Gopher's eight."""


class C4QualityConfig(Settings):
    """C4's line and page rules (arXiv:1910.10683, section 2.2); a limit of -1 is off."""

    split_paragraph: bool = True
    """Judge lines; otherwise sentences."""
    remove_citations: bool = True
    """Take out marks such as [3] and [edit]."""
    filter_no_terminal_punct: bool = True
    """Take out lines that do not end in punctuation."""
    min_num_sentences: Annotated[int, Field(ge=-1)] = 5
    """Drop a page with fewer sentences left."""
    min_words_per_line: Annotated[int, Field(ge=-1)] = 3
    """Take out lines with fewer words."""
    max_word_length: Annotated[int, Field(ge=-1)] = 1000
    """Take out lines with a longer word, in characters."""
    filter_lorem_ipsum: bool = True
    """Drop pages with this filler text."""
    filter_javascript: bool = True
    """Take out lines that name JavaScript."""
    filter_curly_bracket: bool = True
    """Drop pages with a curly bracket."""
    filter_policy: bool = True
    """Take out lines about cookies and terms of use."""


class FineWebQualityConfig(Settings):
    """FineWeb's additional rules (arXiv:2406.17557, section 3.6)."""

    line_punct_thr: Fraction = 0.12
    """Lowest share of lines that end in punctuation."""
    line_punct_exclude_zero: bool = False
    """Let pass a page where no line does."""
    stop_chars: Strings = ()
    """What counts as punctuation at a line's end; none means datatrove's list."""
    short_line_thr: Fraction = 0.67
    """Highest share of short lines."""
    short_line_length: NumWords = 30
    """Longest short line, in characters."""
    char_duplicates_ratio: Fraction = 0.01
    """Highest share of characters in repeated lines."""
    new_line_ratio: Ratio = 0.3
    """Most line breaks a word."""


class FilterConfig(Settings):
    """Which documents stay, and what is masked in them; by default all stay as they are."""

    languages: Strings = ()
    """Languages to keep, as ISO 639-1 codes; none keeps all."""
    identify_language: bool = False
    """Note the language of every document that stays, also if all languages do."""
    language_candidates: Strings = ()
    """Languages the model may answer; none means all it knows."""
    min_language_probability: Fraction = 0.5
    """Lowest probability of the language found."""
    language_num_chars: Annotated[int, Field(ge=1)] = 1000
    """How many characters from the start the language model reads."""
    rules: Annotated[tuple[RuleName, ...], Field(strict=False)] = ()
    """The rules to apply, in this order; the first that fails drops the document."""
    url: UrlConfig = UrlConfig()
    """Limits of the rule 'url'."""
    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    """Limits of the rule 'gopher_repetition'."""
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    """Limits of the rule 'gopher_quality'."""
    c4_quality: C4QualityConfig = C4QualityConfig()
    """Limits of the rule 'c4_quality'."""
    fineweb_quality: FineWebQualityConfig = FineWebQualityConfig()
    """Limits of the rule 'fineweb_quality'."""
    pii: Annotated[tuple[PiiKind, ...], Field(strict=False)] = ()
    """Personal data to mask."""


class SignatureConfig(Settings):
    """MinHash signatures, as in datatrove (14 bands of 8 find nine in ten pairs of Jaccard .8)."""

    ngram: Annotated[int, Field(ge=1)] = 5
    """Words in a shingle."""
    bands: Annotated[int, Field(ge=1)] = 14
    """Number of bands; more find less similar pairs."""
    rows_per_band: Annotated[int, Field(ge=1)] = 8
    """Hashes in a band; more find only more similar pairs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Seed of the hash functions."""
    near: bool = True
    """Make the bands; without them only exact duplicates are found (right for generated text)."""


class DedupConfig(Settings):
    """Which of several like documents survives: always the earliest."""

    threshold: Fraction = 0.8
    """Lowest Jaccard similarity of the shingle sets of two near duplicates."""
    max_bucket_survivors: Annotated[int, Field(ge=1)] = 256
    """Survivors that share a band and are compared; the rest of a larger bucket is not."""


class SampleConfig(Settings):
    """The documents a tokenizer learns from."""

    shards: Annotated[Strings, Field(min_length=1)] = ("*",)
    """Glob patterns of the names of shards to draw from; name those there are to pin the sample."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of documents, chosen by the hash of their id."""
    num_bytes: Annotated[int, Field(ge=1)] = 10_000_000
    """Most bytes of text taken from one shard."""


class TokenizerConfig(Settings):
    """A byte-level BPE tokenizer, trained on the samples of the sources."""

    vocab_size: Annotated[int, Field(ge=NUM_SPECIAL_TOKENS + NUM_BYTES, le=MAX_VOCAB_SIZE)] = 1024
    """Number of tokens, the five special ones and the 256 bytes among them."""
    digits_individually: bool = True
    """Give each digit a token of its own."""
    min_frequency: Annotated[int, Field(ge=1)] = 2
    """How often a pair must occur to become a token."""
    num_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    """Most bytes of text to learn from, in total."""
    weights: dict[str, Annotated[float, Field(gt=0.0)]] = Field(default_factory=dict)
    """Share of the text each source gives; none takes the samples as they come."""


class AdoptedTokenizerConfig(Settings):
    """A tokenizer made elsewhere, which has nothing to set: its files say all."""


class TokenizeConfig(Settings):
    """From documents to token shards."""

    heldout_fraction: Fraction = 0.02
    """Share of documents, chosen by the hash of their id, that no training sees."""


class DecontaminateConfig(Settings):
    """When a training document is too like an evaluation item."""

    ngram: Annotated[int, Field(ge=1, le=100)] = 13
    """Words in a row that an evaluation item and a document must share (GPT-3: 13)."""
    min_words: Annotated[int, Field(ge=1, le=100)] = 8
    """Items shorter than an n-gram are looked for as a whole; shorter than this, not at all."""
    min_matches: Annotated[int, Field(ge=1)] = 1
    """Different n-grams of an item that a document must hold to go (or all, if it has fewer)."""


class EvaluationItemsConfig(Settings):
    """How the files of an evaluation set become items, and the n-grams they are known by."""

    name: Annotated[str, Field(min_length=1)]
    """Name of the set."""
    kind: Literal["jsonl", "json", "parquet", "text", "exercises"]
    """What the files are; exercises are the curriculum's held-out ones."""
    fields: Annotated[Strings, Field(min_length=1)] = ("text",)
    """Fields that make up an item, in this order; a dot leads into a field (choices.text)."""
    id_field: str | None = None
    """Field that names an item; without it the file and row do."""
    ngram: Annotated[int, Field(ge=1, le=100)] = 13
    """Words in an n-gram."""
    min_words: Annotated[int, Field(ge=1, le=100)] = 8
    """Shorter items cannot be judged."""


class EvaluationSet(Settings):
    """An evaluation set whose items no training document may hold."""

    kind: Literal["jsonl", "json", "parquet", "text", "exercises"]
    """What the files are (text: an item a line); exercises are the curriculum's held-out ones."""
    paths: Strings = ()
    """Local glob patterns or fsspec URLs (s3://, gs://, https://)."""
    fields: Annotated[Strings, Field(min_length=1)] = ("text",)
    """Fields that make up an item, in this order; a dot leads into a field (choices.text)."""
    id_field: str | None = None
    """Field that names an item; without it the file and row do."""
    min_words: Annotated[int, Field(ge=1, le=100)] | None = None
    """Shorter items cannot be judged; without it, as the section decontaminate says."""

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        if bool(self.paths) == (self.kind == "exercises"):
            raise ValueError("give paths, or kind 'exercises', which has none")
        return self

    def as_source(self) -> TextSource:
        """Where its files lie, as the raw files of a source are listed."""
        return TextSource(paths=self.paths)

    def items_config(self, name: str, decontaminate: DecontaminateConfig) -> EvaluationItemsConfig:
        """The config of the stage that reads it."""
        return EvaluationItemsConfig(
            name=name,
            kind=self.kind,
            fields=self.fields,
            id_field=self.id_field,
            ngram=decontaminate.ngram,
            min_words=self.min_words or decontaminate.min_words,
        )


class CorpusReportConfig(Settings):
    """How much the corpus report shows."""

    num_samples: Annotated[int, Field(ge=1, le=100)] = 5
    """Sample documents for each rule."""
    num_top: Annotated[int, Field(ge=1, le=1000)] = 20
    """Rows of a ranking, such as the largest domains."""
