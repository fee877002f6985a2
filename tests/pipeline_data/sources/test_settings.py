from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline_data.settings import fingerprint
from pipeline_data.sources.settings import (
    CrawlConfig,
    CrawlSource,
    DownloadConfig,
    IngestConfig,
    PypiSource,
    Source,
)

SOURCES: list[dict[str, Any]] = [
    {"kind": "crawl", "start_urls": ["http://a.example/"], "site": {"num_spam_pages": 3}},
    {"kind": "warc", "paths": ["*.warc.gz"]},
    {"kind": "jsonl", "paths": ["*.jsonl"], "text_column": "body"},
    {"kind": "parquet", "paths": ["*.parquet"]},
    {"kind": "text", "paths": ["*.txt"], "split": "line"},
    {
        "kind": "pypi",
        "package": "a==1",
        "sha256": "0" * 64,
        "member": "*.json",
        "template": "{{ key }}",
    },
    {"kind": "generated"},
    {"kind": "dataset", "dataset": "a/b", "revision": "0" * 40},
]
DOCUMENTED = {
    "licence": "CC-BY-4.0",
    "description": "Letters",
    "homepage": "https://letters.example/about?page=1",
    "category": "licensed-dataset",
}
SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@pytest.mark.parametrize("values", SOURCES, ids=lambda values: values["kind"])
def test_kind_decides_how_a_source_is_read(values: dict[str, Any]) -> None:
    source = SOURCE.validate_python(values)
    formats = {"pypi": "records", "generated": "records", "dataset": "records"}
    assert source.reader().format == formats.get(values["kind"], values["kind"])
    assert fingerprint(source.model_dump(mode="json"))


def test_stage_configs_leave_out_what_the_stage_does_not_read() -> None:
    crawl = SOURCE.validate_python(SOURCES[0] | {"licence": "MIT", "max_pages": 7})
    assert isinstance(crawl, CrawlSource)
    assert crawl.crawl_config() == CrawlConfig(start_urls=("http://a.example/",), max_pages=7)
    package = SOURCE.validate_python(SOURCES[5] | {"licence": "MIT", "shards": 2})
    assert isinstance(package, PypiSource)
    assert package.download_config() == DownloadConfig(package="a==1", sha256="0" * 64)
    assert package.ingest_config() == IngestConfig(
        package="a==1", member="*.json", template="{{ key }}", shards=2
    )


@pytest.mark.parametrize("values", SOURCES, ids=lambda values: values["kind"])
def test_what_documents_a_source_enters_no_config(values: dict[str, Any]) -> None:
    plain, documented = (SOURCE.validate_python(values | more) for more in ({}, DOCUMENTED))
    for name in ("reader", "crawl_config", "download_config", "ingest_config", "dataset_config"):
        if hasattr(plain, name):
            assert getattr(documented, name)() == getattr(plain, name)()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "ftp"},
        SOURCES[6] | {"homepage": "javascript:alert(1)"},
        SOURCES[6] | {"homepage": "https://a.example/<b>"},
        SOURCES[6] | {"category": "stolen"},
        {"kind": "warc"},
        {"kind": "text", "paths": []},
        {"kind": "crawl", "start_urls": []},
        SOURCES[5] | {"package": "a>=1"},
        SOURCES[5] | {"sha256": "abc"},
        SOURCES[5] | {"sample_from": 0.5, "sample_to": 0.5},
        SOURCES[4] | {"tpyo": 1},
    ],
)
def test_impossible_sources_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SOURCE.validate_python(values)
