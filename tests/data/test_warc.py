"""Pages are read from real and damaged archives; damage costs what it hit and no more."""

import gzip
import io
from pathlib import Path

import pytest
from fastwarc.stream_io import Lz4Writer, ZstdWriter

from athanor.data.warc import Page, ReadError, read_pages, warc_files

URLS = [f"http://site.example/{name}.html" for name in "abcdef"]


def body(url: str) -> bytes:
    return (f"<html><p>The page {url}" + " and more" * 500 + "</p></html>").encode()


def record(url: str, payload: bytes, *http_headers: str) -> bytes:
    """One uncompressed WARC record of a response."""
    block = "\r\n".join(["HTTP/1.1 200 OK", *http_headers, "", ""]).encode() + payload
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def records() -> list[bytes]:
    return [record(url, body(url), "Content-Type: Text/HTML; charset=utf-8") for url in URLS]


def compressed(data: bytes, writer: type) -> bytes:
    buffer = io.BytesIO()
    stream = writer(buffer)
    stream.write(data)
    stream.close()
    return buffer.getvalue()


def read(path: Path) -> tuple[list[Page], list[ReadError]]:
    errors: list[ReadError] = []
    return list(read_pages(path, errors.append)), errors


PACKINGS = {
    "a.warc": lambda: b"".join(records()),
    "a.warc.gz": lambda: b"".join(gzip.compress(one) for one in records()),
    "one-member.warc.gz": lambda: gzip.compress(b"".join(records())),
    "a.warc.zst": lambda: b"".join(compressed(one, ZstdWriter) for one in records()),
    "a.warc.lz4": lambda: b"".join(compressed(one, Lz4Writer) for one in records()),
}


@pytest.mark.parametrize("name", sorted(PACKINGS))
def test_pages_come_out_whole_from_every_packing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PACKINGS[name]())
    pages, errors = read(tmp_path)
    assert errors == [] and [page.url for page in pages] == URLS
    assert [page.body for page in pages] == [body(url) for url in URLS]
    first = pages[0]
    assert (first.status, first.content_type, first.date) == (200, "text/html", "2026-01-02T03:04:05Z")
    assert first.headers["content-type"] == "Text/HTML; charset=utf-8"
    assert (first.file, first.offset, first.truncated, first.is_text) == (name, 0, False, False)


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc.zst", "a.warc.lz4"])
@pytest.mark.parametrize("damage", ["zeros in the middle", "cut short", "start overwritten", "two of them"])
def test_damage_costs_only_the_records_it_hit(tmp_path: Path, name: str, damage: str) -> None:
    pack = {"gz": lambda r: gzip.compress(r, mtime=0), "zst": lambda r: compressed(r, ZstdWriter),
            "lz4": lambda r: compressed(r, Lz4Writer)}[name.rsplit(".", 1)[1]]  # fmt: skip
    members = [pack(one) for one in records()]
    half = len(members[2]) // 2
    if damage == "zeros in the middle":
        members[2] = members[2][:half] + bytes(20) + members[2][half + 20 :]
    elif damage == "cut short":
        members[2] = members[2][:half]
    else:
        members[2] = bytes(30) + members[2][30:]
    if damage == "two of them":
        members[4] = members[4][: len(members[4]) // 2]
    (tmp_path / name).write_bytes(b"".join(members))
    pages, errors = read(tmp_path)
    lost = {2, 4} if damage == "two of them" else {2}
    intact = [url for number, url in enumerate(URLS) if number not in lost]
    assert [page.url for page in pages if not page.truncated] == intact
    assert len({error.offset for error in errors}) >= len(lost) and len(errors) <= 2 * len(lost)


def test_a_wrong_length_in_a_plain_file_is_stepped_over(tmp_path: Path) -> None:
    for change in (-1000, +1000):
        parts = records()
        head, rest = parts[1].split(b"Content-Length: ", 1)
        length, rest = rest.split(b"\r\n", 1)
        parts[1] = head + b"Content-Length: " + str(int(length) + change).encode() + b"\r\n" + rest
        path = tmp_path / f"{change}.warc"
        path.write_bytes(b"".join(parts))
        pages, errors = read(path)
        assert [page.url for page in pages] == URLS
        assert [page.body for page in pages][2:] == [body(url) for url in URLS[2:]]
        assert len(errors) == 1 and errors[0].offset == len(parts[0])


def test_a_file_that_ends_in_the_middle_gives_what_it_has(tmp_path: Path) -> None:
    whole = b"".join(records())
    (tmp_path / "a.warc").write_bytes(whole[: len(whole) - 2000])
    pages, errors = read(tmp_path)
    assert [page.url for page in pages] == URLS
    assert pages[-1].truncated and body(URLS[-1]).startswith(pages[-1].body) and pages[-1].body
    assert len(errors) == 1 and errors[0].problem.startswith("record cut short") and errors[0].page_kept


@pytest.mark.parametrize("content", [b"", b"no archive at all\n" * 100, b"\x1f\x8b\x08" * 50, gzip.compress(b"text")])
def test_what_is_no_archive_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.warc.gz").write_bytes(content)
    pages, errors = read(tmp_path)
    assert pages == [] and len(errors) == 1 and errors[0].file == "a.warc.gz"


def test_large_bodies_are_reported_and_the_next_page_follows(tmp_path: Path) -> None:
    bomb = record("http://site.example/bomb", gzip.compress(b"\0" * 5_000_000), "Content-Encoding: gzip")
    large = record("http://site.example/large", b"x" * 2_000_000)
    small = record("http://site.example/small", b"<p>small</p>")
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, (bomb, large, small))))
    errors: list[ReadError] = []
    pages = list(read_pages(tmp_path, errors.append, max_body_bytes=1_000_000))
    assert [(page.url[-5:], len(page.body)) for page in pages] == [("/bomb", 1_000_000), ("small", 12)]
    assert [error.problem for error in errors] == ["body of more than 1000000 bytes"] * 2


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2.warc", "a/9.warc", "1.warc.gz", ".hidden.warc", "_work/x.warc", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.relative_to(tmp_path).as_posix() for path in warc_files(tmp_path)] == [
        "1.warc.gz",
        "a/9.warc",
        "b/2.warc",
    ]
    with pytest.raises(ValueError, match="no such file or folder"):
        warc_files(tmp_path / "missing")


# What each real file holds: pages that come out, and problems that are named.
REAL = {
    "clipped.warc.gz": (1, ["record cut short: 74970 of 88038 bytes"]),
    "example-bad-non-chunked.warc.gz": (1, []),
    "example-iana.org-chunked.warc": (1, []),
    "example-space-in-target-uri.warc.gz": (1, []),
    "example-trunc.warc": (1, ["gzip body cut short", "after this record: Invalid WARC header"]),
    "example-wrong-chunks.warc.gz": (1, []),
    "sample-0000.warc.gz": (24, []),
    "warcfile.warc.gz": (16, []),
    "whirlwind.warc.gz": (1, []),
    "whirlwind.warc.wet.gz": (1, []),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_files_broken_ones_included(fidelity: Path, name: str) -> None:
    pages, errors = read(fidelity / "data" / "warc" / name)
    assert (len(pages), [error.problem for error in errors]) == REAL[name]
    assert all(page.url and page.body and not page.url.startswith("<") for page in pages)


def test_real_pages_are_plain_in_the_end(fidelity: Path) -> None:
    folder = fidelity / "data" / "warc"
    for name in ("example-bad-non-chunked.warc.gz", "example-trunc.warc", "example-wrong-chunks.warc.gz"):
        (page,) = read_pages(folder / name)
        assert page.body.startswith(b"<!doctype html>") and b"Example Domain" in page.body
    (wet,) = read_pages(folder / "whirlwind.warc.wet.gz")
    assert wet.is_text and wet.body.decode().startswith("Escopete - Biquipedia")
    (iana,) = read_pages(folder / "example-iana.org-chunked.warc")
    assert iana.body.rstrip().endswith(b"</html>")
