"""Downloads from a real server that breaks connections, ignores ranges and lies about sizes."""

import base64
import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from web import Handler, Page, Web, serve

from athanor.crawl.common_crawl import crawl_common_crawl, gzip_problem, sample_paths
from athanor.crawl.config import CommonCrawl

RELEASE = "CC-MAIN-2025-05"
PATHS = [f"crawl-data/{RELEASE}/segments/1/warc/CC-{i}.warc.gz" for i in range(4)]
LISTING = gzip.compress("".join(f"{path}\n" for path in PATHS).encode())


def archive(seed: int, num_records: int = 40) -> bytes:
    """A gzip file of several members with content that does not compress."""
    return b"".join(
        gzip.compress(hashlib.sha512(f"{seed}-{i}".encode()).digest() * 40 + os.urandom(2000))
        for i in range(num_records)
    )


class File:
    """Serves bytes with ranges; `faults` are used up one per request."""

    def __init__(self, body: bytes, faults: tuple[str, ...] = (), headers: dict[str, str] | None = None) -> None:
        self.body, self.faults, self.headers = body, list(faults), headers or {}
        self.ranges: list[str] = []

    def __call__(self, handler: Handler) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        wanted = handler.headers.get("Range", "")
        self.ranges.append(wanted)
        found = re.fullmatch(r"bytes=(\d+)-", wanted)
        tag = '"tag"' if fault != "changed" else '"other"'
        start = int(found[1]) if found and fault != "no range" else 0
        if handler.headers.get("If-Range", tag) != tag:
            start = 0
        if fault == "wrong range":
            start += 100
        if fault in ("503", "404"):
            handler.send_response(int(fault))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = self.body[start:]
        if fault == "corrupt":
            body = body[:50] + bytes([body[50] ^ 1]) + body[51:]
        if fault == "too long":
            body = body + b"more"
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        handler.send_header("ETag", tag)
        for key, value in self.headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if fault == "break":
            body = body[: len(body) // 3]
            handler.close_connection = True
        if fault == "slow":
            for i in range(0, len(body), 2000):
                handler.wfile.write(body[i : i + 2000])
                time.sleep(0.05)
            return
        handler.wfile.write(body)


def release(web: Web, **changes: Any) -> CommonCrawl:
    return CommonCrawl(**{"crawl": RELEASE, "base_url": web.url, "backoff_seconds": 0.01, "retries": 3, **changes})


def pages(*files: File) -> dict[str, Any]:
    listing = {f"/crawl-data/{RELEASE}/warc.paths.gz": Page(LISTING, content_type="")}
    return listing | {f"/{path}": file for path, file in zip(PATHS, files, strict=False)}


@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("break", "break", "break"),
        ("break", "no range"),
        ("break", "wrong range"),
        ("break", "changed"),
        ("503", "503", "break", "503"),
        ("corrupt",),
        ("break", "corrupt"),
        ("too long",),
    ],
)
def test_a_file_arrives_whole_whatever_happens_on_the_way(tmp_path: Path, faults: tuple[str, ...]) -> None:
    body = archive(1)
    with serve(pages(File(body, faults))) as web:
        metrics = crawl_common_crawl(release(web), tmp_path)
    assert (tmp_path / "00000.warc.gz").read_bytes() == body
    assert metrics == {"files": 1, "size_bytes": len(body), "skipped": {}}


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = File(archive(1), ("break",))
    with serve(pages(file)) as web:
        crawl_common_crawl(release(web), tmp_path)
    assert file.ranges == ["", f"bytes={len(file.body) // 3}-"]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_digest_from_the_server_is_checked(tmp_path: Path, kind: str) -> None:
    body = archive(1)
    digest = base64.b64encode(hashlib.new(kind, body).digest()).decode()
    header = {"Content-MD5": digest} if kind == "md5" else {"x-amz-checksum-sha256": digest}
    flipped = body[:-1] + bytes([body[-1] ^ 1])
    with serve(pages(File(flipped, headers=header))) as web:
        with pytest.raises(ValueError, match=f"{kind} digest differs"):
            crawl_common_crawl(release(web, verify=False, retries=1), tmp_path / "a")
        web.pages[f"/{PATHS[0]}"] = File(body, headers=header)
        assert crawl_common_crawl(release(web, verify=False), tmp_path / "b")["files"] == 1


def test_a_file_that_stays_broken_is_listed_and_the_others_kept(tmp_path: Path) -> None:
    files = File(archive(1)), File(archive(2), ("404",)), File(archive(3)[:-5])
    with serve(pages(*files)) as web:
        metrics = crawl_common_crawl(release(web, segments=3), tmp_path)
    assert metrics["files"] == 1 and metrics["skipped"]["HTTP status 404"] == 1
    assert any("broken gzip" in reason for reason in metrics["skipped"])
    assert sorted(path.name for path in tmp_path.glob("*.warc.gz")) == ["00000.warc.gz"]


def test_a_release_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with serve({}) as web, pytest.raises(ValueError, match="is 'CC-MAIN-1999-99' a release"):
        crawl_common_crawl(release(web, crawl="CC-MAIN-1999-99"), tmp_path)


def test_other_file_systems_work_too(tmp_path: Path) -> None:
    body, store = archive(5), fsspec.filesystem("memory")
    store.pipe(f"/bucket/crawl-data/{RELEASE}/wet.paths.gz", LISTING)
    store.pipe(f"/bucket/{PATHS[0]}", body)
    config = CommonCrawl(crawl=RELEASE, base_url="memory://bucket", kind="wet")
    assert crawl_common_crawl(config, tmp_path)["files"] == 1
    assert (tmp_path / "00000.warc.wet.gz").read_bytes() == body


def test_a_larger_sample_contains_the_smaller() -> None:
    two, three = (sample_paths(PATHS, CommonCrawl(segments=n, sample=1)) for n in (2, 3))
    assert three[:2] == two and len(set(three)) == 3
    assert sample_paths(PATHS, CommonCrawl(segments=2)) == PATHS[:2]
    with pytest.raises(ValueError, match="asked for 9 files"):
        sample_paths(PATHS, CommonCrawl(segments=9))


def test_gzip_problems_are_seen(tmp_path: Path) -> None:
    good = archive(1, num_records=2)
    for name, data, sound in [("good", good, True), ("cut", good[:-9], False), ("junk", good + b"junk!", False)]:
        (tmp_path / name).write_bytes(data)
        assert (gzip_problem(tmp_path / name) == "") is sound


SCRIPT = """
import sys
from pathlib import Path
from athanor.crawl.common_crawl import crawl_common_crawl
from athanor.crawl.config import CommonCrawl
config = CommonCrawl(base_url=sys.argv[1], segments=2, concurrency=1, backoff_seconds=0.01)
crawl_common_crawl(config, Path(sys.argv[2]))
"""


def test_a_killed_download_goes_on_in_the_next_process(tmp_path: Path) -> None:
    files = File(archive(1)), File(archive(2), ("slow",))
    part = tmp_path / "_work" / "00001.warc.gz.part"
    with serve(pages(*files)) as web:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, web.url, str(tmp_path)], stderr=subprocess.DEVNULL)
        while process.poll() is None and not (part.exists() and part.stat().st_size > 0):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run([sys.executable, "-c", SCRIPT, web.url, str(tmp_path)], check=True, capture_output=True)
    assert [(tmp_path / f"0000{i}.warc.gz").read_bytes() for i in range(2)] == [file.body for file in files]
    assert files[0].ranges == [""], "the finished file was not fetched again"
    assert files[1].ranges[1].startswith("bytes=")
    assert web.counts[f"/crawl-data/{RELEASE}/warc.paths.gz"] == 1
