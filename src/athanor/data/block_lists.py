"""Block lists of addresses, read in the formats in which they are published.

In: files. Out: hosts, pages and paths as sorted 64-bit hashes, each with the category it is blocked for, and a few
words. Every line is told by its form, so that formats may be mixed:

    domain casino.example              own format: this host and every host under it
    url    http://a.example/b.html     exactly this page
    path   a.example/adult             this path and everything under it
    word   porn                        a word of the address, between characters that are no letters or digits
    soft   adult                       like word, but only `soft_words` different ones together remove a page
    part   xxxvideo                    anywhere in the letters and digits of the address
    category adult                     what the following entries are blocked for

    casino.example  .casino.example    plain lists; `domains` of squidGuard and of the lists of Toulouse (UT1)
    a.example/adult                    `urls` of the same
    0.0.0.0 casino.example             hosts files
    ||casino.example^                  Adblock, without options, or with `document` or `all` among them

The category is the name of the folder for files called `domains` and `urls`, else the name of the file. Other rules of
Adblock (exceptions, elements, parts of pages) and regular expressions are counted as skipped. Files may be gzip.

Five million hosts take 50 MB. What was read from large files is kept in a cache folder (ATHANOR_CACHE, else
~/.cache/athanor) and mapped into memory, once for all workers of a machine.
"""

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from athanor.data.address import Address, address, ascii_host
from athanor.data.host_hashes import Categories, Hashes, Listed, all_lines, hash_hosts, hashes_of, sorted_set

CACHED_FROM_BYTES = 1 << 20  # smaller lists are read faster than they are found in the cache
READ_BYTES = 1 << 24
VERSION = 1  # of the cache; raised when the same files are read differently
SETS = ("domains", "urls", "paths")
LEFT_OUT_FILES = ("expressions", "very_restrictive_expression", "usage")  # of squidGuard's folders
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_ADDRESS_BEFORE_HOSTS = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*::?[0-9a-f:]*)\s+(.+)$")
_HOST = re.compile(r"[^\s/?#@:,|^*$]+\.[^\s/?#@:,|^*$]+")
_OWN = ("domain", "url", "path", "word", "soft", "part", "category")


@dataclass(frozen=True)
class BlockLists:
    """The entries of all lists."""

    categories: tuple[str, ...]
    domains: Listed
    urls: Listed
    """Pages, as `Address.page`."""
    paths: Listed
    """Beginnings of pages, at a slash."""
    words: dict[str, str]
    """Word -> category."""
    soft: dict[str, str]
    parts: dict[str, str]
    skipped: int = 0
    """Lines of kinds that are not applied."""


@dataclass
class _Reading:
    """What was read so far."""

    hashes: dict[str, list[Hashes]] = field(default_factory=lambda: {name: [] for name in SETS})
    numbers: dict[str, list[Categories]] = field(default_factory=lambda: {name: [] for name in SETS})
    categories: list[str] = field(default_factory=list)
    words: dict[str, dict[str, str]] = field(default_factory=lambda: {"word": {}, "soft": {}, "part": {}})
    skipped: int = 0

    def add(self, name: str, hashes: Hashes, category: str) -> None:
        if category not in self.categories:
            self.categories.append(category)
        self.hashes[name].append(hashes)
        self.numbers[name].append(np.full(len(hashes), self.categories.index(category), np.uint16))


def read_block_lists(paths: Sequence[Path]) -> BlockLists:
    """The entries of `paths`, from the cache if it has them; the first of two equal ones counts.

    Raises ValueError naming a line that is no entry of any format.
    """
    stats = [path.stat() for path in paths]
    if sum(stat.st_size for stat in stats) < CACHED_FROM_BYTES:
        return _read(paths)
    key = [VERSION, *([str(p.resolve()), s.st_size, s.st_mtime_ns] for p, s in zip(paths, stats, strict=True))]
    folder = _cache_folder() / "blocklists" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    if not folder.is_dir():
        read = _read(paths)
        try:
            _keep(read, folder)
        except OSError:  # nowhere to keep it: each process reads the lists
            return read
    return _kept(folder)


def _read(paths: Sequence[Path]) -> BlockLists:
    reading = _Reading()
    for path in paths:
        if path.name.removesuffix(".gz") in LEFT_OUT_FILES:
            continue
        _read_file(path, reading)
    domains, urls, pages = (sorted_set(reading.hashes[name], reading.numbers[name]) for name in SETS)
    words = reading.words
    return BlockLists(
        tuple(reading.categories), domains, urls, pages, words["word"], words["soft"], words["part"], reading.skipped
    )


def _read_file(path: Path, reading: _Reading) -> None:
    name = path.name.removesuffix(".gz")
    category = path.resolve().parent.name if name in ("domains", "urls") else name.split(".", 1)[0]
    lines_before = 0
    for block in _blocks(path):
        data = np.frombuffer(block, np.uint8)
        num_lines = block.count(b"\n") + 1
        hashes, others = np.empty(num_lines, np.uint64), np.empty((num_lines, 3), np.int64)
        if _has_own_categories(block):  # a category holds for the lines below it, so these are read in order
            num_plain, num_others = 0, all_lines(data, others)
        else:
            num_plain, num_others = hash_hosts(data, hashes, others)
        reading.add("domains", hashes[:num_plain], category)
        for start, end, number in others[:num_others].tolist():
            line = block[start:end].decode("utf-8", "replace").strip()
            try:
                category = _read_line(line, category, reading)
            except ValueError as error:
                raise ValueError(f"{path}: line {lines_before + number + 1}: {error}") from None
        lines_before += block.count(b"\n")


def _has_own_categories(block: bytes) -> bool:
    return block.startswith(b"category ") or b"\ncategory " in block


def _read_line(line: str, category: str, reading: _Reading) -> str:
    """Add the entry of one line; returns the category of the lines after it."""
    kind, _, rest = line.partition(" ")
    if kind in _OWN and rest.strip():
        value = rest.split(" #", 1)[0].strip()
        if len(value.split()) != 1:
            raise ValueError(f"expected one value behind {kind!r}, found {line!r}")
        if kind == "category":
            return value
        _add_own(kind, value, category, reading)
        return category
    line = line.lstrip("\ufeff")
    if not line or line[0] in "#!" or line.startswith("[Adblock"):
        return category
    if line.startswith("||"):
        pattern, _, options = line[2:].partition("$")
        host, mark, path = pattern.partition("/")
        if options and not {"document", "doc", "all"} & {*options.split(",")}:
            reading.skipped += 1
        elif not mark and _HOST.fullmatch(host.rstrip("^")):
            reading.add("domains", hashes_of([ascii_host(host.rstrip("^"))]), category)
        elif mark and "*" not in pattern and _HOST.fullmatch(host) and path.rstrip("^"):
            reading.add("paths", hashes_of([_path_key(f"//{host}/{path.rstrip('^')}")]), category)
        else:
            reading.skipped += 1
        return category
    line = line.split(" #", 1)[0].split("\t#", 1)[0].strip()
    if hosts := _ADDRESS_BEFORE_HOSTS.match(line):
        found = [ascii_host(host) for host in hosts.group(1).split() if _HOST.fullmatch(host)]
        reading.add("domains", hashes_of(found), category)
    elif _HOST.fullmatch(line.removeprefix("*.").strip(".")):
        reading.add("domains", hashes_of([ascii_host(line.removeprefix("*.").strip("."))]), category)
    elif line.startswith(("@@", "/", "|", "~")) or "##" in line or "#@#" in line or "*" in line or "$" in line:
        reading.skipped += 1
    elif re.match(r"[a-z][a-z0-9+.-]*://", line, re.IGNORECASE) and " " not in line:
        reading.add("urls", hashes_of([address(line).page]), category)
    elif " " not in line and _HOST.fullmatch(line.split("/", 1)[0].split(":", 1)[0]):
        reading.add("paths", hashes_of([_path_key(f"//{line}")]), category)
    elif re.fullmatch(r"[\w-]+", line):  # a name without a dot, as "localhost" in hosts files
        reading.skipped += 1
    else:
        raise ValueError(f"expected one of {', '.join(_OWN)} and a value, a host, or a line of a hosts file or of "
                         f"Adblock; found {line!r}")  # fmt: skip
    return category


def _add_own(kind: str, value: str, category: str, reading: _Reading) -> None:
    if kind == "domain":
        reading.add("domains", hashes_of([ascii_host(value.strip("."))]), category)
    elif kind == "url":
        reading.add("urls", hashes_of([address(value if "//" in value else f"//{value}").page]), category)
    elif kind == "path":
        reading.add("paths", hashes_of([_path_key(value if "//" in value else f"//{value}")]), category)
    else:
        plain = _NOT_ALPHANUMERIC.sub("", value.lower()) if kind == "part" else value.lower()
        if plain:
            reading.words[kind].setdefault(plain, category)


def _path_key(url: str) -> str:
    """What is looked for among the beginnings of a page."""
    where: Address = address(url)
    return where.page.partition("?")[0]


def _blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked, in blocks of whole lines."""
    with path.open("rb") as plain:
        is_gzip = plain.read(2) == b"\x1f\x8b"
    rest = b""
    with gzip.open(path, "rb") if is_gzip else path.open("rb") as file:
        while block := file.read(READ_BYTES):
            whole, newline, after = (rest + block).rpartition(b"\n")
            if newline:
                yield whole
            rest = after
    if rest:
        yield rest


def _cache_folder() -> Path:
    return Path(os.environ.get("ATHANOR_CACHE") or Path.home() / ".cache" / "athanor")


def _keep(read: BlockLists, folder: Path) -> None:
    """Write what was read into `folder`, whole or not at all; of two processes the first one's stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        for name in SETS:
            listed: Listed = getattr(read, name)
            np.save(temporary / f"{name}.npy", listed.hashes)
            np.save(temporary / f"{name}_categories.npy", listed.categories)
        others = {name: getattr(read, name) for name in ("categories", "words", "soft", "parts", "skipped")}
        (temporary / "rest.json").write_text(json.dumps(others), encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was faster
            temporary.rename(folder)
        if not folder.is_dir():
            raise OSError(f"{folder}: not writable")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _kept(folder: Path) -> BlockLists:
    def mapped(name: str) -> Any:
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    domains, urls, paths = (Listed(mapped(name), mapped(f"{name}_categories")) for name in SETS)
    rest = json.loads((folder / "rest.json").read_text(encoding="utf-8"))
    categories = tuple(rest.pop("categories"))
    return BlockLists(categories, domains, urls, paths, **rest)
