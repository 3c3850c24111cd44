"""Downloading files of a Common Crawl release, through broken connections and kills, and checking them.

In: the release's paths file (`crawl-data/<release>/warc.paths.gz`). Out: `NNNNN.warc.gz` in the order of the
paths file, and `skipped.jsonl` with the files that could not be had and why. A download continues by range
where it broke off, guarded by the entity tag; a finished file must have the announced size, the digest if
the server gives one, and sound compression. Anything that is not http(s) is read through fsspec.
Left out: picking single pages through the URL index.
"""

import base64
import concurrent.futures
import gzip
import hashlib
import os
import random
import re
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import fsspec
import httpx

from athanor.core.artifact import WORK, read_json, write_bytes, write_json, write_jsonl
from athanor.core.console import Progress, progress, warn
from athanor.crawl.config import CommonCrawl
from athanor.crawl.fetch import TRANSIENT, backoff_seconds, int_or_none, retry_after_seconds

USER_AGENT = "athanor (downloading Common Crawl)"
BLOCK_BYTES = 1 << 20
MAX_PATHS_BYTES = 1 << 30


class MissingFileError(ValueError):
    """A file that the server does not have or will not give; another attempt is of no use."""


class BrokenTransferError(ValueError):
    """An attempt that went wrong; the next one may go well."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Announced:
    """What the server says about a file as it begins to send it."""

    start: int
    """Place of the first byte sent."""
    size_bytes: int | None
    """Of the whole file."""
    tag: str = ""
    """Changes when the file does."""
    digest: str = ""
    """`md5:` or `sha256:` and hexadecimal digits, of the whole file."""


class WrongRangeError(BrokenTransferError):
    """The bytes at hand do not belong to the file as it is now; it must be fetched from the beginning."""


class Source(Protocol):
    """Where files come from."""

    def read(self, path: str, start: int, tag: str) -> Iterator[Announced | bytes]:
        """What is announced about `path`, then its bytes from `start` on, if it still has the entity tag `tag`.

        Raises MissingFileError or BrokenTransferError.
        """


def crawl_common_crawl(config: CommonCrawl, out: Path) -> dict[str, Any]:
    """Download into `out`, continuing what a killed download left there; returns counts.

    Raises ValueError if the release is not to be found or none of its files could be downloaded.
    """
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with _source(config) as source:
        download = _Download(config, source, stop)
        wanted = sample_paths(_release_paths(download, work), config)
        with (
            progress(config.crawl, None, "bytes") as shown,
            concurrent.futures.ThreadPoolExecutor(config.concurrency, thread_name_prefix="download") as pool,
        ):
            download.shown = shown
            targets = [out / f"{number:05d}.{_suffix(config)}" for number in range(len(wanted))]
            try:
                failures = list(pool.map(lambda path, target: _fetch(download, path, target, work), wanted, targets))
            finally:
                stop.set()
    skipped = [
        {"url": f"{config.base_url}/{path}", "reason": reason}
        for path, reason in zip(wanted, failures, strict=True)
        if reason
    ]
    write_jsonl(out / "skipped.jsonl", skipped)
    write_jsonl(out / "sources.jsonl", _origins(wanted, targets))
    if len(skipped) == len(wanted):
        raise ValueError(f"{config.crawl}: no file could be downloaded; the first: {skipped[0]}")
    return {
        "files": len(wanted) - len(skipped),
        "size_bytes": sum(target.stat().st_size for target in targets if target.exists()),
        "skipped": dict(sorted(Counter(row["reason"] for row in skipped).items())),
    }


def sample_paths(paths: list[str], config: CommonCrawl) -> list[str]:
    """The first files of a release, or a random sample, which only grows when more files are asked for."""
    if config.segments > len(paths):
        raise ValueError(f"segments: asked for {config.segments} files, but {config.crawl} has {len(paths)}")
    if config.sample is None:
        return paths[: config.segments]
    shuffled = list(paths)
    random.Random(config.sample).shuffle(shuffled)
    return shuffled[: config.segments]


@dataclass
class _Download:
    """What all downloads of one crawl share."""

    config: CommonCrawl
    source: Source
    stop: threading.Event
    shown: Progress | None = None

    def file(self, path: str, part: Path) -> None:
        """Bring `path` whole into the file `part`, trying again as long as the attempts make headway.

        Raises MissingFileError, or BrokenTransferError when patience ends.
        """
        failures = 0
        while True:
            before = _size(part)
            try:
                self._attempt(path, part)
                return
            except BrokenTransferError as error:
                failures = 0 if _size(part) > before else failures + 1
                pause = backoff_seconds(failures, self.config.backoff_seconds, error.retry_after_seconds)
                if failures > self.config.retries or self.stop.wait(pause):
                    raise

    def _attempt(self, path: str, part: Path) -> None:
        notes = part.with_name(part.name + ".json")
        known = Announced(**read_json(notes)) if notes.exists() and part.exists() else None
        start = _size(part) if known is not None else 0
        if known is None or known.size_bytes is None or start < known.size_bytes:
            try:
                known = self._transfer(path, part, notes, start, known)
            except WrongRangeError:
                _forget(part)
                raise
        _check(part, known, thorough=self.config.verify)

    def _transfer(self, path: str, part: Path, notes: Path, start: int, known: Announced | None) -> Announced:
        """Append what is missing to `part`, or write it from the beginning if the server starts there."""
        pieces = self.source.read(path, start, known.tag if known else "")
        announced = next(pieces)
        assert isinstance(announced, Announced), "a source announces first"
        if announced.start not in (0, start):
            raise WrongRangeError(f"asked for byte {start}, the server sent byte {announced.start}")
        if announced.start and known is not None:
            if announced.tag != known.tag:
                raise WrongRangeError("the file changed on the server while it was downloaded")
            announced = replace(announced, digest=announced.digest or known.digest)
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(announced.start)
            file.seek(announced.start)
            write_json(notes, asdict(announced))
            for piece in pieces:
                assert isinstance(piece, bytes)
                file.write(piece)
                if self.shown is not None:
                    self.shown.advance(len(piece))
                if self.stop.is_set():
                    raise BrokenTransferError("stopped")
        return announced


class _Web:
    """Files over http(s)."""

    def __init__(self, config: CommonCrawl) -> None:
        self.base = config.base_url.rstrip("/")
        # identity: a byte range must count the same bytes as the file
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self.client = httpx.Client(headers=headers, timeout=config.timeout_seconds, follow_redirects=True)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def read(self, path: str, start: int, tag: str) -> Iterator[Announced | bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and tag and not tag.startswith("W/"):  # RFC 9110 allows no weak tags here
            headers["If-Range"] = tag
        try:
            with self.client.stream("GET", f"{self.base}/{path}", headers=headers) as response:
                yield _announced(response, start)
                yield from response.iter_raw()  # as it comes: a block half gathered would be lost on a break
        except httpx.HTTPError as error:
            raise BrokenTransferError(f"{type(error).__name__}: {error}") from error


class _AnyFileSystem:
    """Files through fsspec: s3://, gs://, file://, memory://."""

    def __init__(self, config: CommonCrawl) -> None:
        try:
            self.files, self.base = fsspec.core.url_to_fs(config.base_url.rstrip("/"), **_options(config.base_url))
        except ImportError as error:
            raise ValueError(f"base_url: {config.base_url} needs another package: {error}") from error

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def read(self, path: str, start: int, tag: str) -> Iterator[Announced | bytes]:
        try:
            info = self.files.info(f"{self.base}/{path}")
            now = str(info.get("ETag") or info.get("mtime") or info.get("created") or "").strip('"')
            start = start if now == tag else 0
            yield Announced(start, info.get("size"), now)
            with self.files.open(f"{self.base}/{path}", "rb") as file:
                file.seek(start)
                while block := file.read(BLOCK_BYTES):
                    yield block
        except (FileNotFoundError, PermissionError) as error:
            raise MissingFileError(f"{type(error).__name__}: {error}") from error
        except OSError as error:
            raise BrokenTransferError(f"{type(error).__name__}: {error}") from error


def _source(config: CommonCrawl) -> _Web | _AnyFileSystem:
    return _Web(config) if re.match(r"https?://", config.base_url) else _AnyFileSystem(config)


def _options(base_url: str) -> dict[str, Any]:
    """Common Crawl's bucket is open to all, but S3 clients look for credentials unless told so."""
    return {"anon": True} if base_url.startswith("s3://commoncrawl") else {}


def _announced(response: httpx.Response, start: int) -> Announced:
    """What the headers say; raises for a status that brings no bytes."""
    status, headers = response.status_code, response.headers
    tag = headers.get("etag", "")
    if status == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("content-range", "").strip())
        if not given:
            raise BrokenTransferError("a partial answer that does not say which part")
        return Announced(int(given[1]), int_or_none(given[2]), tag, _digest_header(headers, whole=False))
    if status == 200:
        return Announced(0, int_or_none(headers.get("content-length")), tag, _digest_header(headers, whole=True))
    if status == 416:
        raise WrongRangeError("the server has no such range")
    if status in TRANSIENT:
        raise BrokenTransferError(f"HTTP status {status}", retry_after_seconds(headers.get("retry-after")))
    raise MissingFileError(f"HTTP status {status}")


def _digest_header(headers: httpx.Headers, *, whole: bool) -> str:
    """The digest of the whole file, if the headers hold one that can be relied on."""
    given = headers.get("repr-digest", "") or headers.get("digest", "")
    if found := re.search(r"sha-256=:?([A-Za-z0-9+/]{43}=)", given, re.IGNORECASE):
        return f"sha256:{base64.b64decode(found[1]).hex()}"
    if found := re.fullmatch(r"[A-Za-z0-9+/]{43}=", headers.get("x-amz-checksum-sha256", "")):
        return f"sha256:{base64.b64decode(found[0]).hex()}"
    if whole and (found := re.fullmatch(r"[A-Za-z0-9+/]{22}==", headers.get("content-md5", ""))):
        return f"md5:{base64.b64decode(found[0]).hex()}"
    # S3 tags an object sent in one piece with its MD5, unless it is encrypted with a key of the owner's
    is_plain_s3 = "x-amz-request-id" in headers and "kms" not in headers.get("x-amz-server-side-encryption", "")
    if is_plain_s3 and (found := re.fullmatch(r'"([0-9a-f]{32})"', headers.get("etag", ""))):
        return f"md5:{found[1]}"
    return ""


def _check(part: Path, announced: Announced, *, thorough: bool) -> None:
    """Compare a finished file with what was announced; one that is wrong is removed. Raises BrokenTransferError."""
    size = _size(part)
    if announced.size_bytes is not None and size < announced.size_bytes:
        raise BrokenTransferError(f"broke off after {size} of {announced.size_bytes} bytes")
    problem = ""
    if announced.size_bytes is not None and size > announced.size_bytes:
        problem = f"{size} bytes instead of {announced.size_bytes}"
    elif announced.digest:
        kind, _, expected = announced.digest.partition(":")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        problem = "" if found == expected else f"{kind} digest differs from the server's"
    if not problem and thorough:
        problem = gzip_problem(part)
    if problem:
        _forget(part)
        raise BrokenTransferError(problem)


def gzip_problem(path: Path) -> str:
    """What is wrong with a gzip file of one or more members; empty if every checksum agrees."""
    try:
        with gzip.open(path) as file:
            while file.read(BLOCK_BYTES):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"broken gzip: {error}"
    return ""


def _release_paths(download: _Download, work: Path) -> list[str]:
    """The paths that the release lists; fetched once per crawl."""
    config = download.config
    listing = work / "paths.txt"
    if not listing.exists():
        path = f"crawl-data/{config.crawl}/{config.kind}.paths.gz"
        part = work / "paths.gz.part"
        try:
            download.file(path, part)
        except MissingFileError as error:
            raise ValueError(f"{config.base_url}/{path}: {error}; is {config.crawl!r} a release?") from error
        with gzip.open(part) as file:
            write_bytes(listing, file.read(MAX_PATHS_BYTES))
    return [line for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]


def _fetch(download: _Download, path: str, target: Path, work: Path) -> str:
    """Download one file to `target`; the reason if that failed."""
    if target.exists():
        return ""
    part = work / f"{target.name}.part"
    try:
        download.file(path, part)
    except (MissingFileError, BrokenTransferError) as error:
        if download.stop.is_set():
            raise
        warn(f"{path}: {error}")
        return str(error)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    return ""


def _origins(wanted: list[str], targets: list[Path]) -> Iterator[dict[str, str]]:
    for path, target in zip(wanted, targets, strict=True):
        if target.exists():
            yield {"file": target.name, "path": path}


def _suffix(config: CommonCrawl) -> str:
    return "warc.gz" if config.kind == "warc" else "warc.wet.gz"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
