"""Documents from recorded pages: the first step of the data stage.

In: `pages`, a folder of WARC or WET files. Out: `documents/`, sorted by address in shards of bounded size so
that the order of the crawl does not matter; `removed/`, the pages that gave none, with the reason; and
`errors.jsonl`, what could not be read and where. Of pages with the same address the earliest is kept.
"""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.core.console import warn
from athanor.core.documents import (
    Document,
    Removed,
    read_documents,
    read_removed,
    shard_name,
    write_removed_shard,
    write_shard,
)
from athanor.core.workers import map_shards
from athanor.data.charset import decoded
from athanor.data.config import Extract
from athanor.data.html_text import Method, html_to_text, tidied
from athanor.data.limited import CallFailed, Limited
from athanor.data.url import normalized
from athanor.data.warc import Page, ReadError, read_pages, warc_files

T = TypeVar("T")

RUN_DOCUMENTS = 256
"""Documents per shard of a sorted run; merging holds this many of each WARC file in memory."""

HTML_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class BodyText:
    """What the body of a page says, and the encoding it was read in."""

    title: str
    text: str
    encoding: str


def run(config: Extract, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Extract every page of `inputs["pages"]` into `out`; returns the counts."""
    source = inputs["pages"]
    files = warc_files(source)
    if not files:
        raise ValueError(f"{source}: no WARC files (*.warc, *.warc.gz, *.wet.gz, ...) here or below")
    _try_out(config)
    runs = out / WORK / "runs"
    one_file = partial(_extract_file, config=config, source=source, runs=runs)
    counts = map_shards(
        one_file, files, workers=config.workers, done=out / WORK / "extracted", label="extract", unit="files"
    )

    folders = [runs / _run_name(path, source) for path in files]
    write_jsonl(
        out / "errors.jsonl", itertools.chain.from_iterable(read_jsonl(run / "errors.jsonl") for run in folders)
    )
    repeated: list[Removed] = []
    merged = _first_of_each_address([read_documents(run / "documents") for run in folders], repeated.append)
    documents, bytes_text = _write_shards(merged, out / "documents", config.shard_bytes)
    repeated.sort(key=lambda row: _key(row.document))
    rejected = heapq.merge(
        *(read_removed(run / "removed") for run in folders), repeated, key=lambda row: _key(row.document)
    )
    removed = _write_removed(rejected, out / "removed")
    if not documents:
        warn(f"extract: none of {sum(count['pages'] for count in counts)} pages gave a document; see {out}/removed")
    return {
        "files": len(files),
        "records": sum(sum(count["records"].values()) for count in counts),
        "record_types": dict(sorted(sum((Counter(count["records"]) for count in counts), Counter()).items())),
        "pages": sum(count["pages"] for count in counts),
        "documents": documents,
        "bytes_html": sum(count["bytes_html"] for count in counts),
        "bytes_text": bytes_text,
        "removed": dict(sorted(removed.items())),
        "errors": sum(count["errors"] for count in counts),
        "encodings": dict(sorted(sum((Counter(count["encodings"]) for count in counts), Counter()).items())),
    }


def _try_out(config: Extract) -> None:
    """Raise ValueError now for settings under which every page would fail."""
    try:
        html_to_text("<p>text</p>", config.method, config.main_content, config.skip)
    except Exception as error:
        raise ValueError(f"extract: cannot work with method={config.method!r}, skip={config.skip}: {error}") from error


def _extract_file(path: Path, config: Extract, source: Path, runs: Path) -> dict[str, Any]:
    """One sorted run of documents from one WARC file; the counts."""
    folder = runs / _run_name(path, source)
    documents: list[Document] = []
    rejected: list[Removed] = []
    errors: list[ReadError] = []
    records: Counter[str] = Counter()
    pages = bytes_html = 0

    def wanted_pages() -> Iterator[tuple[Page, tuple[Any, ...]]]:
        nonlocal pages, bytes_html
        for page in read_pages(path, errors.append, lambda kind: records.update([kind]), config.max_body_bytes):
            pages += 1
            bytes_html += len(page.body)
            if reason := _unwanted(page, config):
                rejected.append(_rejected(page, reason))
            else:
                yield page, _arguments(page, config)

    for page, found in _texts(wanted_pages(), config):
        document = _document(page, found)
        documents.append(document) if isinstance(document, Document) else rejected.append(document)
    documents.sort(key=_key)
    rejected.sort(key=lambda row: _key(row.document))
    for index, batch in enumerate(_batches(documents, RUN_DOCUMENTS)):
        write_shard(folder / "documents" / shard_name(index), batch)
    write_removed_shard(folder / "removed" / shard_name(0), rejected)
    (folder / "documents").mkdir(exist_ok=True)
    write_jsonl(folder / "errors.jsonl", (asdict(error) for error in errors))
    return {
        "pages": pages,
        "records": dict(records),
        "bytes_html": bytes_html,
        "errors": len(errors),
        "encodings": dict(Counter(document.metadata["encoding"] for document in documents)),
    }


def _texts(
    pages: Iterable[tuple[Page, tuple[Any, ...]]], config: Extract
) -> Iterator[tuple[Page, BodyText | CallFailed]]:
    """What each page says, or why it cannot be told: in a helper process if there is a time limit."""
    if config.time_limit_seconds is None:
        for page, arguments in pages:
            try:
                yield page, body_text(*arguments)
            except Exception as error:  # one page must not stop the others
                yield page, CallFailed(f"{type(error).__name__}: {error}")
        return
    with Limited(body_text, config.time_limit_seconds) as limited:
        yield from limited.each(pages)


def body_text(
    body: bytes, kind: str, content_type: str, method: Method, main_content: bool, skip: tuple[str, ...]
) -> BodyText:
    """The text of a body: `kind` is "wet" (text in UTF-8), "plain" or "html"; `content_type` the header's value."""
    if kind == "wet":
        return BodyText("", tidied(body.decode("utf-8", errors="replace")), "utf-8")
    characters, encoding = decoded(body, content_type)
    if kind == "plain":
        return BodyText("", tidied(characters.expandtabs(8)), encoding)
    page = html_to_text(characters, method, main_content, skip)
    return BodyText(page.title, page.text, encoding)


def document_of(page: Page, config: Extract, to_text: Callable[..., BodyText] = body_text) -> Document | Removed:
    """The document in `page`, or the page as removed with the reason it gave none."""
    if reason := _unwanted(page, config):
        return _rejected(page, reason)
    try:
        return _document(page, to_text(*_arguments(page, config)))
    except CallFailed as failure:
        return _document(page, failure)


def _arguments(page: Page, config: Extract) -> tuple[Any, ...]:
    """What `body_text` needs to know of a page."""
    kind = "wet" if page.is_text else "plain" if page.content_type == "text/plain" else "html"
    return page.body, kind, page.headers.get("content-type", ""), config.method, config.main_content, config.skip


def _document(page: Page, found: BodyText | CallFailed) -> Document | Removed:
    if isinstance(found, CallFailed):
        kind = str(found).partition(":")[0]
        return _rejected(page, kind if kind == "time limit" else f"extraction failed: {kind}")
    if not found.text.strip():
        return _rejected(page, "no text")
    metadata: dict[str, Any] = {"title": found.title, "encoding": found.encoding}
    if page.truncated:
        metadata["truncated"] = True
    return Document(
        id=_id(page.url, found.text), url=page.url, text=found.text, source=_host(page.url), date=page.date,
        metadata=metadata,
    )  # fmt: skip


def _unwanted(page: Page, config: Extract) -> str:
    """Why a page is not even looked at; empty when it is."""
    if not page.url:
        return "no address"
    if page.status is not None and not 200 <= page.status < 300:
        return f"status {page.status}"
    if page.is_text or page.content_type in HTML_TYPES or (page.content_type == "text/plain" and config.plain_text):
        return ""
    if not page.content_type and page.body.lstrip()[:1] == b"<":
        return ""
    return f"content type {page.content_type or 'unknown'}"


def _rejected(page: Page, reason: str) -> Removed:
    document = Document(_id(page.url, reason), page.url, "", _host(page.url), page.date)
    return Removed(document, removed_by="extract", reason=reason)


def _id(url: str, text: str) -> str:
    """The same page with the same text has the same id in every run."""
    return hashlib.sha256(f"{url}\n{text}".encode(errors="replace")).hexdigest()[:16]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _key(document: Document) -> tuple[str, str, str]:
    """Order of documents: by address, of the same address the earliest first."""
    return normalized(document.url), document.date, document.id


def _run_name(path: Path, source: Path) -> str:
    relative = path.name if path == source else path.relative_to(source).as_posix()
    return hashlib.sha256(relative.encode()).hexdigest()[:16]


def _first_of_each_address(runs: list[Iterator[Document]], on_repeat: Callable[[Removed], None]) -> Iterator[Document]:
    """Sorted runs merged into one, each address once."""
    address = None
    for document in heapq.merge(*runs, key=_key):
        this = normalized(document.url)
        if this == address:
            on_repeat(Removed(document, removed_by="extract", reason="repeated address"))
        else:
            address = this
            yield document


def _write_shards(documents: Iterable[Document], folder: Path, shard_bytes: int) -> tuple[int, int]:
    """Write `documents` in shards of about `shard_bytes` of text; how many, and their bytes. At least one shard."""
    batch: list[Document] = []
    index = batch_bytes = total = total_bytes = 0
    for document in documents:
        batch.append(document)
        batch_bytes += len(document.text.encode())
        if batch_bytes >= shard_bytes:
            write_shard(folder / shard_name(index), batch)
            total, total_bytes, index = total + len(batch), total_bytes + batch_bytes, index + 1
            batch, batch_bytes = [], 0
    if batch or not index:
        write_shard(folder / shard_name(index), batch)
    return total + len(batch), total_bytes + batch_bytes


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch


def _write_removed(rows: Iterable[Removed], folder: Path) -> Counter[str]:
    """Write removed pages in shards; how many for each reason."""
    reasons: Counter[str] = Counter()
    for index, batch in enumerate(_batches(rows, 10_000)):
        reasons.update(row.reason for row in batch)
        write_removed_shard(folder / shard_name(index), batch)
    folder.mkdir(exist_ok=True)
    return reasons
