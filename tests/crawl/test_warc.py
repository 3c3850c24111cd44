from datetime import UTC, datetime
from pathlib import Path

import pytest

from athanor.crawl.fetch import Response
from athanor.crawl.warc import Position, WarcWriter, link_files, page_records


def response(n: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    body = f"<p>page {n}</p>".encode()
    return Response(
        url=f"http://x.org/{n}",
        status=200,
        status_line="HTTP/1.1 200 OK",
        headers=((b"Content-Type", b"text/html"), *headers),
        body=body,
        request=b"GET / HTTP/1.1\r\nHost: x.org\r\n\r\n",
        address="93.184.216.34",
        date=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def urls(path: Path) -> list[str]:
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as file:
        records = ArchiveIterator(file, check_digests="raise")
        return [record.rec_headers.get_header("WARC-Target-URI") for record in records if record.rec_type == "response"]


def writer(out: Path, position: Position | None = None, max_bytes: int = 10**6) -> WarcWriter:
    (out / "_work").mkdir(parents=True, exist_ok=True)
    return WarcWriter(out, out / "_work", max_bytes, "tester", position or Position())


def test_headers_that_no_longer_describe_the_content_are_kept_aside(tmp_path: Path) -> None:
    from warcio.archiveiterator import ArchiveIterator

    sent = (
        (b"Content-Encoding", b"gzip"),
        (b"transfer-encoding", b"chunked"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
    )
    path = tmp_path / "one.warc.gz"
    path.write_bytes(page_records(response(1, sent)))
    with path.open("rb") as file:
        kept = next(record for record in ArchiveIterator(file) if record.rec_type == "response")
    headers = kept.http_headers
    assert headers.get_header("Content-Encoding") is None and headers.get_header("Transfer-Encoding") is None
    assert headers.get_header("X-Crawler-Content-Encoding") == "gzip"
    assert [value for key, value in headers.headers if key == "Set-Cookie"] == ["a", "b"]
    assert kept.rec_headers.get_header("WARC-Date") == "2025-01-02T03:04:05Z"
    assert kept.rec_headers.get_header("WARC-IP-Address") == "93.184.216.34"


def test_what_was_written_after_the_kept_position_is_forgotten(tmp_path: Path) -> None:
    first = writer(tmp_path)
    first.append(page_records(response(1)), 10)
    kept = first.position
    first.append(page_records(response(2))[:-7], 10)  # half a record: the process died here
    first.close()
    second = writer(tmp_path, kept)
    second.append(page_records(response(3)), 10)
    second.finish()
    assert urls(tmp_path / "00000.warc.gz") == ["http://x.org/1", "http://x.org/3"]
    assert not list((tmp_path / "_work").iterdir())


def test_a_file_named_just_before_a_kill_is_taken_up_again(tmp_path: Path) -> None:
    first = writer(tmp_path, max_bytes=15)
    first.append(page_records(response(1)), 10)
    first.append(page_records(response(2)), 10)
    kept = first.position
    first.append(page_records(response(3)), 10)  # finishes the full file 0 and begins file 1
    first.close()
    assert (tmp_path / "00000.warc.gz").exists()
    second = writer(tmp_path, kept, max_bytes=15)
    second.append(page_records(response(4)), 10)
    second.finish()
    assert urls(tmp_path / "00000.warc.gz") == ["http://x.org/1", "http://x.org/2"]
    assert urls(tmp_path / "00001.warc.gz") == ["http://x.org/4"]


def test_a_file_shorter_than_its_position_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter than recorded"):
        writer(tmp_path, Position(0, 100, 10))


def test_files_already_there_are_linked_under_stable_names(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    files = [source / name for name in ("a.warc.gz", "b.warc", "c.warc.wet.gz")]
    for file in files:
        file.write_bytes(b"x")
    for _ in range(2):  # a step called again finds its own links
        links = link_files(files, out)
        assert [link.name for link in links] == ["00000.warc.gz", "00001.warc", "00002.wet.gz"]
        assert [link.resolve() for link in links] == files
    (source / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt: not named like a WARC file"):
        link_files([source / "notes.txt"], out)
