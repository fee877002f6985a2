"""Laws of reading archives that were cut off, overwritten or joined to something else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.reader import DamagedRecord, PassedRecord, RawRecord, RawResult
from pipeline_data.sources.raw.warc import read_warc_file
from tests.pipeline_data.sources.artifacts import (
    PACKERS,
    PAGE,
    arc_record,
    http_block,
    pack,
    warc_record,
)

NUM_RECORDS = 5
URLS = [f"http://a.example/{n}" for n in range(NUM_RECORDS)]
BLOCKS = [http_block(PAGE.replace(b"page", b"page number %d" % n) * 4) for n in range(NUM_RECORDS)]
WARC = [warc_record(block, url=url) for block, url in zip(BLOCKS, URLS, strict=True)]
ARC = [arc_record(block, url) for block, url in zip(BLOCKS, URLS, strict=True)]


def pack_all(num_records: int) -> dict[str, tuple[bytes, list[int]]]:
    """A file of every kind, and the offset of each record and of the end."""
    return {
        **{packer: pack(WARC[:num_records], packer) for packer in PACKERS},
        "ARC": pack(ARC[:num_records], "plain"),
        "ARC, gzip": pack(ARC[:num_records], "gzip"),
    }


FILES = pack_all(NUM_RECORDS)
PAIRS = pack_all(2)
NAMES = st.sampled_from(sorted(FILES))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive") / "a"


def read(place: Path, data: bytes) -> list[RawResult]:
    place.write_bytes(data)
    return list(read_warc_file(place, 100_000))


def urls(results: list[RawResult]) -> list[str]:
    return [r.url for r in results if isinstance(r, RawRecord)]


def damages(results: list[RawResult]) -> list[tuple[int, int]]:
    """Offset and bytes passed over."""
    return [(r.offset, r.num_bytes) for r in results if isinstance(r, DamagedRecord)]


@pytest.mark.parametrize("name", PAIRS)
def test_file_cut_off_anywhere_gives_all_before_the_cut(place: Path, name: str) -> None:
    data, offsets = PAIRS[name]
    for cut in range(len(data)):
        number = sum(offset <= cut for offset in offsets[1:])
        start = offsets[number]
        results = read(place, data[:cut])
        whole = urls(results)
        if whole != URLS[:number]:  # only the line ends behind a record are missing
            assert whole == URLS[: number + 1] and not data[cut : offsets[number + 1]].strip()
        elif cut == 0:
            assert damages(results) == [(0, 0)]
        elif cut <= offsets[0]:
            assert len(results) == (cut < offsets[0])  # a dictionary without a record is sound
        else:
            assert damages(results) == ([(start, cut - start)] if cut > start else [])


@given(NAMES, st.data())
def test_one_damaged_record_costs_itself(place: Path, name: str, data: st.DataObject) -> None:
    content, offsets = FILES[name]
    hit = data.draw(st.integers(0, NUM_RECORDS - 1))
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(offsets[hit], offsets[hit + 1] - 1))
        broken[position] ^= data.draw(st.integers(1, 255))
    others = [record for number, record in enumerate(read(place, content)) if number != hit]
    results = read(place, bytes(broken))
    assert [record for record in results if record in others] == others
    assert len(results) >= NUM_RECORDS
    for result in results:
        if isinstance(result, DamagedRecord):
            assert offsets[hit] <= result.offset < offsets[hit + 1]
            assert result.num_bytes <= offsets[hit + 1] - offsets[hit] + 20


@given(NAMES, st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=30))
def test_damage_anywhere_never_raises_and_spares_the_rest(
    place: Path, name: str, flips: list[tuple[float, int]]
) -> None:
    content, offsets = FILES[name]
    broken = bytearray(content)
    for position, mask in flips:
        broken[int(position * len(content))] ^= mask
    try:
        results = read(place, bytes(broken))
    except SourceError as error:
        assert "is no WARC or ARC file" in str(error)
        return
    found = urls(results)
    dictionary = slice(0, offsets[0])
    if broken[dictionary] != content[dictionary]:
        return
    for number, url in enumerate(URLS):
        record = slice(offsets[number], offsets[number + 1])
        assert broken[record] != content[record] or url in found
    places = [r.offset for r in results]
    assert places == sorted(places)


@given(NAMES, st.integers(0, NUM_RECORDS), st.binary(min_size=1, max_size=300))
def test_junk_between_records_costs_none(place: Path, name: str, gap: int, junk: bytes) -> None:
    content, offsets = FILES[name]
    cut = offsets[gap]
    data = content[:cut] + junk + content[cut:]
    if gap == 0 and offsets[0] > 0:
        return  # what comes before it is not searched for a dictionary
    separated = data[:cut] + b"\n" + junk + b"\n" + content[cut:]
    results = read(place, separated if "plain" in name or name == "ARC" else data)
    assert [url for url in urls(results) if url in URLS] == URLS
    if junk.strip(b"\r\n\0"):
        assert len(results) > NUM_RECORDS


def test_damaged_neighbours_are_counted_one_by_one(place: Path) -> None:
    for name in ("gzip", "plain"):
        data, (_, one, two, three, *_) = FILES[name]
        broken = bytearray(data)
        broken[one] ^= 0xFF
        broken[three - (20 if name == "gzip" else 4)] ^= 0xFF
        results = read(place, bytes(broken))
        assert urls(results) == [URLS[0], URLS[3], URLS[4]]
        assert damages(results) == [(one, two - one), (two, three - two)]


def test_neighbours_damaged_beyond_recognition_count_as_one_with_all_their_bytes(
    place: Path,
) -> None:
    data, offsets = FILES["gzip"]
    broken = data[: offsets[1]] + b"\0\xff" * 5 + data[offsets[1] + 10 : offsets[2]]
    broken += b"\0\xff" * 5 + data[offsets[2] + 10 :]
    results = read(place, broken)
    assert urls(results) == [URLS[0], URLS[3], URLS[4]]
    ((start, num_bytes),) = damages(results)
    assert start + num_bytes == offsets[3]


@pytest.mark.parametrize("length", [b"1", b"999", b"999999999"])
@pytest.mark.parametrize("name", ["plain", "gzip"])
def test_wrong_length_costs_its_record(place: Path, name: str, length: bytes) -> None:
    records = list(WARC)
    declared = b"Content-Length: %d" % len(BLOCKS[1])
    records[1] = records[1].replace(declared, b"Content-Length: " + length)
    data, offsets = pack(records, name)
    results = read(place, data)
    assert urls(results) == [URLS[0], *URLS[2:]]
    assert damages(results) == [(offsets[1], offsets[2] - offsets[1])]
    (damaged,) = [r for r in results if isinstance(r, DamagedRecord)]
    assert damaged.url == URLS[1]


def test_archive_inside_a_record_is_no_part_of_the_file(place: Path) -> None:
    inner, _ = FILES["gzip"]
    kept = warc_record(b"x", "resource", "http://b.example/a.warc.gz", "application/gzip")
    kept = kept.replace(b": 1\r\n", b": %d\r\n" % len(inner)).replace(
        b"\r\n\r\nx", b"\r\n\r\n" + inner
    )
    for name in ("plain", "gzip"):
        results = read(place, pack([WARC[0], kept, WARC[1]], name)[0])
        assert urls(results) == URLS[:2]
        assert [type(r) for r in results] == [RawRecord, PassedRecord, RawRecord]
