import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_data.sources.raw.http_response import HttpError, join_chunks, parse_response


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.booleans())
def test_chunks_are_joined_whether_or_not_they_were_declared(
    parts: list[bytes], is_declared: bool
) -> None:
    coded = b"".join(b"%X;x=y\r\n%b\r\n" % (len(part), part) for part in parts)
    assert join_chunks(coded + b"0\r\nTrailer: a\r\n\r\n", is_declared) == b"".join(parts)


@given(st.binary(max_size=60))
def test_body_that_is_not_chunked_stays_as_it_is(body: bytes) -> None:
    assert join_chunks(b"<" + body, is_declared=True) == b"<" + body
    assert join_chunks(b"<" + body, is_declared=False) == b"<" + body


@pytest.mark.parametrize("body", [b"5\r\nabcde\r\n", b"5\r\nabcde", b"5\nabcde\n"])
def test_last_chunk_may_be_missing_where_chunks_are_declared(body: bytes) -> None:
    assert join_chunks(body, is_declared=True) == b"abcde"
    assert join_chunks(body, is_declared=False) == body


@pytest.mark.parametrize(
    "body", [b"5\r\nabc", b"3\r\nabcde\r\n0\r\n\r\n", b"3\r\nabc\r\nzz\r\n", b"ffffffff\r\na"]
)
def test_damaged_chunks_are_refused_where_declared(body: bytes) -> None:
    with pytest.raises(HttpError, match="chunked body is damaged"):
        join_chunks(body, is_declared=True)
    assert join_chunks(body, is_declared=False) == body


def test_response_is_split_at_the_empty_line() -> None:
    response = parse_response(b"HTTP/2 203 Odd\nA: 1\r\nb:2\n\nbody\r\n\r\nmore")
    assert (response.status, response.body) == (203, b"body\r\n\r\nmore")
    assert [response.field(name) for name in ("a", "B", "C")] == ["1", "2", None]


def test_response_that_is_only_a_header_has_an_empty_body() -> None:
    assert parse_response(b"HTTP/1.0 200 OK\r\nA: \xfc\xe9").body == b""
    assert parse_response(b"HTTP/1.0 200 OK\r\nA: \xfc\xe9").field("a") == "üé"


@pytest.mark.parametrize("block", [b"", b"<html>", b"HTTP/1.1 OK", b"HTTP/1.1 20\r\n\r\n"])
def test_what_is_no_response_is_refused(block: bytes) -> None:
    with pytest.raises(HttpError, match="no HTTP response"):
        parse_response(block)
