"""Passes over shards and ranges that find and cut repeated passages.

Windows of `length` bytes that are equal have equal anchors (`anchors.py`). So the shards count their anchors; what
an anchor found more than once has around it, the bytes of all windows that it stands for, goes to the range of its
hash; there a suffix array tells which windows occurred before (`repeats.py`); and the shards cut those out. Only
text around repeated anchors ever leaves its shard, and a suffix array is built of at most `BATCH_BYTES` at once (of
more only when the surroundings of one single anchor are more), some 30 bytes of memory for each.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from athanor.core.artifact import write_jsonl
from athanor.core.documents import Document, Removed, iterate_shard, write_removed_shard, write_shard
from athanor.data.dedup.anchors import anchors
from athanor.data.dedup.config import Substrings
from athanor.data.dedup.corpus import place_of
from athanor.data.dedup.cuts import Cut, cut_text
from athanor.data.dedup.key_counts import added_up, places_in, tell_shards
from athanor.data.dedup.line_keys import words_in_lines
from athanor.data.dedup.ranges import numbers, range_of, read_ranges, shard_files, write_sorted
from athanor.data.dedup.repeats import Stretches, repeated_stretches

BATCH_BYTES = 8 << 20
PASSAGES_PER_RANGE = 1 << 18
COUNTS, REPEATED, PASSAGES, STRETCHES, CUTS = "anchor_counts", "repeated_anchors", "passages", "stretches", "cuts"


def count_anchors(path: Path, work: Path, length: int) -> dict[str, int]:
    """Leave the anchors of the shard and how often it has each."""
    start = place_of(path, work).start
    hashes, times, positions = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    num_bytes = 0
    for i, document in enumerate(iterate_shard(path)):
        text = _bytes(document.text)
        num_bytes += len(text)
        found = anchors(text, length)
        hashes.append(found.hashes)
        times.append(found.times)
        positions.append(np.full(len(found.hashes), start + i, np.int64))
    keys, found_in, first = added_up(np.concatenate(hashes), np.concatenate(times), np.concatenate(positions))
    write_sorted(work / COUNTS / f"{path.stem}.arrow", {"key": keys, "found_in": found_in, "first": first}, "key")
    return {"anchors": len(keys), "bytes": num_bytes}


def repeated_anchors(path: Path, work: Path) -> int:
    """Leave for every shard its anchors, of those with hashes in one range, that are found more than once."""
    return tell_shards(path, work / COUNTS, work / REPEATED, more_than=1)


def leave_passages(path: Path, work: Path, length: int) -> int:
    """Leave the bytes around repeated anchors for the ranges; returns how many passages there are.

    Of passages that the shard has several times one is left; the others are repeated whatever the other shards have.
    """
    place = place_of(path, work)
    known = numbers(read_ranges(shard_files(work / REPEATED), "shard", place.index, place.index + 1), "key")
    seen: dict[bytes, tuple[int, int]] = {}
    rows: list[tuple[int, int, int]] = []
    passages: list[bytes] = []
    repeated: list[tuple[int, int, int]] = []
    for position, document in enumerate(iterate_shard(path), start=place.start):
        text = _bytes(document.text)
        found = anchors(text, length)
        for row in np.flatnonzero(places_in(known, found.hashes) >= 0).tolist():
            first, end = int(found.first[row]), int(found.last[row]) + length
            passage = text[first:end].tobytes()
            digest = hashlib.blake2b(passage, digest_size=16).digest()
            before = seen.setdefault(digest, (position, first))
            if before[0] < position or before[1] + length <= first:
                repeated.append((position, first, end))
            else:
                rows.append((int(found.hashes[row]), position, first))
                passages.append(passage)
    columns = {
        "hash": np.array([row[0] for row in rows], np.uint64),
        "document": np.array([row[1] for row in rows], np.int64),
        "place": np.array([row[2] for row in rows], np.int64),
    }
    text_column = pa.table({"text": pa.array(passages, pa.large_binary())})
    write_sorted(work / PASSAGES / f"{path.stem}.arrow", columns, "hash", text_column)
    own = np.array(repeated, np.int64).reshape(-1, 3)
    _leave_stretches(work, f"shard-{path.stem}", Stretches(own[:, 0], own[:, 1], own[:, 2]))
    return len(rows)


def compare_passages(path: Path, work: Path, length: int) -> int:
    """Leave which stretches occurred before, of the passages whose anchors lie in one range."""
    table = read_ranges(shard_files(work / PASSAGES), "hash", *range_of(path))
    parts = [repeated_stretches(*batch, length) for batch in _batches(table)]
    columns = [np.concatenate([np.empty(0, np.int64), *column]) for column in zip(*parts, strict=True)]
    found = Stretches(*columns) if columns else Stretches(*(np.empty(0, np.int64) for _ in range(3)))
    _leave_stretches(work, f"range-{path.stem}", found)
    return len(found.start)


def cut_repeated(path: Path, work: Path, out: Path, config: Substrings) -> dict[str, Any]:
    """Write the shard's documents without repeated passages, and what was cut; returns what was counted."""
    place = place_of(path, work)
    table = read_ranges(shard_files(work / STRETCHES), "document", place.start, place.end)
    order = np.argsort(numbers(table, "document"), kind="stable")
    document, start, end = (numbers(table, name)[order] for name in ("document", "start", "end"))
    bounds = np.searchsorted(document, np.arange(place.start, place.end + 1))
    kept: list[Document] = []
    removed: list[Removed] = []
    cuts: list[Cut] = []
    for i, each in enumerate(iterate_shard(path)):
        own = slice(bounds[i], bounds[i + 1])
        text, found = cut_text(each.text, start[own], end[own])
        cuts.extend(replace(cut, id=each.id, url=each.url) for cut in found)
        num_words = int(words_in_lines(text).sum()) if found else config.min_words_left
        if num_words < config.min_words_left:
            removed.append(Removed(each, "substrings", f"{num_words} words left without repeated passages"))
            continue
        notes = {"repeated_bytes_removed": sum(cut.size_bytes for cut in found)} if found else {}
        kept.append(replace(each, text=text, metadata=each.metadata | notes))
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, removed)
    write_jsonl(work / CUTS / f"{path.stem}.jsonl", (vars(cut) for cut in cuts))
    return {
        "documents": len(kept),
        "bytes": sum(len(_bytes(each.text)) for each in kept),
        "removed": len(removed),
        "bytes_removed": sum(len(_bytes(row.document.text)) for row in removed),
        "passages": len(cuts),
        "passage_bytes": sum(cut.size_bytes for cut in cuts),
    }


def _bytes(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def _leave_stretches(work: Path, name: str, found: Stretches) -> None:
    columns = {"document": found.document, "start": found.start, "end": found.end}
    write_sorted(work / STRETCHES / f"{name}.arrow", columns, "document")


def _batches(table: pa.Table) -> Iterator[tuple[list[Any], Any, Any]]:
    """The passages, their documents and places, those of one anchor together, about `BATCH_BYTES` at a time."""
    hashes = numbers(table, "hash")
    order = np.argsort(hashes, kind="stable")
    document, place = numbers(table, "document"), numbers(table, "place")
    texts = [text for chunk in table.column("text").chunks for text in chunk]
    start = size = 0
    for i, row in enumerate(order.tolist()):
        if size >= BATCH_BYTES and hashes[row] != hashes[order[i - 1]]:
            yield [_view(texts[j]) for j in order[start:i]], document[order[start:i]], place[order[start:i]]
            start, size = i, 0
        size += texts[row].as_buffer().size
    if len(order):
        yield [_view(texts[j]) for j in order[start:]], document[order[start:]], place[order[start:]]


def _view(scalar: Any) -> Any:
    return np.frombuffer(scalar.as_buffer(), np.uint8)
