"""Every record of real archives that others made, odd and damaged ones too, is accounted for."""

import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline_data.sources.raw.reader import DamagedRecord, PassedRecord, decode_html
from pipeline_data.sources.raw.warc import read_warc_file

FIELD_DATA = os.environ.get("HEADWATER_FIELD_DATA", "")
pytestmark = pytest.mark.skipif(
    not FIELD_DATA, reason="HEADWATER_FIELD_DATA names no folder of field data"
)

COUNTS = {
    "block-sized-records.warc.gz": {"unknown_type": 3},
    "clipped.warc.gz": {"damaged": 1},
    "warcfile.warc.gz": {"page": 16, "warcinfo": 1, "request": 17, "metadata": 16},
    "warcio/bad.arc": {"damaged": 3, "not_html": 1},
    "warcio/example-bad-non-chunked.warc.gz": {
        "page": 1,
        "warcinfo": 2,
        "request": 2,
        "revisit": 1,
    },
    "warcio/example-digest.warc": {"request": 4},
    "warcio/example-trunc.warc": {"damaged": 1, "warcinfo": 2, "request": 1},
    "warcio/example-wrong-chunks.warc.gz": {"page": 1, "request": 1},
    "warcio/example.arc.gz": {"page": 1, "warcinfo": 1},
    "warcio/example.warc.gz": {"page": 1, "warcinfo": 2, "request": 2, "revisit": 1},
}


def test_every_file_is_known() -> None:
    folder = Path(FIELD_DATA, "warc")
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_every_record_is_a_page_or_counted(name: str) -> None:
    counts: Counter[str] = Counter()
    for result in read_warc_file(Path(FIELD_DATA, "warc", name), 2_000_000):
        if isinstance(result, DamagedRecord):
            counts["damaged"] += 1
        elif isinstance(result, PassedRecord):
            counts[result.reason] += 1
        else:
            counts["page"] += 1
            text = decode_html(result.payload or b"", result.content_type)
            assert "<html" in text.lower()
            assert text.count("\N{REPLACEMENT CHARACTER}") <= 2
    assert counts == COUNTS[name]
