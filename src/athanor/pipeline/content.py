"""Hashes of files that a config names, remembered while size and time of change stay the same.

A WARC file of a gigabyte is read once, not at every start.
"""

from pathlib import Path

from athanor.core.artifact import read_json, sha256_of, write_json


class ContentHashes:
    """SHA-256 of files, kept in one JSON file between runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[str | int]] = read_json(path) if path.exists() else {}
        self._changed = False

    def of(self, file: Path) -> str:
        """The SHA-256 of the content of `file`."""
        stat = file.stat()
        key = str(file.resolve())
        known = self._known.get(key)
        if known is not None and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            return str(known[2])
        digest = sha256_of(file)
        self._known[key] = [stat.st_size, stat.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write what was learned."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False
