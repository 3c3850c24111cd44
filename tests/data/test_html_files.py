"""HTML files and archives elsewhere become the documents that they would be in an archive here."""

import gzip
from pathlib import Path

import pytest
from fastwarc.stream_io import Lz4Writer, ZstdWriter

from athanor.core.artifact import read_jsonl
from athanor.core.documents import read_documents
from athanor.data import pages
from athanor.data.config import Extract
from athanor.data.extract import run
from athanor.data.html_files import address_of
from athanor.data.warc import Page, cuts, read_file, read_pages


def made(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def extracted(out: Path, source: Path | None = None, **settings: object) -> dict[str, str]:
    """Address -> text."""
    config = Extract(time_limit_seconds=None, **settings)  # type: ignore[arg-type]
    run(config, {"pages": source} if source else {}, out)
    return {document.url: document.text for document in read_documents(out / "documents")}


def record(url: str, html: bytes) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("relative", "folder", "base", "address"),
    [
        ("www.a.example/b/c.html", "", "", "https://www.a.example/b/c.html"),
        ("http/a.example:8080/x", "", "", "http://a.example:8080/x"),
        ("b/index.html", "mirror/a.example", "", "https://a.example/b/"),
        ("b/page?id=1&x=2", "mirror/https/a.example", "", "https://a.example/b/page?id=1&x=2"),
        ("xn--bcher-kva.example/ü.html", "", "", "https://xn--bcher-kva.example/%C3%BC.html"),
        ("python3.11/a.html", "doc", "", "file:///python3.11/a.html"),
        ("a.example", "doc", "", "file:///a.example"),
        ("x.example/a.html", "", "https://h.example/3", "https://h.example/3/x.example/a.html"),
    ],
)
def test_the_path_of_a_mirror_says_the_address(relative: str, folder: str, base: str, address: str) -> None:
    assert address_of(relative, folder, base) == address


def test_a_folder_of_html_files_is_read_and_other_files_are_passed_over(tmp_path: Path) -> None:
    source = made(
        tmp_path / "in",
        {
            "a.example/index.html": b"<meta charset=latin1><p>caf\xe9</p>",
            "a.example/page?id=1": b"<!DOCTYPE html>\n<p>query</p>",
            "a.example/logo": b"\x89PNG",
            "a.example/x.png": b"\x89PNG",
            "saved.htm": b"<!-- saved from url=(0025)https://s.example/a?b=c -->\n<p>saved</p>",
            "track.html": b"<html>\n<!-- Mirrored from t.example/y.html by HTTrack -->\n<p>tracked</p>",
            "empty.html": b"",
            "notes.html": b"<p>" + b"long " * 2000,
        },
    )
    assert extracted(tmp_path / "out", source, max_body_bytes=5000) == {
        "https://a.example/": "café",
        "https://a.example/page?id=1": "query",
        "https://s.example/a?b=c": "saved",
        "https://t.example/y.html": "tracked",
    }
    assert [(row["file"], row["problem"]) for row in read_jsonl(tmp_path / "out" / "errors.jsonl")] == [
        ("empty.html", "empty file"),
        ("notes.html", "body of more than 5000 bytes"),
    ]
    based = extracted(tmp_path / "based", source, html_base="https://b.example/docs/")
    assert based["https://b.example/docs/a.example/index.html"] == "café"


def test_addresses_give_what_the_same_files_in_a_folder_give(tmp_path: Path) -> None:
    archive = b"".join(gzip.compress(record(f"http://a.example/{n}", b"<p>page %d</p>" % n)) for n in range(3))
    source = made(tmp_path / "in", {"a.warc.gz": archive, "b.example/b.html": b"<p>b</p>", "README": b"text"})
    here = extracted(tmp_path / "here", paths=(str(source),))
    assert here == {f"http://a.example/{n}": f"page {n}" for n in range(3)} | {"https://b.example/b.html": "b"}
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(source), "/bucket/crawl-data/x", recursive=True)
        memory.pipe(
            "/bucket/crawl-data/warc.paths.gz", gzip.compress(b"crawl-data/x/a.warc.gz\ncrawl-data/x/absent.warc.gz\n")
        )
        there = extracted(tmp_path / "there", paths=("memory://bucket/crawl-data/x",))
        assert there == here
        listed = extracted(tmp_path / "listed", paths=("memory://bucket/crawl-data/warc.paths.gz",))
        assert listed == {url: text for url, text in here.items() if "a.example" in url}
        (error,) = read_jsonl(tmp_path / "listed" / "errors.jsonl")
        assert error["file"] == "absent.warc.gz" and "not to be had" in error["problem"]
    finally:
        memory.rm("/bucket", recursive=True)


def test_what_to_read_is_given_once_and_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either pages"):
        run(Extract(), {}, tmp_path)
    with pytest.raises(ValueError, match="either pages"):
        run(Extract(paths=("x",)), {"pages": tmp_path}, tmp_path)
    made(tmp_path / "in", {"x.png": b"\x89PNG"})
    with pytest.raises(ValueError, match="no WARC files and no HTML files"):
        run(Extract(paths=(str(tmp_path / "in"),)), {}, tmp_path / "out")


@pytest.mark.parametrize("packing", ["gz", "zst", "lz4"])
@pytest.mark.parametrize("damaged", [False, True])
def test_the_pieces_of_a_large_archive_have_each_page_once(packing: str, damaged: bool, tmp_path: Path) -> None:
    path = tmp_path / f"a.warc.{packing}"
    with path.open("wb") as file:
        for number in range(60):
            content = record(
                f"http://a.example/{number}", b"<p>" + bytes(str(hash(str(number))), "ascii") * (number % 9)
            )
            if packing == "gz":
                file.write(gzip.compress(content))
                continue
            with (ZstdWriter if packing == "zst" else Lz4Writer)(file) as writer:
                writer.write(content)
    if damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 3 : len(content) // 3 + 30] = b"\xff" * 30
        path.write_bytes(content)

    def told(start: int = 0, end: int | None = None) -> list[Page]:
        return list(read_file(path, path.name, lambda _: None, lambda _: None, start=start, end=end))

    whole = list(read_pages(path))
    assert len(whole) >= 58 and told() == whole
    for size in (1, 700, 3000, 10**6):
        places = cuts(path, size)
        assert bool(places) == (size < 10**6)
        pieces = [told(start, end) for start, end in zip([0, *places], [*places, None], strict=True)]
        assert [page for piece in pieces for page in piece] == whole


def test_a_plain_archive_and_one_compressed_as_a_whole_are_never_cut(tmp_path: Path) -> None:
    content = b"".join(record(f"http://a.example/{n}", b"WARC/1.0\r\nWARC-Type: response\r\n") for n in range(50))
    (tmp_path / "a.warc").write_bytes(content)
    (tmp_path / "b.warc.gz").write_bytes(gzip.compress(content))
    assert cuts(tmp_path / "a.warc", 100) == cuts(tmp_path / "b.warc.gz", 100) == []


def test_a_cut_archive_gives_the_same_bytes_as_one_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = b"".join(
        gzip.compress(record(f"http://a.example/{n * 7 % 90}", b"<p>page %d</p>" % n)) for n in range(90)
    )
    source = made(tmp_path / "in", {"a.warc.gz": archive})
    for name, size in (("whole", 10**9), ("cut", 2000)):
        monkeypatch.setattr(pages, "PIECE_BYTES", size)
        extracted(tmp_path / name, source)
    for path in (tmp_path / "whole").rglob("*.*"):
        if "_work" not in path.parts:
            assert path.read_bytes() == (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes()
    assert len(list((tmp_path / "cut" / "_work" / "described").iterdir())) > 3
