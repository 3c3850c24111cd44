"""Writing WARC/1.1 files, gzip per record (ISO 28500), so that a kill leaves nothing half written.

A page becomes a request and a response record with block and payload digests. As in Common Crawl's files
the content is stored decoded: headers that no longer describe it are kept under an `X-Crawler-` name.
Reading is the business of `athanor.data`; this side only writes, and links files that are already there.
"""

import base64
import gzip
import hashlib
import io
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from fastwarc import WarcRecord, WarcRecordType

from athanor.crawl.fetch import Response

SUFFIXES = (".warc.gz", ".warc", ".warc.zst", ".warc.lz4", ".wet.gz", ".wet", ".wet.zst")
_STALE_HEADERS = frozenset({b"content-encoding", b"transfer-encoding", b"content-length"})


def page_records(response: Response) -> bytes:
    """`response` and the request that led to it as two compressed WARC records, ready to append to a file."""
    response_id, request_id = (f"<urn:uuid:{uuid.uuid4()}>" for _ in range(2))
    date = _warc_date(response.date)
    headers = [
        (b"X-Crawler-" + key if key.lower() in _STALE_HEADERS else key, value) for key, value in response.headers
    ]
    headers.append((b"Content-Length", b"%d" % len(response.body)))
    head = response.status_line.encode("latin-1", errors="replace") + b"\r\n"
    head += b"".join(key + b": " + value + b"\r\n" for key, value in headers) + b"\r\n"
    shared = {"WARC-Target-URI": response.url, "WARC-Date": date, "WARC-IP-Address": response.address}
    answered = _record(
        WarcRecordType.response,
        head + response.body,
        {
            **shared,
            "WARC-Record-ID": response_id,
            "Content-Type": "application/http; msgtype=response",
            "WARC-Payload-Digest": _digest(response.body),
        },
    )
    asked = _record(
        WarcRecordType.request,
        response.request,
        {
            **shared,
            "WARC-Record-ID": request_id,
            "WARC-Concurrent-To": response_id,
            "Content-Type": "application/http; msgtype=request",
            "WARC-Payload-Digest": _digest(b""),
        },
    )
    return asked + answered


@dataclass(frozen=True)
class Position:
    """How far a folder of WARC files is written."""

    number: int = 0
    """The open file."""
    size_bytes: int = 0
    """Its length."""
    content_bytes: int = 0
    """Page content in it, uncompressed; equal pages give equal counts, whatever the compressor and the date."""


class WarcWriter:
    """Appends records to numbered files in `folder`; a file is there under its final name only when complete.

    The caller keeps `position` somewhere safe after each `append`. A writer opened at a position forgets
    whatever was written after it, so that a kill between the two never doubles or halves a record.
    """

    def __init__(self, folder: Path, work: Path, max_bytes: int, user_agent: str, position: Position) -> None:
        self.folder, self.work, self.max_bytes, self.user_agent = folder, work, max_bytes, user_agent
        self.position = position
        if self._final.exists():  # killed between giving the file its name and keeping the position
            self._final.replace(self._open_path)
        size = position.size_bytes
        if size and (not self._open_path.exists() or self._open_path.stat().st_size < size):
            raise ValueError(f"{self._open_path}: shorter than recorded; remove {work} to crawl from the start")
        self._file = self._open_path.open("r+b" if self._open_path.exists() else "w+b")
        self._file.truncate(size)
        self._file.seek(size)

    def append(self, records: bytes, content_bytes: int) -> None:
        """Write compressed records that hold `content_bytes` of content; begins the next file if this one is full."""
        if self.position.content_bytes >= self.max_bytes:
            self.finish()
            self.position = Position(self.position.number + 1)
            self._file = self._open_path.open("w+b")
        if self.position.size_bytes == 0:
            records = _warcinfo(self._final.name, self.user_agent) + records
        self._file.write(records)
        self._file.flush()
        at = self.position
        self.position = Position(at.number, at.size_bytes + len(records), at.content_bytes + content_bytes)

    def finish(self) -> None:
        """Close the open file and give it its name; a file without records is removed."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self.position.size_bytes:
            self._open_path.replace(self._final)
        else:
            self._open_path.unlink()

    def close(self) -> None:
        """Close the open file as it is, to be continued."""
        self._file.close()

    @property
    def _final(self) -> Path:
        return self.folder / f"{self.position.number:05d}.warc.gz"

    @property
    def _open_path(self) -> Path:
        return self.work / f"{self.position.number:05d}.warc.gz"


def link_files(files: Sequence[Path], out: Path) -> list[Path]:
    """Link WARC files that are already there into `out` under numbered names; returns the links.

    Raises ValueError for a file whose name does not end like a WARC file's.
    """
    links = []
    for number, file in enumerate(files):
        suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), None)
        if suffix is None:
            raise ValueError(f"{file}: not named like a WARC file; expected a name ending in {', '.join(SUFFIXES)}")
        link = out / f"{number:05d}{suffix}"
        if link.is_symlink() or link.exists():
            link.unlink()
        link.symlink_to(file.resolve())
        links.append(link)
    return links


def _warcinfo(name: str, user_agent: str) -> bytes:
    fields = (
        f"software: athanor/{version('athanor')}\r\n"
        "format: WARC File Format 1.1\r\n"
        "conformsTo: https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
        f"http-header-user-agent: {user_agent}\r\n"
    )
    return _record(
        WarcRecordType.warcinfo, fields.encode(), {"WARC-Filename": name, "Content-Type": "application/warc-fields"}
    )


def _record(kind: WarcRecordType, content: bytes, headers: dict[str, str]) -> bytes:
    record = WarcRecord()
    record.init_headers(kind)
    for key, value in headers.items():
        record.headers.set(key, value)
    record.headers.set("WARC-Block-Digest", _digest(content))
    record.set_bytes_content(content)
    plain = io.BytesIO()
    record.write(plain)
    return gzip.compress(plain.getvalue(), compresslevel=6, mtime=0)


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()  # the form every archive uses


def _warc_date(date: datetime) -> str:
    return date.strftime("%Y-%m-%dT%H:%M:%SZ")
