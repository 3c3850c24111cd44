"""Recorded pages from whatever holds them, here or elsewhere, in pieces of work of like size.

In: a folder, or addresses: WARC and WET files, HTML files, folders of either, lists of WARC files as Common Crawl
publishes them (`warc.paths.gz`). Out: pieces, each a stretch of one WARC file or some HTML files, and their pages. What
is cut where depends on the files alone, never on the number of workers.
"""

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from athanor.core.sources import MissingSourceError, Source, is_remote, local_copy, sources
from athanor.data.html_files import MAYBE, SUFFIX, address_of, is_html, read_html_file
from athanor.data.warc import Page, ReadError, cuts, is_warc, read_file, warc_files

PIECE_BYTES = 4 * 1024 * 1024
"""Smallest piece of a WARC file worth its own unit of work."""
PIECES = 64
"""A file is not cut finer than into this share of all files together: many files make pieces enough."""
TOGETHER_BYTES = 16 * 1024 * 1024
TOGETHER_FILES = 2000
"""HTML files are worked on together up to these bounds."""

_LIST = re.compile(r"\.paths(\.gz)?$", re.IGNORECASE)
_WARC = re.compile(r"\.(warc|wet|wat)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a WARC file, or an HTML file."""

    source: Source
    name: str
    """What the file is called in what is told of it."""
    url: str = ""
    """The address of an HTML file; empty for WARC files."""
    start: int = 0
    end: int | None = None
    size_bytes: int = 0


def parts_of_folder(source: Path, html_base: str) -> list[list[Piece]]:
    """The pieces of work in a folder of WARC files, or of HTML files where it has none of those, or in one file.

    Raises ValueError when there is nothing.
    """
    if source.is_file() and SUFFIX.search(source.name):
        return _together([_html_piece(Source(str(source), source.stat().st_size), source.name, "", html_base)])
    warcs = warc_files(source)
    if warcs:
        return _cut([Source(str(path), path.stat().st_size) for path in warcs])
    pages = [
        _html_piece(Source(str(path), path.stat().st_size), path.relative_to(source).as_posix(), str(source), html_base)
        for path in sorted(source.rglob("*"))
        if not any(part[0] in "._" for part in path.relative_to(source).parts)
        and path.is_file()
        and (SUFFIX.search(path.name) or (MAYBE.search(path.name) and is_html(path)))
    ]
    if not pages:
        raise ValueError(f"{source}: no WARC files (*.warc, *.warc.gz, *.wet.gz, ...) and no HTML files here or below")
    return _together(pages)


def parts_of_addresses(paths: Sequence[str], html_base: str, scratch: Path) -> list[list[Piece]]:
    """The pieces of work at addresses, WARC files first. Raises ValueError when there is nothing."""
    lists = [path for path in paths if _LIST.search(path)]
    files = [source for path in lists for source in _listed(path, scratch)]
    named = [path for path in paths if path not in lists]
    wanted = re.compile(f"{_WARC.pattern}|{SUFFIX.pattern}|{MAYBE.pattern}", re.IGNORECASE)
    found = sources(named, wanted) if named else []
    pages = [file for file in found if not is_warc(file.name) and _is_html(file)]
    files += [file for file in found if is_warc(file.name) or (file.address in named and file not in pages)]
    if not files and not pages:
        raise ValueError(f"{', '.join(paths)}: no WARC files and no HTML files")
    folders = [path.rstrip("/") for path in named]
    return _cut(files) + _together([_placed(file, folders, html_base) for file in pages])


def read_piece(
    piece: Piece,
    scratch: Path,
    on_error: Callable[[ReadError], None],
    on_record: Callable[[str], None],
    max_body_bytes: int,
) -> Iterator[Page]:
    """The pages of one piece; a remote file is fetched into `scratch` for the time."""
    try:
        with local_copy(piece.source, scratch) as path:
            if not piece.url:
                yield from read_file(path, piece.name, on_error, on_record, max_body_bytes, piece.start, piece.end)
                return
            on_record("html")
            page = read_html_file(path, piece.name, piece.url, on_error, max_body_bytes)
            if page:
                yield page
    except (MissingSourceError, FileNotFoundError, PermissionError) as error:
        on_error(ReadError(piece.name, 0, piece.source.address, f"not to be had: {error}", page_kept=False))


def _cut(files: Sequence[Source]) -> list[list[Piece]]:
    """WARC files, those that are large beside the others in pieces."""
    piece_bytes = max(PIECE_BYTES, sum(file.size_bytes for file in files) // PIECES)
    parts: list[list[Piece]] = []
    for file in files:
        places = [] if is_remote(file.address) else cuts(Path(file.address), piece_bytes)
        for start, end in zip([0, *places], [*places, None], strict=True):
            size = (file.size_bytes if end is None else end) - start
            parts.append([Piece(file, file.name, "", start, end, size)])
    return parts


def _together(pages: Sequence[Piece]) -> list[list[Piece]]:
    """HTML files in groups."""
    parts: list[list[Piece]] = []
    held = 0
    for piece in pages:
        if not parts or held + piece.size_bytes > TOGETHER_BYTES or len(parts[-1]) == TOGETHER_FILES:
            parts.append([])
            held = 0
        parts[-1].append(piece)
        held += piece.size_bytes
    return parts


def _placed(file: Source, folders: Sequence[str], html_base: str) -> Piece:
    """An HTML file with the address that its place below one of `folders` gives it."""
    if file.address.lower().startswith(("http://", "https://")):
        return Piece(file, file.name, file.address, size_bytes=file.size_bytes)
    path = _without_protocol(file.address)
    folder = next((name for name in map(_without_protocol, folders) if path.startswith(f"{name}/")), "")
    return _html_piece(file, path[len(folder) :].lstrip("/"), folder, html_base)


def _without_protocol(address: str) -> str:
    return address.partition("://")[2].lstrip("/") if is_remote(address) else address.removeprefix("file://")


def _html_piece(file: Source, relative: str, folder: str, html_base: str) -> Piece:
    return Piece(file, relative, address_of(relative, folder, html_base), size_bytes=file.size_bytes)


def _is_html(file: Source) -> bool:
    if SUFFIX.search(file.name):
        return True
    return not is_remote(file.address) and is_html(Path(file.address.removeprefix("file://")))


def _listed(address: str, scratch: Path) -> Iterator[Source]:
    """The files that a list names, one a line; paths are those below the place that holds `crawl-data`."""
    (source,) = sources([address])
    with local_copy(source, scratch) as path:
        content = path.read_bytes()
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    root = address.partition("crawl-data/")[0] if "crawl-data/" in address else address[: -len(source.name)]
    for line in text.splitlines():
        if line.strip():
            yield Source(line.strip() if is_remote(line) or line.startswith("/") else root + line.strip())
