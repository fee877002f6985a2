import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.raw.content_encoding import ContentEncodingError, decode_body


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


CODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd.compress),
    ("identity", bytes),
    ("", bytes),
]


@given(st.binary(max_size=2000), st.sampled_from(CODERS), st.sampled_from(CODERS))
def test_decoding_undoes_one_or_two_codings(
    body: bytes,
    first: tuple[str, Callable[[bytes], bytes]],
    second: tuple[str, Callable[[bytes], bytes]],
) -> None:
    assert decode_body(first[1](body), first[0].upper(), 2000) == body
    coded = second[1](first[1](body))
    assert decode_body(coded, f"{first[0]}, {second[0]}", 4000) == body


@pytest.mark.parametrize(("name", "encode"), CODERS)
def test_no_body_passes_the_limit(name: str, encode: Callable[[bytes], bytes]) -> None:
    assert len(decode_body(encode(b"x" * 5000), name, 5000)) == 5000
    with pytest.raises(ContentEncodingError, match="larger than 4999 bytes"):
        decode_body(encode(b"x" * 5000), name, 4999)


@pytest.mark.parametrize(("name", "encode"), CODERS[:6])
def test_cut_off_and_damaged_bodies_are_refused(
    name: str, encode: Callable[[bytes], bytes]
) -> None:
    body = bytes(range(256)) * 20
    with pytest.raises(ContentEncodingError):
        decode_body(encode(body)[:-9], name, 10_000)
    with pytest.raises(ContentEncodingError):
        decode_body(b"\xff\xff\xff\xff" + encode(body), name, 10_000)


def test_gzip_may_have_several_members_and_padding() -> None:
    body = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0\0\0"
    assert decode_body(body, "gzip", 100) == b"one two"


def test_zstd_may_have_several_frames_and_a_window_only_as_large_as_http_allows() -> None:
    assert decode_body(zstd.compress(b"one ") + zstd.compress(b"two"), "zstd", 100) == b"one two"
    options = {int(zstd.CompressionParameter.window_log): 24}
    compressor = zstd.ZstdCompressor(options=options)
    wide = compressor.compress(b"abc" * 7_000_000) + compressor.flush()
    with pytest.raises(ContentEncodingError, match="too much memory"):
        decode_body(wide, "zstd", 100_000_000)


def test_unknown_coding_is_refused_unless_the_body_is_text() -> None:
    with pytest.raises(ContentEncodingError, match="unknown content-encoding 'rot13'"):
        decode_body(b"\0\1", "rot13", 100)
    assert decode_body(b"<p>Text", "utf-8", 100) == b"<p>Text"


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "gzip, br"])
@given(text=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=200))
def test_text_that_is_declared_to_be_encoded_stays_as_it_is(name: str, text: str) -> None:
    body = b"<html>" + text.encode()
    assert decode_body(body, name, 1000) == body


@given(st.binary(max_size=500).filter(lambda body: not body.startswith(b"\x1f\x8b\x08")))
def test_gzip_is_undone_where_it_is_not_declared(body: bytes) -> None:
    once = gzip.compress(body)
    assert decode_body(once, None, 1000) == body
    assert decode_body(gzip.compress(once), "gzip", 1000) == body
