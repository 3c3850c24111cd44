"""The bytes a server meant to send, from the bytes it sent: transfer chunks joined, compression undone.

In: the body of a response as recorded and its headers (names in lower case). Out: the plain body, and what
was wrong with it, if anything. Archives often hold bodies that are already plain under headers that say
otherwise; such a body is taken as it is. Nothing grows past `limit`: a small compressed body cannot fill
the memory.
"""

import io
import re
import zlib
from collections.abc import Mapping

from fastwarc.stream_io import BrotliReader, ZstdReader

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_STEP = 1 << 16


def plain_body(body: bytes, headers: Mapping[str, str], limit: int) -> tuple[bytes, str]:
    """The body without chunks and compression, and a problem (empty when there is none).

    With a problem the bytes are what could be recovered, at most `limit` of them.
    """
    problem = ""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body, problem = joined_chunks(body)
    encodings = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    for encoding in reversed([name for name in encodings if name and name != "identity"]):
        body, wrong = _decompressed(body, encoding, limit)
        problem = problem or wrong
    if len(body) > limit:
        return body[:limit], f"body of more than {limit} bytes"
    return body, problem


def joined_chunks(body: bytes) -> tuple[bytes, str]:
    """The data of a chunked body (RFC 9112, section 7.1), and a problem when a chunk is not as announced.

    >>> joined_chunks(b"3\\r\\nabc\\r\\n2;x=y\\r\\nde\\r\\n0\\r\\n\\r\\n")
    (b'abcde', '')
    """
    pieces: list[bytes] = []
    place = 0
    while place < len(body):
        size = _CHUNK_SIZE.match(body, place)
        if not size:
            if not pieces:
                return body, ""  # not chunked after all
            return b"".join(pieces), "wrong chunk length"
        length = int(size.group(1), 16)
        if length == 0:
            return b"".join(pieces), ""
        pieces.append(body[size.end() : size.end() + length])
        place = size.end() + length
        if place > len(body):
            return b"".join(pieces), "chunked body cut short"
        if body[place : place + 2] == b"\r\n":
            place += 2
        elif body[place : place + 1] == b"\n":
            place += 1
    return b"".join(pieces), "chunked body cut short"


def _decompressed(body: bytes, encoding: str, limit: int) -> tuple[bytes, str]:
    if encoding in ("gzip", "x-gzip"):
        if body[:2] != b"\x1f\x8b":
            return body, ""  # already plain
        return _inflated(body, 16 + zlib.MAX_WBITS, encoding, limit)
    if encoding == "deflate":
        if _is_zlib(body):
            return _inflated(body, zlib.MAX_WBITS, encoding, limit)
        plain, problem = _inflated(body, -zlib.MAX_WBITS, encoding, limit)  # as some servers mean it
        return (plain, problem) if plain else (body, "")
    if encoding == "br":
        plain, problem = _read_all(BrotliReader(io.BytesIO(body)), encoding, limit)
        return (plain, problem) if plain else (body, "" if _looks_like_text(body) else problem)
    if encoding == "zstd":
        if body[:4] != b"\x28\xb5\x2f\xfd":
            return body, ""
        return _read_all(ZstdReader(io.BytesIO(body)), encoding, limit)
    return body, f"unknown content encoding {encoding[:20]!r}"


def _is_zlib(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 15 == 8 and (body[0] * 256 + body[1]) % 31 == 0


def _inflated(body: bytes, window_bits: int, encoding: str, limit: int) -> tuple[bytes, str]:
    """All members of a gzip or deflate body, at most `limit` + 1 bytes."""
    pieces: list[bytes] = []
    size = 0
    while body and size <= limit:
        inflater = zlib.decompressobj(window_bits)
        try:
            piece = inflater.decompress(body, limit + 1 - size)
        except zlib.error:
            # Bytes after a complete first member are rubbish that browsers ignore as well.
            recovered = _until_error(body, window_bits, limit - size)
            return b"".join([*pieces, recovered]), "" if pieces else f"broken {encoding} body"
        pieces.append(piece)
        size += len(piece)
        if not inflater.eof:
            return b"".join(pieces), "" if size > limit else f"{encoding} body cut short"
        body = inflater.unused_data
        if body[:2] != b"\x1f\x8b":
            break
    return b"".join(pieces), ""


def _until_error(body: bytes, window_bits: int, limit: int) -> bytes:
    """What comes out of a damaged stream before the damage, found by feeding it in small steps."""
    inflater = zlib.decompressobj(window_bits)
    pieces: list[bytes] = []
    size = 0
    for start in range(0, len(body), 256):
        try:
            pieces.append(inflater.decompress(body[start : start + 256], limit + 1 - size))
        except zlib.error:
            break
        size += len(pieces[-1])
        if size > limit:
            break
    return b"".join(pieces)


def _read_all(reader: BrotliReader | ZstdReader, encoding: str, limit: int) -> tuple[bytes, str]:
    pieces: list[bytes] = []
    size = 0
    try:
        while size <= limit and (piece := reader.read(min(_STEP, limit + 1 - size))):
            pieces.append(piece)
            size += len(piece)
    except OSError:
        return b"".join(pieces), f"broken {encoding} body"
    return b"".join(pieces), ""


def _looks_like_text(body: bytes) -> bool:
    try:
        body[:1000].decode("ascii")
    except UnicodeDecodeError:
        return False
    return True
