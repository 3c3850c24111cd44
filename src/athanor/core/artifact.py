"""Artifacts: files that appear whole or not at all, and the manifest that says a result is finished.

A result is a folder. Its `manifest.json` is written last, atomically; a folder without one is unfinished.
Scratch and checkpoints of unfinished work live in the subfolder `_work` and never count as results.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
WORK = "_work"
FORMAT = 1  # of manifest.json; raised when a reader of the old one would be misled


@dataclass(frozen=True)
class File:
    """One file of a result."""

    path: str
    """Relative to the result's folder, with forward slashes."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a finished result is, what it came from and what it took to make."""

    name: str
    kind: str
    version: int
    fingerprint: str
    config: dict[str, Any]
    runtime: dict[str, Any]
    """Config values that never change the result: workers, threads, time limits."""
    inputs: dict[str, str]
    """Name of the input -> fingerprint of the step it came from."""
    metrics: dict[str, Any]
    files: list[File]
    code: dict[str, Any]
    """Version of the package, and the git commit where the source is a checkout."""
    libraries: dict[str, str]
    device: dict[str, Any]
    argv: list[str]
    seed: int | None
    started: str
    """ISO 8601, UTC."""
    ended: str
    seconds: float
    """Of the attempt that finished."""
    peak_memory_bytes: int
    cpu_seconds: float = 0.0
    """User and system time of the attempt that finished, its finished child processes included."""
    attempts: int = 1
    """How many times the step was started before it finished."""
    input_folders: dict[str, str] = field(default_factory=dict)
    """Name of the input -> folder name beside this one."""
    format: int = FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, which makes the result in `folder` finished."""
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the result in `folder`; None while it is unfinished.

    Raises ValueError for a manifest written by a newer format.
    """
    path = folder / MANIFEST
    try:
        raw = read_json(path)
    except FileNotFoundError:
        return None
    if raw.get("format", 0) > FORMAT:
        raise ValueError(
            f"{path}: format {raw['format']}, this version of athanor reads up to {FORMAT}; update athanor"
        )
    raw["files"] = [File(**entry) for entry in raw["files"]]
    known = {entry.name for entry in dataclasses.fields(Manifest)}
    return Manifest(**{key: value for key, value in raw.items() if key in known})


def result_files(folder: Path) -> list[File]:
    """Every file of the result in `folder` with size and hash, sorted by path; scratch and the manifest left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or relative.parts[0] in (WORK, MANIFEST) or relative.name.startswith("."):
            continue
        found.append(File(relative.as_posix(), path.stat().st_size, sha256_of(path)))
    return found


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON; raises ValueError for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line to `path`, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; raises ValueError naming the file when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file in order; raises ValueError naming the line that is not one."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: line {number} is not valid JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}: line {number} is not an object but {type(row).__name__}")
            yield row


def sha256_of(path: Path) -> str:
    """The SHA-256 of the content of `path`, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8; what fingerprints are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_UMASK = os.umask(0)
os.umask(_UMASK)
