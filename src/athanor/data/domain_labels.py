"""Which domain an address belongs to: code, news, reference, ...

In: label files and URLs. A label file is a text file, one pattern per line, `#` begins a comment:

    news       bbc.co.uk               # this host and every host under it
    code       github.com/*/blob       # pages whose path begins so; * stands for any characters
    forum      forum.*                 # * in the host: the whole host must match

Out: the label of a URL, that of the longest pattern that matches, or None. The list that comes with the package names
some well-known hosts; where it and a list of one's own have the same pattern, the latter counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from athanor.data.address import address

BUILTIN = Path(__file__).with_name("domain_hosts.txt")
_LABEL = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Pattern:
    """One line of a label file."""

    label: str
    text: str
    path: re.Pattern[str]
    """Matches the beginning of a path."""


@dataclass(frozen=True)
class DomainLabels:
    """The patterns of all files."""

    hosts: dict[str, tuple[Pattern, ...]]
    """Patterns whose host is plain, by it."""
    globs: tuple[tuple[re.Pattern[str], Pattern], ...]
    """Patterns with * in the host, and what their hosts match."""

    @property
    def labels(self) -> set[str]:
        """All labels that patterns give."""
        plain = {pattern.label for patterns in self.hosts.values() for pattern in patterns}
        return plain | {pattern.label for _, pattern in self.globs}

    def label_of(self, url: str) -> str | None:
        """The label of a page's URL; None where no pattern matches."""
        where = address(url)
        host = where.host
        if not host:
            return None
        path = where.page[len(host.removeprefix("www.")) :] or "/"
        names = host.split(".")
        found = [
            pattern
            for start in range(len(names))
            for pattern in self.hosts.get(".".join(names[start:]), ())
            if pattern.path.match(path)
        ]
        found += [pattern for glob, pattern in self.globs if glob.fullmatch(host) and pattern.path.match(path)]
        return max(found, key=lambda pattern: (len(pattern.text), pattern.text)).label if found else None


@lru_cache(maxsize=4)
def read_labels(paths: tuple[Path, ...]) -> DomainLabels:
    """The patterns of `paths`, later files before earlier ones; raises ValueError for a line that is no pattern."""
    labels: dict[str, str] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            pieces = line.split("#", 1)[0].split()
            if not pieces:
                continue
            if len(pieces) != 2 or not _LABEL.fullmatch(pieces[0]) or pieces[1].startswith("/"):
                raise ValueError(f"{path}: line {number}: expected a label and a pattern of hosts, found {line!r}")
            labels[_plain(pieces[1])] = pieces[0]
    return _compiled(labels.items())


def _compiled(rows: Iterable[tuple[str, str]]) -> DomainLabels:
    hosts: dict[str, list[Pattern]] = {}
    globs = []
    for text, label in rows:
        host, slash, path = text.partition("/")
        pattern = Pattern(label, text, re.compile(_glob(slash + path)))
        if "*" in host:
            globs.append((re.compile(_glob(host)), pattern))
        else:
            hosts.setdefault(host, []).append(pattern)
    return DomainLabels({host: tuple(patterns) for host, patterns in hosts.items()}, tuple(globs))


def _plain(pattern: str) -> str:
    """A pattern without scheme and "www.", its host in lower case."""
    pattern = re.sub(r"^[a-z]+://", "", pattern)
    host, slash, path = pattern.partition("/")
    return host.lower().removeprefix("www.") + slash + path


def _glob(text: str) -> str:
    return ".*".join(re.escape(piece) for piece in text.split("*"))
