"""Chunks and compression are undone within bounds, or reported."""

import gzip
import io
import zlib

import pytest
from fastwarc.stream_io import BrotliWriter, ZstdWriter

from athanor.data.http_body import joined_chunks, plain_body

BODY = b"<p>Some text that repeats, some text that repeats.</p>" * 20
LIMIT = 1 << 20


def written(writer: type, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with writer(buffer) as stream:
        stream.write(data)
    return buffer.getvalue()


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


ENCODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY[:100]) + gzip.compress(BODY[100:]),
    "deflate": zlib.compress(BODY),
    "br": written(BrotliWriter, BODY),
    "zstd": written(ZstdWriter, BODY),
    "identity": BODY,
}


@pytest.mark.parametrize("encoding", sorted(ENCODED))
def test_compression_is_undone(encoding: str) -> None:
    assert plain_body(ENCODED[encoding], {"content-encoding": encoding}, LIMIT) == (BODY, "")


def test_deflate_without_a_header_and_two_encodings() -> None:
    assert plain_body(raw_deflate(BODY), {"content-encoding": "deflate"}, LIMIT) == (BODY, "")
    twice = gzip.compress(zlib.compress(BODY))
    assert plain_body(twice, {"content-encoding": "deflate, gzip"}, LIMIT) == (BODY, "")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_is_already_plain_stays(encoding: str) -> None:
    assert plain_body(BODY, {"content-encoding": encoding}, LIMIT) == (BODY, "")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_small_body_cannot_grow_past_the_limit(encoding: str) -> None:
    bomb = b"\0" * (1 << 24)
    small = {
        "gzip": lambda: gzip.compress(bomb),
        "deflate": lambda: zlib.compress(bomb),
        "br": lambda: written(BrotliWriter, bomb),
        "zstd": lambda: written(ZstdWriter, bomb),
    }[encoding]()
    plain, problem = plain_body(small, {"content-encoding": encoding}, 1000)
    assert len(plain) == 1000 and problem == "body of more than 1000 bytes"


def test_what_comes_before_damage_is_kept_and_the_damage_named() -> None:
    noise = bytes(range(256)) * 40  # hard to compress, so that half the bytes are half the text
    whole = gzip.compress(noise + BODY)
    plain, problem = plain_body(whole[: len(whole) // 2], {"content-encoding": "gzip"}, LIMIT)
    assert problem == "gzip body cut short" and plain and noise.startswith(plain[: len(noise)])
    broken = whole[:40] + b"\xff" * 40 + whole[80:]
    assert plain_body(broken, {"content-encoding": "gzip"}, LIMIT)[1] == "broken gzip body"
    assert plain_body(b"x", {"content-encoding": "magic"}, LIMIT) == (b"x", "unknown content encoding 'magic'")


def test_chunks_are_joined_with_wrong_ones_named() -> None:
    assert joined_chunks(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == (b"abcde", "")
    assert joined_chunks(b"<p>not chunked</p>") == (b"<p>not chunked</p>", "")
    assert joined_chunks(b"3\r\nabc\r\n9\r\nde") == (b"abcde", "chunked body cut short")
    assert joined_chunks(b"3\r\nabc\r\nzz\r\nde") == (b"abc", "wrong chunk length")
    assert joined_chunks(b"3\r\nabc\r\n") == (b"abc", "chunked body cut short")
