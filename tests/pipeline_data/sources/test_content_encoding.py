import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.content_encoding import ContentEncodingError, decode_body


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


CODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
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


@pytest.mark.parametrize(("name", "encode"), CODERS[:5])
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


def test_unknown_coding_is_refused() -> None:
    with pytest.raises(ContentEncodingError, match="unknown content-encoding 'rot13'"):
        decode_body(b"", "rot13", 100)
