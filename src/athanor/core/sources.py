"""Files to read that lie here or elsewhere: paths and patterns, s3://, gs://, https://, whatever fsspec knows.

In: addresses as a config names them. Out: what they stand for, in a fixed order, and a local copy of one file
while it is worked on. A broken transfer is another thing than a broken file: it is tried again from where it
stopped, and an error in the end. Credentials come from the environment of the storage's own library
(AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, ...); an address that holds one is refused, since configs are stored
with every result.
"""

import contextlib
import glob
import hashlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from athanor.core.console import warn

BLOCK_BYTES = 16 * 1024 * 1024
"""How much is asked for at once; also what a transfer keeps in memory."""

ATTEMPTS = 6
"""Attempts in a row that bring nothing before a transfer is given up."""

SCRATCH = "ATHANOR_SCRATCH"

_REMOTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(::|://)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SECRET_PARAMETER = re.compile(r"signature|sig|token|key|secret|password|credential", re.IGNORECASE)
_MAGIC = re.compile(r"[*?\[]")


class MissingSourceError(ValueError):
    """A file that is not there or that one may not read; another attempt is of no use."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read."""

    address: str
    """A path, or a URL that fsspec understands."""
    size_bytes: int = 0
    """0 where the storage does not say."""
    tag: str = ""
    """Changes when a remote file does, as far as its storage tells: an entity tag or a time."""

    @property
    def name(self) -> str:
        """The last part of the address."""
        path = urlsplit(self.address).path if is_remote(self.address) else self.address
        return path.rstrip("/").rpartition("/")[2]


def is_remote(address: str) -> bool:
    """Whether an address names something that is not a file of this machine."""
    return bool(_REMOTE.match(address)) and not address.lower().startswith("file://")


def check_addresses(addresses: Iterable[str]) -> None:
    """Raise ValueError for an address that holds credentials."""
    for address in addresses:
        parts = urlsplit(address)
        secret = next((name for name, _ in parse_qsl(parts.query) if _SECRET_PARAMETER.search(name)), "")
        if is_remote(address) and (parts.password or (parts.username and "@" in parts.netloc) or secret):
            shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
            raise ValueError(
                f"{shown}: an address must hold no credentials{f' ({secret})' if secret else ''}, because it is stored "
                "with the result; set them in the environment (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, ~/.netrc)"
            )


def braces_expanded(pattern: str) -> list[str]:
    """The addresses that braces stand for: lists {a,b} and ranges {00..12}, as in a shell.

    >>> braces_expanded("c4-{train,validation}.{08..10}.gz")[:4]
    ['c4-train.08.gz', 'c4-train.09.gz', 'c4-train.10.gz', 'c4-validation.08.gz']
    """
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    content = found.group(1)
    numbers = _RANGE.fullmatch(content)
    if numbers:
        first, last = numbers.groups()
        words = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    elif "," in content:
        words = content.split(",")
    else:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return list(itertools.chain.from_iterable(braces_expanded(before + word + after) for word in words))


def local_files(patterns: Iterable[str]) -> list[Path]:
    """The files of this machine that paths, folders (with all below) and glob patterns name, sorted, each once.

    Raises ValueError for one that names nothing; remote addresses are passed over.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if is_remote(pattern):
            continue
        for word in braces_expanded(pattern.removeprefix("file://")):
            absolute = str(Path(word).expanduser())
            matches = [Path(name) for name in glob.glob(absolute, recursive=True)]  # noqa: PTH207 - takes absolute ones
            files = {path for path in matches if path.is_file()}
            for folder in (path for path in matches if path.is_dir()):
                files |= {path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder)}
            if not files and matches:
                raise ValueError(f"no files in the folder {word!r} (from {Path.cwd()})")
            if not files:
                raise ValueError(f"no file matches {word!r} (from {Path.cwd()})")
            found |= files
    return sorted(found)


def sources(patterns: Iterable[str], wanted: re.Pattern[str] | None = None) -> list[Source]:
    """Every file that `patterns` name, here first and then elsewhere, each group sorted by address.

    Of folders and patterns only names that `wanted` finds something in are taken; a file named itself always is.
    Raises ValueError for what names nothing, or holds credentials.
    """
    patterns = list(patterns)
    check_addresses(patterns)
    named = {word.removeprefix("file://") for pattern in patterns for word in braces_expanded(pattern)}
    here = [
        Source(str(path), path.stat().st_size)
        for path in local_files(patterns)
        if wanted is None or wanted.search(path.name) or str(path) in named
    ]
    remote = {
        source.address: source
        for pattern in patterns
        if is_remote(pattern)
        for word in braces_expanded(pattern)
        for source in _listed(word)
        if wanted is None or wanted.search(source.name) or source.address in named
    }
    return [*here, *(remote[address] for address in sorted(remote))]


@contextlib.contextmanager
def local_copy(source: Source, scratch: Path) -> Iterator[Path]:
    """A path where the file can be read: itself, or a copy in `scratch` that is deleted after the block.

    The environment variable ATHANOR_SCRATCH names a folder for copies instead, such as a machine's own disk. A copy
    that an earlier attempt began is continued. Raises MissingSourceError, or ValueError when the transfer breaks off
    again and again.
    """
    if not is_remote(source.address):
        yield Path(source.address.removeprefix("file://"))
        return
    short = hashlib.sha256(source.address.encode()).hexdigest()[:16]
    if os.environ.get(SCRATCH):
        scratch = Path(os.environ[SCRATCH]) / hashlib.sha256(str(scratch.absolute()).encode()).hexdigest()[:16]
    path = scratch / f"{short}-{source.name}"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            _transfer(source, part)
            part.replace(path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _listed(address: str) -> Iterator[Source]:
    """The remote files that one address, with or without wildcards, stands for."""
    filesystem, path = _opened(address)
    try:
        if _MAGIC.search(path):
            found = filesystem.glob(path, detail=True)
        else:
            info = filesystem.info(path)
            found = filesystem.find(path, detail=True) if info.get("type") == "directory" else {path: info}
    except Exception as error:  # every storage has its own
        if _is_missing(error):
            raise MissingSourceError(f"{address}: {_reason(error)}") from error
        raise ValueError(f"{address}: cannot be listed: {_reason(error)}") from error
    files = {name: info for name, info in found.items() if info.get("type") != "directory"}
    if not files:
        raise ValueError(f"no file matches {address!r}")
    for name, info in files.items():
        tag = next(
            (str(info[key]) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime") if info.get(key)), ""
        )
        yield Source(filesystem.unstrip_protocol(name), int(info.get("size") or 0), tag)


def _transfer(source: Source, part: Path) -> None:
    """Bring a remote file whole into `part`, continuing with what is there."""
    failures = 0
    from_the_beginning = False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(source, part, from_the_beginning)
            return
        except Exception as error:  # every storage has its own; the kind decides little
            if _is_missing(error):
                raise MissingSourceError(f"{source.address}: {_reason(error)}") from error
            failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
            from_the_beginning |= "support range requests" in str(error)  # what fsspec says of some HTTP servers
            if failures >= ATTEMPTS:
                raise ValueError(
                    f"{source.address}: the transfer broke off {failures} times in a row: {_reason(error)}"
                ) from error
            if failures > 1:
                warn(f"{source.address}: {_reason(error)}; trying again")
            time.sleep(0.1 * 4**failures)


def _attempt(source: Source, part: Path, from_the_beginning: bool) -> None:
    filesystem, path = _opened(source.address)
    blocks = {"block_size": 0} if from_the_beginning else {"block_size": BLOCK_BYTES, "cache_type": "none"}
    with filesystem.open(path, "rb", **blocks) as remote:
        have = part.stat().st_size if part.exists() else 0
        if have:
            try:
                remote.seek(have)
            except (ValueError, OSError, NotImplementedError):
                have = 0  # a server that sends files only from their beginning
        with part.open("ab" if have else "wb") as file:
            while block := remote.read(BLOCK_BYTES):
                file.write(block)
            size = file.tell()
    if source.size_bytes and size != source.size_bytes:
        if size > source.size_bytes:
            part.unlink()
        raise OSError(f"{size} bytes instead of {source.size_bytes}")


def _opened(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it."""
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ValueError(f"{address}: {_reason(error)}; pip install 'athanor[remote]'") from error
    except ValueError as error:
        raise ValueError(f"{address}: {_reason(error)}") from error
    return filesystem, path


def _hidden(path: Path, folder: Path) -> bool:
    return any(part[0] in "._" for part in path.relative_to(folder).parts)


def _is_missing(error: Exception) -> bool:
    """Whether the storage said that there is no such file, or not for us; fsspec says so of broken connections too."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return False
    if cause is not None and type(cause).__module__.startswith("aiohttp"):
        status = getattr(cause, "status", 0)
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, FileNotFoundError | PermissionError)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the error itself is but the address
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
