import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import brotli
import pytest
from backports import zstd

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.reader import (
    DamagedRecord,
    PassedRecord,
    RawRecord,
    RawResult,
    read_raw,
)
from pipeline_data.sources.settings import ReaderConfig
from tests.pipeline_data.sources.artifacts import (
    PACKERS,
    PAGE,
    adopt,
    arc_record,
    http_block,
    pack,
    skippable_frame,
    warc_record,
)

HTML = ("Content-Type", "text/html; charset=utf-8")
URL = "http://a.example/0"


def read_bytes(folder: Path, data: bytes, max_page_bytes: int = 100_000) -> list[RawResult]:
    folder.mkdir(exist_ok=True)
    (folder / "pages.warc.gz").write_bytes(data)
    reader = ReaderConfig(format="warc", max_page_bytes=max_page_bytes)
    return list(read_raw(adopt(folder), reader))


def read_one(folder: Path, record: bytes, max_page_bytes: int = 100_000) -> RawResult:
    (result,) = read_bytes(folder, record, max_page_bytes)
    return result


def pages(number: int) -> list[bytes]:
    return [
        warc_record(http_block(PAGE + b"<!-- %d -->" % n * 50), url=f"http://a.example/{n}")
        for n in range(number)
    ]


@pytest.mark.parametrize("packer", PACKERS)
def test_pages_come_in_order_with_place_and_time(tmp_path: Path, packer: str) -> None:
    data, offsets = pack(pages(5), packer)
    assert read_bytes(tmp_path, data) == [
        RawRecord(
            f"http://a.example/{n}",
            offsets[n],
            "2026-01-02T03:04:05Z",
            "text/html",
            PAGE + b"<!-- %d -->" % n * 50,
        )
        for n in range(5)
    ]


@pytest.mark.parametrize("packer", ["plain", "gzip", "zstd"])
def test_arc_is_read_as_warc_is(tmp_path: Path, packer: str) -> None:
    about = arc_record(b"1 0 Someone\nURL IP-address ...\n", "filedesc://a.arc", "text/plain")
    bare = arc_record(PAGE, "http://a.example/1")
    other = arc_record(http_block(b"GIF"), "dns:a.example", "text/dns")
    data, offsets = pack([about, arc_record(http_block(PAGE)), bare, other], packer)
    date = "2026-01-02T03:04:05Z"
    assert read_bytes(tmp_path, data) == [
        PassedRecord(offsets[0], "warcinfo"),
        RawRecord(URL, offsets[1], date, "text/html", PAGE),
        RawRecord("http://a.example/1", offsets[2], date, "text/html", PAGE),
        RawRecord("dns:a.example", offsets[3], date, "text/html", b"GIF"),
    ]


def test_wet_text_passes_through(tmp_path: Path) -> None:
    info = warc_record(b"software: x", "warcinfo", "", "application/warc-fields")
    texts = [
        warc_record("Ça va? ü".encode(charset), "conversion", URL, f"text/plain{declared}")
        for charset, declared in [("utf-8", ""), ("utf-8-sig", ""), ("cp1252", "; charset=latin1")]
    ]
    info_result, *results = read_bytes(tmp_path, pack([info, *texts], "gzip")[0])
    assert info_result == PassedRecord(0, "warcinfo")
    assert [r.text for r in results if isinstance(r, RawRecord)] == ["Ça va? ü"] * 3


@pytest.mark.parametrize("record_type", ["resource", "conversion", "response"])
def test_html_that_needs_no_http_header_is_a_page(tmp_path: Path, record_type: str) -> None:
    result = read_one(tmp_path, warc_record(PAGE, record_type, "file:///a.html", "text/html"))
    assert isinstance(result, RawRecord)
    assert (result.url, result.payload, result.text) == ("file:///a.html", PAGE, None)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (warc_record(b"GET / HTTP/1.1\r\n\r\n", "request"), PassedRecord(0, "request")),
        (warc_record(b"a: b", "metadata", content_type="x/y"), PassedRecord(0, "metadata")),
        (warc_record(b"rest", "continuation"), PassedRecord(0, "continuation")),
        (warc_record(b"?", "hologram"), PassedRecord(0, "unknown_type", detail="hologram")),
        (warc_record(http_block(b""), "revisit"), PassedRecord(0, "revisit", URL)),
        (
            warc_record(http_block(PAGE, status="404 Not Found")),
            PassedRecord(0, "status", URL, "404"),
        ),
        (
            warc_record(http_block(b"%PDF", [("Content-Type", "Application/PDF; x=y")])),
            PassedRecord(0, "not_html", URL, "application/pdf"),
        ),
        (warc_record(http_block(b"GIF89a", [])), PassedRecord(0, "not_html", URL)),
        (
            warc_record(b"\x89PNG", "resource", content_type="image/png"),
            PassedRecord(0, "not_html", URL, "image/png"),
        ),
        (
            warc_record(b"x" * 300_000, "resource", content_type="video/mp4"),
            PassedRecord(0, "not_html", URL, "video/mp4"),
        ),
        (
            warc_record(b"20260102 10.0.0.1", url="dns:a.example", content_type="text/dns"),
            PassedRecord(0, "not_html", "dns:a.example", "text/dns"),
        ),
    ],
)
def test_sound_records_that_are_no_page_say_what_they_are(
    tmp_path: Path, record: bytes, expected: PassedRecord
) -> None:
    assert read_one(tmp_path, record) == expected


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (warc_record(PAGE), "no HTTP response"),
        (warc_record(http_block(PAGE), url=""), "record has no WARC-Target-URI"),
        (warc_record(http_block(PAGE), ""), "record has no WARC-Type"),
        (warc_record(b"HTTP/1.1 200\r\n" + b"a: b\r\n" * 20_000), "HTTP header is larger than"),
        (warc_record(http_block(PAGE), fields=["WARC-Segment-Number: 1"]), "split into segments"),
        (warc_record(http_block(PAGE + b"x" * 300_000)), "page larger than 100000 bytes"),
        (warc_record(PAGE * 3000, "resource", content_type="text/html"), "page larger than"),
        (
            warc_record(http_block(PAGE)).replace(b"Content-Length: ", b"Content-Length: x"),
            "length",
        ),
        (warc_record(http_block(PAGE)).replace(b"\r\nContent-L", b"\r\n\r\nContent-L"), "length"),
    ],
)
@pytest.mark.parametrize("packer", ["plain", "gzip"])
def test_bad_record_costs_itself(tmp_path: Path, packer: str, record: bytes, reason: str) -> None:
    good = pages(2)
    data, offsets = pack([good[0], record, good[1]], packer)
    first, second, third = read_bytes(tmp_path, data)
    assert isinstance(first, RawRecord) and isinstance(third, RawRecord)
    assert isinstance(second, DamagedRecord)
    assert reason in second.reason and second.offset == offsets[1]


def test_fields_may_be_folded_repeated_and_spelt_anyhow(tmp_path: Path) -> None:
    record = warc_record(http_block(PAGE), fields=["warc-type: request"])
    record = record.replace(b"WARC-Target-URI: ", b"WaRc-TaRgEt-UrI :\r\n  <").replace(
        b"/0\r\n", b"/0>\r\n"
    )
    result = read_one(tmp_path, record)
    assert isinstance(result, RawRecord) and result.url == URL


def test_lines_may_end_without_a_carriage_return(tmp_path: Path) -> None:
    block = http_block(PAGE)
    head, _, _ = warc_record(block).partition(b"HTTP")
    lean = block.replace(b"\r\n", b"\n")
    head = head.replace(b"\r\n", b"\n").replace(b"%d" % len(block), b"%d" % len(lean))
    record = head + lean + b"\n\n"
    first, second = read_bytes(tmp_path, record + record)
    assert isinstance(first, RawRecord) and isinstance(second, RawRecord)
    assert first.payload == second.payload == PAGE


ENCODED = {
    "gzip": gzip.compress(PAGE),
    "br": brotli.compress(PAGE),
    "zstd": zstd.compress(PAGE),
    "deflate": zlib.compress(PAGE),
}


def chunked(body: bytes, size: int = 16) -> bytes:
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in [*pieces, b""])


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("is_chunked", [True, False])
def test_transfer_and_content_coding_are_undone(
    tmp_path: Path, encoding: str, is_chunked: bool
) -> None:
    body = ENCODED[encoding]
    headers = [HTML, ("Content-Encoding", encoding)]
    if is_chunked:
        body, headers = chunked(body), [*headers, ("Transfer-Encoding", "chunked")]
    page = read_one(tmp_path, warc_record(http_block(body, headers)))
    assert isinstance(page, RawRecord) and page.payload == PAGE


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PAGE, [("Content-Encoding", "gzip")]),
        (PAGE, [("Content-Encoding", "br")]),
        (PAGE, [("Content-Encoding", "deflate")]),
        (PAGE, [("Content-Encoding", "UTF-8")]),
        (PAGE, [("Transfer-Encoding", "chunked")]),
        (PAGE, [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip, br")]),
        (gzip.compress(PAGE), []),
        (gzip.compress(gzip.compress(PAGE)), [("Content-Encoding", "gzip")]),
        (chunked(PAGE), []),
        (chunked(gzip.compress(PAGE)), []),
    ],
)
def test_wrongly_declared_bodies_are_read(
    tmp_path: Path, body: bytes, headers: list[tuple[str, str]]
) -> None:
    page = read_one(tmp_path, warc_record(http_block(body, [HTML, *headers])))
    assert isinstance(page, RawRecord) and page.payload == PAGE


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (gzip.compress(b"x" * 10_000_000), [("Content-Encoding", "gzip")], "larger than 100000"),
        (gzip.compress(b"x" * 10_000_000), [], "larger than 100000"),
        (brotli.compress(b"x" * 10_000_000), [("Content-Encoding", "br")], "larger than 100000"),
        (zstd.compress(b"x" * 10_000_000), [("Content-Encoding", "zstd")], "larger than 100000"),
        (chunked(b"x" * 101_000), [("Transfer-Encoding", "chunked")], "larger than 100000"),
        (gzip.compress(PAGE)[:-9], [("Content-Encoding", "gzip")], "cut off"),
        (chunked(PAGE)[:30], [("Transfer-Encoding", "chunked")], "chunked body is damaged"),
        (b"\0\1\2", [("Content-Encoding", "rot13")], "unknown content-encoding"),
    ],
)
def test_body_that_cannot_be_decoded_is_damaged(
    tmp_path: Path, body: bytes, headers: list[tuple[str, str]], reason: str
) -> None:
    result = read_one(tmp_path, warc_record(http_block(body, [HTML, *headers])))
    assert isinstance(result, DamagedRecord)
    assert reason in result.reason and result.url == URL


def test_record_may_be_spread_over_frames_and_members(tmp_path: Path) -> None:
    first, second, third = pages(3)
    for compress in (zstd.compress, gzip.compress):
        parts = [first[:50], first[50:90], first[90:], second, third[:400], third[400:]]
        data = b"".join(compress(part) for part in parts)
        results = read_bytes(tmp_path, data)
        assert [r.url for r in results if isinstance(r, RawRecord)] == [
            f"http://a.example/{n}" for n in range(3)
        ]
        assert len(results) == 3


@pytest.mark.parametrize("hit", range(4))
def test_one_member_may_hold_all_records(tmp_path: Path, hit: int) -> None:
    records = pages(4)
    records[hit] = records[hit].replace(b"Content-Length", b"Content-Longth")
    results = read_bytes(tmp_path, gzip.compress(b"".join(records)))
    kinds = [RawRecord] * 4
    assert [type(r) for n, r in enumerate(results) if n != hit] == kinds[1:]
    damaged = results[hit]
    assert isinstance(damaged, DamagedRecord) and damaged.num_bytes > 0
    assert {r.offset for r in results} == {0}


def test_extension_frames_and_padding_are_passed_over(tmp_path: Path) -> None:
    one, two = (zstd.compress(page) for page in pages(2))
    extension = skippable_frame(0x50, b"WARC/1.1 is not here")
    assert len(read_bytes(tmp_path, one + extension + two + extension)) == 2
    for packer in ("plain", "gzip"):
        data = pack(pages(2), packer)[0]
        assert len(read_bytes(tmp_path, data + b"\0" * 2000)) == 2


def test_frame_whose_dictionary_is_missing_is_damaged(tmp_path: Path) -> None:
    data, offsets = pack(pages(2), "zstd, dictionary")
    (result,) = read_bytes(tmp_path, data[offsets[0] :])
    assert isinstance(result, DamagedRecord) and "ictionary" in result.reason
    assert result.num_bytes == len(data) - offsets[0]


@pytest.mark.parametrize(
    "data", [b"hello world\n" * 20, gzip.compress(b'{"text": "x"}\n' * 9), b"%PDF-1.4 ...."]
)
def test_file_of_another_kind_is_a_source_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"pages\.warc\.gz is no WARC"):
        read_bytes(tmp_path, data)


def test_empty_file_is_counted(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, b"") == [DamagedRecord(0, "the file is empty")]


def rle_frame(head: bytes, num_blocks: int) -> bytes:
    """A zstd frame of ``head`` and blocks that say '128 KB of this byte' in four."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, 0x38])
    frame += struct.pack("<I", len(head) << 3)[:3] + head
    block = struct.pack("<I", (1 << 17) << 3 | 1 << 1)[:3] + b"x"
    return frame + block * num_blocks + struct.pack("<I", 1)[:3]


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        (gzip.compress(b"WARC/1.1\r\nX: " + b"x" * 30_000_000), "header is larger than"),
        (rle_frame(b"WARC/1.1\r\nX: ", 1000), "header is larger than"),
        (
            rle_frame(warc_record(b"")[:-4].replace(b": 0", b": 9000000000"), 9000),
            "unpacks to more than",
        ),
        (gzip.compress(pages(1)[0] + b"\r\n" * 10_000_000 + b"junk"), None),
        (gzip.compress(warc_record(http_block(b"x" * 30_000_000))), "page larger than"),
    ],
)
def test_bomb_is_a_counted_rejection_in_little_memory(
    tmp_path: Path, bomb: bytes, reason: str | None
) -> None:
    compress = zstd.compress if bomb.startswith(b"\x28\xb5") else gzip.compress
    first, last = (compress(page) for page in pages(2))
    (tmp_path / "a").write_bytes(first + bomb + last)
    tracemalloc.start()
    try:
        results = list(read_raw(adopt(tmp_path), ReaderConfig(format="warc")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert isinstance(results[0], RawRecord) and isinstance(results[-1], RawRecord)
    damaged = [r.reason for r in results if isinstance(r, DamagedRecord)]
    assert len(damaged) == 1 and (reason or "") in damaged[0]
