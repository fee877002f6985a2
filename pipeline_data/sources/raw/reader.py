"""Reading raw shards: one record at a time, whatever format they are in.

Nothing is left out in silence: a record that cannot be read comes out as a :class:`DamagedRecord`,
and one that is sound but no document as a :class:`PassedRecord`.
"""

from collections.abc import Iterator

from pipeline_data.artifact import Artifact
from pipeline_data.sources.raw.html import decode_html
from pipeline_data.sources.raw.record import DamagedRecord, PassedRecord, RawRecord, RawResult
from pipeline_data.sources.raw.table import read_jsonl_file, read_parquet_file, read_text_file
from pipeline_data.sources.raw.warc import read_crawl, read_warc_file
from pipeline_data.sources.settings import ReaderConfig

__all__ = ["DamagedRecord", "PassedRecord", "RawRecord", "RawResult", "decode_html", "read_raw"]

RECORDS = "records.jsonl"


def read_raw(artifact: Artifact, reader: ReaderConfig) -> Iterator[RawResult]:
    """The records of one raw shard, in a stable order.

    A file that came from outside is the first file of its artefact. Its path below the artefact
    begins the URLs of records that have none of their own: ``file:<path>#<id or row>``.

    Raises:
        SourceError: the shard cannot be opened at all, or lacks a column.
        ArtifactError: a file of the artefact is missing.
    """
    match reader.format:
        case "crawl":
            return read_crawl(artifact, reader.max_page_bytes)
        case "records":
            columns = ReaderConfig(
                format="jsonl", url_column="url", max_page_bytes=reader.max_page_bytes
            )
            return read_jsonl_file(artifact.path(RECORDS), RECORDS, columns)
        case _:
            name = artifact.files[0].path
            path = artifact.path(name)
    match reader.format:
        case "warc":
            return read_warc_file(path, reader.max_page_bytes)
        case "jsonl":
            return read_jsonl_file(path, name, reader)
        case "parquet":
            return read_parquet_file(path, name, reader)
        case "text":
            return read_text_file(path, name, reader)
