import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw import DamagedRecord, RawRecord, RawResult, read_raw
from pipeline_data.sources.settings import ReaderConfig
from tests.pipeline_data.sources.artifacts import PAGE, adopt, warc_bytes

BODIES = [PAGE.replace(b"page", b"page number %d" % i) + b"<!-- -->" * 50 for i in range(5)]
HTML = ("Content-Type", "text/html; charset=utf-8")


def read_bytes(folder: Path, data: bytes, max_page_bytes: int = 100_000) -> list[RawResult]:
    folder.mkdir(exist_ok=True)
    (folder / "pages.warc.gz").write_bytes(data)
    reader = ReaderConfig(format="warc", max_page_bytes=max_page_bytes)
    return list(read_raw(adopt(folder), reader))


def split(results: list[RawResult]) -> tuple[list[str], list[int]]:
    """URLs read, and offsets of what was damaged."""
    return (
        [r.url for r in results if isinstance(r, RawRecord)],
        [r.offset for r in results if isinstance(r, DamagedRecord)],
    )


def urls(*numbers: int) -> list[str]:
    return [f"http://a.example/{number}" for number in numbers]


@pytest.mark.parametrize("compress", [True, False])
def test_pages_come_in_order_with_place_and_time(tmp_path: Path, compress: bool) -> None:
    data, offsets = warc_bytes(BODIES, compress)
    results = read_bytes(tmp_path, data)
    for number, result in enumerate(results):
        assert isinstance(result, RawRecord)
        assert result == RawRecord(
            f"http://a.example/{number}",
            offsets[number],
            "2026-01-02T03:04:05Z",
            "text/html",
            BODIES[number],
        )
    assert len(results) == 5


@pytest.mark.parametrize("compress", [True, False])
def test_damaged_start_of_a_record_costs_that_record(tmp_path: Path, compress: bool) -> None:
    data, offsets = warc_bytes(BODIES, compress)
    broken = bytearray(data)
    broken[offsets[2]] ^= 0xFF
    assert split(read_bytes(tmp_path, bytes(broken))) == (urls(0, 1, 3, 4), [offsets[2]])


def test_two_damaged_records_in_a_row_are_two(tmp_path: Path) -> None:
    data, offsets = warc_bytes(BODIES)
    broken = bytearray(data)
    broken[offsets[1]] ^= 0xFF
    broken[offsets[3] - 20] ^= 0xFF
    assert split(read_bytes(tmp_path, bytes(broken))) == (urls(0, 3, 4), offsets[1:3])


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_off_file_gives_all_before_the_cut(tmp_path: Path, compress: bool, kept: float) -> None:
    data, offsets = warc_bytes(BODIES, compress)
    cut = offsets[4] + int(kept * (len(data) - offsets[4]))
    assert split(read_bytes(tmp_path, data[:cut])) == (urls(0, 1, 2, 3), [offsets[4]])


def test_junk_before_the_first_record_is_passed_over(tmp_path: Path) -> None:
    for compress in (True, False):
        data, _ = warc_bytes(BODIES, compress)
        assert split(read_bytes(tmp_path, b"junk\r\n" * 9 + data)) == (urls(0, 1, 2, 3, 4), [0])


@given(st.data())
def test_any_single_damage_leaves_the_other_records(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content, offsets = warc_bytes(BODIES)
    ends = [*offsets[1:], len(content)]
    hit = data.draw(st.integers(0, 4))
    place = data.draw(st.integers(offsets[hit], ends[hit] - 1))
    broken = bytearray(content)
    broken[place] ^= data.draw(st.integers(1, 255))
    read, damaged = split(read_bytes(tmp_path_factory.mktemp("warc"), bytes(broken)))
    others = [n for n in range(5) if n != hit]
    assert [u for u in read if u != f"http://a.example/{hit}"] == urls(*others)
    assert damaged in ([], [offsets[hit]])


@pytest.mark.parametrize("data", [b"", b"hello world\n" * 20])
def test_file_that_is_no_warc_is_a_source_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"pages\.warc\.gz"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((("Content-Type", "application/pdf"),), "200 OK"),
        ((HTML,), "404 Not Found"),
        ((HTML, ("Location", "/")), "302 Found"),
    ],
)
def test_what_is_no_page_is_passed_over(
    tmp_path: Path, headers: tuple[tuple[str, str], ...], status: str
) -> None:
    data, _ = warc_bytes([PAGE], headers=headers, status=status)
    assert read_bytes(tmp_path, data) == []


def test_transfer_and_content_coding_are_undone(tmp_path: Path) -> None:
    packed = gzip.compress(PAGE)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    coded = [HTML, ("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")]
    data, _ = warc_bytes([chunked], headers=coded)
    (page,) = read_bytes(tmp_path, data)
    assert isinstance(page, RawRecord) and page.payload == PAGE


def test_header_of_a_coding_that_the_archive_has_undone_is_ignored(tmp_path: Path) -> None:
    data, _ = warc_bytes([PAGE], headers=[HTML, ("Content-Encoding", "gzip")])
    (page,) = read_bytes(tmp_path, data)
    assert isinstance(page, RawRecord) and page.payload == PAGE


def test_page_that_unpacks_to_too_much_is_damaged(tmp_path: Path) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    data, _ = warc_bytes([bomb], headers=[HTML, ("Content-Encoding", "gzip")])
    (result,) = read_bytes(tmp_path, data)
    assert isinstance(result, DamagedRecord) and "larger than 100000 bytes" in result.reason
    assert result.url == "http://a.example/0"


def test_record_that_is_too_large_is_damaged(tmp_path: Path) -> None:
    data, _ = warc_bytes([PAGE + b"x" * 300_000, PAGE])
    first, second = read_bytes(tmp_path, data)
    assert isinstance(first, DamagedRecord) and isinstance(second, RawRecord)
