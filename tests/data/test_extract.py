"""The extract step: the same documents whatever the order of the crawl, the workers, and the interruptions."""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.documents import Document, read_documents, read_removed, shards
from athanor.data.config import Extract
from athanor.data.extract import BodyText, document_of, run
from athanor.data.limited import CallFailed
from athanor.data.warc import Page

IN_PROCESS = Extract(time_limit_seconds=None)


def page(url: str, body: bytes = b"<p>Text.</p>", **changes: object) -> Page:
    values = {
        "url": url, "date": "2026-01-01T00:00:00Z", "status": 200, "content_type": "text/html", "headers": {},
        "body": body, "truncated": False, "is_text": False, "file": "a.warc", "offset": 0,
    }  # fmt: skip
    return Page(**(values | changes))  # type: ignore[arg-type]


def write_warc(path: Path, pages: list[tuple[str, str, str]]) -> None:
    """A plain WARC file of (address, date, HTML)."""
    parts = []
    for url, date, html in pages:
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html.encode()
        parts.append(
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
            f"Content-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n".encode()
            + block
            + b"\r\n\r\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))


PAGES = [
    (f"http://h.example/{n:02d}", "2026-01-01T00:00:00Z", f"<title>T{n}</title><p>Page {n}.</p>") for n in range(12)
]


def content(out: Path) -> dict[str, str]:
    """Every result file and the hash of what it holds."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_documents_are_sorted_by_address_whatever_the_order_of_the_crawl(tmp_path: Path) -> None:
    write_warc(tmp_path / "one" / "a.warc", PAGES[:5])
    write_warc(tmp_path / "one" / "b.warc", PAGES[5:])
    write_warc(tmp_path / "two" / "z.warc", PAGES[::-1])
    config = Extract(time_limit_seconds=None, shard_bytes=20)
    for name in ("one", "two"):
        (tmp_path / f"out-{name}").mkdir()
        run(config, {"pages": tmp_path / name}, tmp_path / f"out-{name}")
    first, second = (list(read_documents(tmp_path / f"out-{name}" / "documents")) for name in ("one", "two"))
    assert first == second and [document.url for document in first] == [url for url, _, _ in PAGES]
    assert content(tmp_path / "out-one") == content(tmp_path / "out-two")
    assert len(shards(tmp_path / "out-one" / "documents")) > 1, "shards are bounded"
    assert first[3] == Document(
        id=hashlib.sha256(b"http://h.example/03\nPage 3.").hexdigest()[:16], url="http://h.example/03", text="Page 3.",
        source="h.example", date="2026-01-01T00:00:00Z", metadata={"title": "T3", "encoding": "utf-8"},
    )  # fmt: skip


def test_the_earliest_of_pages_with_one_address_is_kept_and_the_others_counted(tmp_path: Path) -> None:
    write_warc(tmp_path / "in" / "a.warc", [("http://h.example/x#late", "2026-02-01T00:00:00Z", "late")])
    write_warc(tmp_path / "in" / "b.warc", [("HTTP://H.example:80/x", "2026-01-01T00:00:00Z", "early")])
    metrics = run(IN_PROCESS, {"pages": tmp_path / "in"}, tmp_path)
    assert [document.text for document in read_documents(tmp_path / "documents")] == ["early"]
    assert [(row.document.text, row.reason) for row in read_removed(tmp_path / "removed")] == [
        ("late", "repeated address")
    ]
    assert metrics["documents"] == 1 and metrics["removed"] == {"repeated address": 1}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (page("http://h.example/", status=404), "status 404"),
        (page("http://h.example/", content_type="image/png"), "content type image/png"),
        (page("http://h.example/", content_type="", body=b"\x89PNG"), "content type unknown"),
        (page("http://h.example/", b"<script>1</script>"), "no text"),
        (page(""), "no address"),
    ],
)
def test_a_page_that_gives_no_document_says_why(given: Page, reason: str) -> None:
    found = document_of(given, Extract())
    assert not isinstance(found, Document) and (found.removed_by, found.reason) == ("extract", reason)


def test_plain_text_and_wet_records_are_taken_as_they_are() -> None:
    plain = document_of(page("http://h.example/t", "a\tb\n  é".encode(), content_type="text/plain"), Extract())
    assert isinstance(plain, Document) and plain.text == "a       b\n  é"
    wet = document_of(page("http://h.example/t", b"<not html>", is_text=True, status=None), Extract())
    assert isinstance(wet, Document) and wet.text == "<not html>"
    assert not isinstance(document_of(page("u", content_type="text/plain"), Extract(plain_text=False)), Document)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("time limit", "time limit"),
        ("crash", "extraction failed: crash"),
        ("ValueError: x: y", "extraction failed: ValueError"),
    ],
)
def test_a_page_that_fails_is_removed_with_that_reason(failure: str, reason: str) -> None:
    def fails(*_: object) -> BodyText:
        raise CallFailed(failure)

    found = document_of(page("http://h.example/"), Extract(), fails)
    assert not isinstance(found, Document) and found.reason == reason


def test_settings_that_cannot_work_are_named_before_any_page(tmp_path: Path) -> None:
    write_warc(tmp_path / "a.warc", PAGES)
    with pytest.raises(ValueError, match=r"cannot work with .*div\["):
        run(Extract(skip=("div[",)), {"pages": tmp_path}, tmp_path / "out")


def test_no_archives_and_no_documents_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no WARC files"):
        run(IN_PROCESS, {"pages": tmp_path}, tmp_path / "out")
    write_warc(tmp_path / "a.warc", [("http://h.example/x", "", "<script>1</script>")])
    metrics = run(IN_PROCESS, {"pages": tmp_path}, tmp_path / "out")
    assert metrics["documents"] == 0 and len(shards(tmp_path / "out" / "documents")) == 1


@pytest.mark.slow
def test_real_files_give_the_same_with_one_worker_and_two(fidelity: Path, tmp_path: Path) -> None:
    metrics = {}
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        config = Extract(workers=workers)
        metrics[workers] = run(config, {"pages": fidelity / "data" / "warc"}, tmp_path / str(workers))
    assert metrics[1] == metrics[2]
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert {key: metrics[1][key] for key in ("files", "records", "pages", "documents", "errors", "removed")} == {
        "files": 10, "records": 122, "pages": 48, "documents": 44, "errors": 3,
        "removed": {"content type image/png": 1, "repeated address": 3},
    }  # fmt: skip
    assert metrics[1]["encodings"]["gb18030"] == 6
    assert Counter(row["page_kept"] for row in read_jsonl(tmp_path / "1" / "errors.jsonl")) == {True: 2, False: 1}


@pytest.mark.slow
def test_killed_and_started_again_gives_what_an_unbroken_run_gives(tmp_path: Path) -> None:
    for number in range(6):
        write_warc(tmp_path / "in" / f"{number}.warc", [(url + f"/{number}", date, html) for url, date, html in PAGES])
    script = (
        "import sys; from pathlib import Path\n"
        "from athanor.data.config import Extract; from athanor.data.extract import run\n"
        "if __name__ == '__main__':\n    run(Extract(), {'pages': Path(sys.argv[1])}, Path(sys.argv[2]))\n"
    )
    program = tmp_path / "program.py"
    program.write_text(script)
    command = [sys.executable, str(program), str(tmp_path / "in")]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([*command, str(tmp_path / "unbroken")], check=True, env=environment)
    killed = subprocess.Popen([*command, str(tmp_path / "killed")])
    marks = tmp_path / "killed" / "_work" / "extracted"
    while killed.poll() is None and len(list(marks.glob("*.json"))) < 2:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    before = {path.name: path.stat().st_mtime_ns for path in marks.glob("*.json")}
    subprocess.run([*command, str(tmp_path / "killed")], check=True)
    assert content(tmp_path / "killed") == content(tmp_path / "unbroken")
    assert before and all((marks / name).stat().st_mtime_ns == when for name, when in before.items()), "not redone"


def test_a_time_limit_without_time_is_refused() -> None:
    with pytest.raises(ValueError, match="time_limit_seconds must be above 0"):
        Extract(time_limit_seconds=0)
