"""Pages from WARC and WET files, broken ones included.

In: a file or a folder of them (plain, gzip, zstd or lz4; a member per record or one for all). Out: responses
with their plain bodies, in the order of the files' names and of the records within. Whatever cannot be read is
reported to `on_error` with its place and stepped over: after damage the reader looks for the next place
where a record begins. A record cut short by the end of its file comes out as far as it goes, marked so.
Left out: requests, metadata, and revisits, which repeat an earlier page.
"""

import io
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastwarc.stream_io import GzipReader, Lz4Reader, ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from athanor.data.http_body import plain_body

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Bodies are read up to this size; a larger record is reported and left out."""

_WANTED = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
_SUFFIX = re.compile(r"\.(warc|wet|wat)(\.[a-z]+)*(\.(gz|zst|lz4))?$", re.IGNORECASE)
_RECORD_START = re.compile(rb"WARC/\d\.\d\r?\n[A-Za-z][A-Za-z-]*:")
# First bytes of a compressed member -> suffix of such files, how to read it.
_MEMBERS = {
    b"\x1f\x8b\x08": (".gz", GzipReader),
    b"\x28\xb5\x2f\xfd": (".zst", ZstdReader),
    b"\x04\x22\x4d\x18": (".lz4", Lz4Reader),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One recorded page."""

    url: str
    date: str
    """When it was recorded, ISO 8601 as in the file."""
    status: int | None
    """HTTP status; None for records without HTTP."""
    content_type: str
    """Media type in lower case without parameters; empty where none was given."""
    headers: Mapping[str, str]
    """HTTP headers, names in lower case; of a repeated header the last."""
    body: bytes
    """Without transfer chunks and compression."""
    truncated: bool
    """Whether less was recorded than the server sent or the record announces."""
    is_text: bool
    """Whether the body is text that was extracted before (a WET file), UTF-8."""
    file: str
    """Name of the file it came from, without folders."""
    offset: int
    """Where in the file its record, or the compressed member with it, begins."""


@dataclass(frozen=True, slots=True)
class ReadError:
    """Something that could not be read."""

    file: str
    offset: int
    url: str
    problem: str
    page_kept: bool
    """Whether what could be read of the page came out all the same."""


class Report(Protocol):
    """Takes note of a problem in the file being read."""

    def __call__(self, offset: int, problem: str, url: str = "", page_kept: bool = False) -> None: ...


def read_pages(
    source: Path,
    on_error: Callable[[ReadError], None] | None = None,
    on_record: Callable[[str], None] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Iterator[Page]:
    """The pages of `source`, a file or a folder; the same order every time.

    `on_record` hears the type of every record that is passed, for counting. Raises ValueError when there is no
    such file, and never for what is in it.
    """
    for path in warc_files(source):
        yield from read_file(
            path, path.name, on_error or (lambda _: None), on_record or (lambda _: None), max_body_bytes
        )


def warc_files(source: Path) -> list[Path]:
    """The WARC and WET files under `source`, sorted by their path; `source` itself when it is a file."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder of WARC files")
    found = (path for path in source.rglob("*") if _SUFFIX.search(path.name) and path.is_file())
    hidden = (path for path in found if not any(part[0] in "._" for part in path.relative_to(source).parts))
    return sorted(hidden, key=lambda path: path.relative_to(source).as_posix())


def is_warc(name: str) -> bool:
    """Whether a file of this name is taken for a WARC or WET file."""
    return bool(_SUFFIX.search(name))


def cuts(path: Path, piece_bytes: int) -> list[int]:
    """Places at least `piece_bytes` apart where a file of compressed members can be cut; none in others."""
    if path.stat().st_size <= piece_bytes:
        return []
    found: list[int] = []
    with path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        if not any(content[: len(magic)] == magic for magic in _MEMBERS):
            return []  # the text of a page may look like a record
        place: int | None = 0
        while place is not None and place + piece_bytes < len(content):
            place = _next_record(content, place + piece_bytes, path.name)
            if place is not None:
                found.append(place)
    return found


def read_file(
    path: Path,
    name: str,
    on_error: Callable[[ReadError], None],
    on_record: Callable[[str], None],
    max_body_bytes: int = MAX_BODY_BYTES,
    start: int = 0,
    end: int | None = None,
) -> Iterator[Page]:
    """The pages of one file, which is called `name` in what is told of it.

    Only records that begin at or after byte `start`, one of the file's `cuts`, and before `end`.
    """

    def report(offset: int, problem: str, url: str = "", page_kept: bool = False) -> None:
        on_error(ReadError(name, offset, url, problem, page_kept))

    size = path.stat().st_size
    if not size:
        report(0, "empty file")
        return
    damage: tuple[int, str] | None = None  # noticed, its record not yet met again
    with path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        while True:
            last, last_is_whole = start - 1, True
            try:
                file.seek(start)
                for record in ArchiveIterator(file, parse_http=False, fsspec_args=False):
                    if end is not None and record.stream_pos >= end:
                        break
                    if damage:
                        report(*damage)
                        damage = None
                    last, last_is_whole = record.stream_pos, False
                    on_record(str(record.record_type))
                    if record.record_type & _WANTED:
                        page = _page(record, name, last, report, max_body_bytes)
                        if page:
                            yield page
                    last_is_whole = True
                if damage:
                    report(*damage)
                elif start == 0 and last < 0:
                    report(0, "no record in this file")
                return
            except OSError as error:
                if last < start:  # the first record from here is the damaged one
                    damage = (start, _first_line(error))
                elif last_is_whole:
                    damage = (last, f"after this record: {_first_line(error)}")
                following = _next_record(content, max(last, start) + 1, name)
                if following is not None and end is not None and following >= end:
                    following = None
                if damage and (last < start or following is None):
                    report(*damage)
                    damage = None
                if following is None:
                    return
                start = following


def _page(record: WarcRecord, file: str, offset: int, report: Report, max_body_bytes: int) -> Page | None:
    """The page in `record`; None, with a report, when there is none to be had."""
    url = (record.headers.get("WARC-Target-URI") or "").strip().removeprefix("<").removesuffix(">")
    status: int | None = None
    headers = {"content-type": record.headers.get("Content-Type") or ""}
    if record.record_type == WarcRecordType.response and record.is_http:
        try:
            record.parse_http(quirks_mode=True)
        except OSError as error:
            report(offset, f"no HTTP header: {_first_line(error)}", url)
            return None
        status = record.http_headers.status_code
        if status is None:
            report(offset, "no HTTP header", url)
            return None
        headers = {name.lower(): value for name, value in record.http_headers.items()}
    announced = record.content_length
    try:
        # asking for more than there is costs clearing a buffer of that size
        recorded = record.reader.read(min(max_body_bytes, max(0, announced)) + 1)
    except OSError as error:
        report(offset, _first_line(error), url)
        raise
    if len(recorded) > max_body_bytes:
        report(offset, f"body of more than {max_body_bytes} bytes", url)
        return None
    body, problem = plain_body(recorded, headers, max_body_bytes) if status is not None else (recorded, "")
    if len(recorded) < announced:
        problem = f"record cut short: {len(recorded)} of {announced} bytes"
    if problem:
        report(offset, problem, url, bool(body))
        if not body:
            return None
    return Page(
        url=url,
        date=record.headers.get("WARC-Date") or "",
        status=status,
        content_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        headers=headers,
        body=body,
        truncated=bool(problem) or record.headers.get("WARC-Truncated") is not None,
        is_text=record.record_type == WarcRecordType.conversion,
        file=file,
        offset=offset,
    )


def _next_record(content: mmap.mmap, start: int, name: str) -> int | None:
    """The first place at or after `start` where a record, or a compressed member that holds one, begins."""
    magic = next((magic for magic, (suffix, _) in _MEMBERS.items() if name.lower().endswith(suffix)), None)
    magic = next((magic for magic in _MEMBERS if content[: len(magic)] == magic), magic)
    if magic is None or content[:5] == b"WARC/":
        found = _RECORD_START.search(content, start)
        return found.start() if found else None
    while (place := content.find(magic, start)) != -1:
        try:
            if _MEMBERS[magic][1](io.BytesIO(content[place : place + 65536])).read(5) == b"WARC/":
                return place
        except OSError:
            pass  # the same bytes by chance
        start = place + 1
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
