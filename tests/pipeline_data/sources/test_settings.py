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
]
SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@pytest.mark.parametrize("values", SOURCES, ids=lambda values: values["kind"])
def test_kind_decides_how_a_source_is_read(values: dict[str, Any]) -> None:
    source = SOURCE.validate_python(values)
    formats = {"pypi": "records", "generated": "records"}
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


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "ftp"},
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
