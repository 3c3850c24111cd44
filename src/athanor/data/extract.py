"""Documents from recorded pages: the first step of the data stage.

In: `pages`, a folder of WARC, WET or HTML files, or the config's `paths`, here or elsewhere. Out: `documents/`, sorted
by address in shards of bounded size so that the order of the crawl does not matter; `removed/`, the pages that
gave none, with the reason; and `errors.jsonl`, what could not be read and where. Of pages with the same address
the earliest is kept. Memory does not grow with the input.
"""

import hashlib
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from athanor.core.artifact import WORK, atomic_path, read_json, read_jsonl, write_json, write_jsonl
from athanor.core.console import warn
from athanor.core.documents import (
    Document,
    Removed,
    gather_shards,
    shard_name,
    write_removed_shard,
    write_shard,
    write_shards,
)
from athanor.core.sources import Source
from athanor.core.workers import map_shards
from athanor.data.charset import decoded
from athanor.data.config import Extract
from athanor.data.describe import Description
from athanor.data.html_text import Method, html_to_text, tidied
from athanor.data.limited import CallFailed, Limited
from athanor.data.pages import Piece, parts_of_addresses, parts_of_folder, read_piece
from athanor.data.sorted_runs import (
    RunWriter,
    address_ranges,
    documents_between,
    merge_runs,
    removed_between,
    removed_key,
)
from athanor.data.warc import Page, ReadError

T = TypeVar("T")

REMOVED_ROWS = 10_000
"""Rows per shard of removed pages."""

_helpers: dict[float, Limited[..., "BodyText"]] = {}
"""Helper processes of this process by their time limit; they serve one piece of work after another."""

HTML_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class BodyText:
    """What the body of a page says, and the encoding it was read in."""

    title: str
    text: str
    encoding: str


def run(config: Extract, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Extract every page of `inputs["pages"]`, or of the config's paths, into `out`; returns the counts."""
    _try_out(config)
    work = out / WORK
    parts = _parts(config, inputs.get("pages"), work)
    described = [read_json(part) for part in parts]
    sizes = [sum(piece["size_bytes"] for piece in pieces) for pieces in described]
    try:
        counts = map_shards(
            partial(_extract_part, config=config, work=work),
            parts,
            workers=config.workers,
            done=work / "extracted",
            label="extract",
            unit="parts",
            sizes=sizes,
        )
    finally:
        while _helpers:
            _helpers.popitem()[1].close()
    write_jsonl(
        out / "errors.jsonl",
        itertools.chain.from_iterable(read_jsonl(work / "runs" / part.stem / "errors.jsonl") for part in parts),
    )
    runs = merge_runs([run for count in counts for run in count["runs"]], work / "merged", config.workers)
    merged = _write_ranges(runs, config, work)
    folders = [work / "ranges" / f"{number:05d}" for number in range(len(merged))]
    for kind in ("documents", "removed"):
        pairs = [(folder / kind, count[kind]["shards"]) for folder, count in zip(folders, merged, strict=True)]
        if not gather_shards(pairs, out / kind) and kind == "documents":
            write_shard(out / kind / shard_name(0), [])
    documents = sum(count["documents"]["rows"] for count in merged)
    if not documents:
        warn(f"extract: none of {sum(count['pages'] for count in counts)} pages gave a document; see {out}/removed")
    return {
        "files": len({piece["source"]["address"] for pieces in described for piece in pieces}),
        "bytes_in": sum(sizes),
        "records": sum(sum(count["records"].values()) for count in counts),
        "record_types": _summed(count["records"] for count in counts),
        "pages": sum(count["pages"] for count in counts),
        "documents": documents,
        "bytes_html": sum(count["bytes_html"] for count in counts),
        "bytes_text": sum(count["documents"]["bytes_text"] for count in merged),
        "removed": _summed(count["removed"]["reasons"] for count in merged),
        "errors": sum(count["errors"] for count in counts),
        "encodings": _summed(count["encodings"] for count in counts),
        "described": Description.of(count["described"] for count in merged).metric(),
    }


def _parts(config: Extract, pages: Path | None, work: Path) -> list[Path]:
    """One file for each piece of work; listed once, so that a run that continues does the same."""
    if (pages is None) == (not config.paths):
        raise ValueError("extract: give either pages (a folder, a step) or paths (files, folders, patterns, URLs)")
    listed, folder = work / "listed.json", work / "described"
    if not listed.exists():
        parts = (
            parts_of_folder(pages, config.html_base)
            if pages is not None
            else parts_of_addresses(config.paths, config.html_base, work / "fetched")
        )
        for index, pieces in enumerate(parts):
            write_json(folder / f"{index:05d}.json", [asdict(piece) for piece in pieces])
        write_json(listed, len(parts))
    return [folder / f"{index:05d}.json" for index in range(read_json(listed))]


def _try_out(config: Extract) -> None:
    """Raise ValueError now for settings under which every page would fail."""
    try:
        html_to_text("<p>text</p>", config.method, config.main_content, config.skip)
    except Exception as error:
        raise ValueError(f"extract: cannot work with method={config.method!r}, skip={config.skip}: {error}") from error


def _extract_part(part: Path, config: Extract, work: Path) -> dict[str, Any]:
    """Sorted runs of documents from one piece of work; the counts, and where the runs are."""
    folder = work / "runs" / part.stem
    folder.mkdir(parents=True, exist_ok=True)
    records: Counter[str] = Counter()
    encodings: Counter[str] = Counter()
    runs = RunWriter(folder)
    pages = bytes_html = errors = 0

    with atomic_path(folder / "errors.jsonl") as temporary, temporary.open("w", encoding="utf-8") as listed:

        def report(error: ReadError) -> None:
            nonlocal errors
            errors += 1
            listed.write(json.dumps(asdict(error), ensure_ascii=False) + "\n")

        def wanted_pages() -> Iterator[tuple[Page, tuple[Any, ...]]]:
            nonlocal pages, bytes_html
            for values in read_json(part):
                piece = Piece(**{**values, "source": Source(**values["source"])})
                for page in read_piece(
                    piece, work / "fetched", report, lambda kind: records.update([kind]), config.max_body_bytes
                ):
                    pages += 1
                    bytes_html += len(page.body)
                    if reason := _unwanted(page, config):
                        runs.add(_rejected(page, reason))
                    else:
                        yield page, _arguments(page, config)

        for page, found in _texts(wanted_pages(), config):
            document = _document(page, found)
            runs.add(document)
            if isinstance(document, Document):
                encodings[document.metadata["encoding"]] += 1
        runs.close()
    return {
        "pages": pages,
        "records": dict(records),
        "bytes_html": bytes_html,
        "errors": errors,
        "encodings": dict(encodings),
        "runs": runs.runs,
    }


def _write_ranges(runs: list[str], config: Extract, work: Path) -> list[dict[str, Any]]:
    """Write what is kept and removed, sorted by address, range by range; the counts of each."""
    described, ranges = work / "ranges.json", work / "ranges"
    if not described.exists():
        found = address_ranges(runs)
        for number, (first, end) in enumerate(found):
            write_json(ranges / f"{number:05d}.json", {"runs": runs, "first": first, "end": end})
        write_json(described, len(found))
    paths = [ranges / f"{number:05d}.json" for number in range(read_json(described))]
    return map_shards(
        partial(_write_range, shard_bytes=config.shard_bytes),
        paths,
        workers=config.workers,
        done=work / "sorted",
        label="sort",
        unit="ranges",
    )


def _write_range(described: Path, shard_bytes: int) -> dict[str, Any]:
    """The shards of documents with addresses in one range, and of those removed; the counts."""
    given = read_json(described)
    runs, first, end = given["runs"], given["first"], given["end"]
    folder = described.with_suffix("")
    repeated: list[Removed] = []
    documents = documents_between(runs, first, end, lambda row: repeated.append(_repeated(row)))
    counted = Description()
    shards, number, bytes_text = write_shards(folder / "documents", counted.seen(documents), shard_bytes)
    repeated.sort(key=removed_key)
    reasons: Counter[str] = Counter()
    index = 0
    rejected = heapq.merge(removed_between(runs, first, end), repeated, key=removed_key)
    for index, batch in enumerate(_batches(rejected, REMOVED_ROWS), start=1):
        reasons.update(row.reason for row in batch)
        write_removed_shard(folder / "removed" / shard_name(index - 1), batch)
    return {
        "documents": {"shards": shards, "rows": number, "bytes_text": bytes_text},
        "removed": {"shards": index, "reasons": dict(reasons)},
        "described": counted.counts(),
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
    if config.time_limit_seconds not in _helpers:
        _helpers[config.time_limit_seconds] = Limited(body_text, config.time_limit_seconds)
    limited = _helpers[config.time_limit_seconds]
    try:
        yield from limited.each(pages)
    except BaseException:
        limited.close()  # with answers that nobody took
        raise


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


def _repeated(document: Document) -> Removed:
    return Removed(document, removed_by="extract", reason="repeated address")


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch
