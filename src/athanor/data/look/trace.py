"""The way of one document through the results of a run.

In: results in their order, and a document's id, the beginning of one, or a URL. Out: what each step did with it: kept
or removed and why, what it noted, its text afterwards; for the filter every rule with what it measured. Only ids
and URLs are read of documents that are not asked for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from athanor.core.artifact import read_jsonl
from athanor.core.config import from_dict
from athanor.core.documents import Document, shards
from athanor.data.config import Filter
from athanor.data.look.measured import Measured, measured
from athanor.data.look.places import Result, kept_rows, removed_rows, rows_of
from athanor.data.rules import Applied, judge, rules_of
from athanor.data.url import normalized

REMOVED = "removed"
SHORTEST_PREFIX = 4
URLS_COMPARED = 20_000  # when nothing is found, the nearest of so many is shown
MEMBERS_SHOWN = 5  # of a cluster of copies


@dataclass(frozen=True)
class RuleStep:
    """One rule of the filter on the document."""

    rule: str
    before: str
    after: str
    kept: bool
    reason: str
    changed: dict[str, int]
    values: list[Measured]


@dataclass(frozen=True)
class Stop:
    """What one step did with the document."""

    step: str
    kind: str
    folder: str
    places: list[str]
    """Where it lies: documents, removed, train, ..."""
    document: Document
    """As the step left it."""
    removed_by: str = ""
    reason: str = ""
    passes: int = 0
    """How many times it is trained on, after a mixture."""
    rules: list[RuleStep] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def resolved(results: Sequence[Result], asked: str) -> tuple[str, str]:
    """Id and URL of the one document that `asked` names.

    Raises ValueError when there is none, naming the nearest, or several.
    """
    address = _address(asked) if "/" in asked else ""
    found: dict[str, str] = {}
    for result in results:
        for name, url in _names(result):
            if name == asked or (address and url and _address(url) == address):
                return name, url
            if not address and len(asked) >= SHORTEST_PREFIX and name.startswith(asked):
                found[name] = url
        if len(found) == 1:
            return next(iter(found.items()))
        if found:
            some = "; ".join(f"{name} {url}" for name, url in list(found.items())[:5])
            raise ValueError(f"{len(found)} documents have ids that begin with {asked!r}: {some}")
    raise ValueError(
        f"no document {asked!r} in {', '.join(result.name for result in results)}{_nearest(results, asked)}"
    )


def trace(results: Sequence[Result], name: str, with_values: bool = True) -> Iterator[Stop]:
    """What each result did with the document of id `name`, those that do not know it left out."""
    before: Document | None = None
    for result in results:
        stop = _stop(result, name)
        if stop is None:
            continue
        if result.kind == "data.filter" and result.manifest is not None:
            came = _as_it_came(result, name) or before
            stop = _with_rules(stop, came, result.manifest.config, with_values) if came else stop
        yield replace(stop, remarks=[*stop.remarks, *_remarks(result, name)])
        before = stop.document


def _address(url: str) -> str:
    """A URL without scheme, "www." and closing slash, and otherwise alike for the ways of writing it."""
    return re.sub(r"^[a-z]+://(www\.)?", "", normalized(url)).rstrip("/")


def _as_it_came(result: Result, name: str) -> Document | None:
    """The document in the input of a step, where that still exists."""
    folder = result.manifest.input_folders.get("documents") if result.manifest else None
    if folder is None or not (result.folder.parent / folder).is_dir():
        return None
    stop = _stop(Result(result.folder.parent / folder, None), name)
    return stop.document if stop else None


def _names(result: Result) -> Iterator[tuple[str, str]]:
    """Id and URL of every document of a result, kept or removed."""
    for part in (*result.kept, REMOVED):
        if (result.folder / part).is_dir():
            for path in shards(result.folder / part):
                for row in rows_of(path, ("id", "url")):
                    yield str(row.get("id") or ""), str(row.get("url") or "")


def _nearest(results: Sequence[Result], asked: str) -> str:
    """The most similar URL, or id where no URL was asked for, as the end of a sentence."""
    import difflib
    import itertools

    rows = itertools.islice(itertools.chain.from_iterable(_names(result) for result in results), URLS_COMPARED)
    choices = {url if "/" in asked else name for name, url in rows}
    close = difflib.get_close_matches(asked, choices, n=1, cutoff=0.3)
    return f"; the nearest is {close[0]}" if close else ""


def _stop(result: Result, name: str) -> Stop | None:
    places: list[str] = []
    passes = 0
    document: Document | None = None
    for part in result.kept:
        found = [row for row in kept_rows(result, part) if row.id == name] if _knows(result, part, name) else []
        if found:
            places.append(part or "documents")
            document = found[0]
            passes += len(found) if part == "train" else 0
    if document is not None:
        return Stop(result.name, result.kind, str(result.folder), places, document, passes=passes)
    if _knows(result, REMOVED, name):
        row = next(row for row in removed_rows(result) if row.document.id == name)
        return Stop(result.name, result.kind, str(result.folder), [REMOVED], row.document, row.removed_by, row.reason)
    return None


def _knows(result: Result, part: str, name: str) -> bool:
    folder = result.folder / part
    if not folder.is_dir():
        return False
    return any(row.get("id") == name for path in shards(folder) for row in rows_of(path, ("id",)))


def _with_rules(stop: Stop, before: Document, config: dict[str, Any], with_values: bool) -> Stop:
    """`stop` with every rule of the filter on the document as it came in, run again as it was configured."""
    applied: list[Applied] = []
    try:
        settings = from_dict(Filter, config, "manifest")
        judge(before, rules_of(settings), {}, applied.append)
    except (ValueError, OSError) as error:  # a list of addresses may be gone, or fields may have changed
        return replace(stop, remarks=[f"its rules cannot be run again: {error}"])
    steps = [
        RuleStep(
            rule=each.rule,
            before=each.before.text,
            after=each.after.text,
            kept=each.verdict.kept,
            reason=each.verdict.reason,
            changed=dict(each.changed),
            values=measured(each.before, each.rule, settings) if with_values else [],
        )
        for each in applied
    ]
    return replace(stop, rules=steps)


def _remarks(result: Result, name: str) -> list[str]:
    """What the files beside the documents say of it."""
    remarks = []
    clusters = result.folder / "clusters.jsonl"
    for row in read_jsonl(clusters) if clusters.exists() else ():
        kept, members = row.get("kept", {}), row.get("members", [])
        if kept.get("id") == name or any(member.get("id") == name for member in members):
            others = [member.get("url") or member.get("id") for member in members][:MEMBERS_SHOWN]
            more = f" and {len(members) - len(others)} more" if len(members) > len(others) else ""
            first = kept.get("url") or kept.get("id")
            remarks.append(f"in a cluster of {row.get('size')}: {first} is kept, copies are {', '.join(others)}{more}")
    contaminated = result.folder / "contaminated.jsonl"
    for row in read_jsonl(contaminated) if contaminated.exists() else ():
        if row.get("id") == name:
            passage = " ".join(str(row["passage"]).split())[:200]
            remarks.append(f"holds item {row['item']} of {row['benchmark']} ({row['overlap']:.0%} of it): {passage!r}")
    return remarks
