"""What duplicate removal does with one shard of documents, pass after pass.

Every function here reads one shard and leaves its findings in a folder of scratch files named after the shard, so
that passes can run anywhere and in any order. Texts never leave the shard; what leaves it are keys, counts, and
for likely copies their shingles (see `ranges.py` for how they meet).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from athanor.core.artifact import read_json, write_json, write_jsonl
from athanor.core.documents import Document, Removed, iterate_shard, write_removed_shard, write_shard
from athanor.data.dedup.address import address_key
from athanor.data.dedup.clusters import NEAR, Copy, cluster_rows
from athanor.data.dedup.config import Dedup, MinHash, RepeatedLines, SameAddress
from athanor.data.dedup.corpus import Place, place_of
from athanor.data.dedup.dropped_lines import DROPPED_LINES
from athanor.data.dedup.exact import text_key
from athanor.data.dedup.groups import DESCRIBED, copies_between
from athanor.data.dedup.line_keys import line_keys
from athanor.data.dedup.lines import (
    LINE_COUNTS,
    REPEATED_LINES,
    Cleaned,
    Known,
    count_lines,
    without_repeated_lines,
)
from athanor.data.dedup.meetings import MEMBERS, leave_keys, save
from athanor.data.dedup.minhash import band_keys, hash_functions, shingles_of, signature
from athanor.data.dedup.ranges import list_column, numbers, read_range, read_ranges, shard_files, write_sorted
from athanor.data.dedup.words import Hashes

FULL_KEYS = "full_keys"
CLUSTERS = "clusters"
ADDRESSES, COPIES, CLEANED = "addresses", "copies", "cleaned"  # the times that copies are looked for, in order
# What removes a copy with an equal key, and the reason given.
EQUAL = {
    ADDRESSES: ("url", "same address as {}"),
    COPIES: ("exact", "same text as {}"),
    CLEANED: ("exact", "same text as {} without repeated lines"),
}


def address_keys(path: Path, work: Path, address: SameAddress) -> int:
    """Leave the keys of the documents' addresses."""
    import pyarrow.parquet as parquet

    urls = parquet.read_table(path, columns=["url"]).column("url").to_pylist()
    keys = _full_keys([address_key(url, address) if url else None for url in urls])
    return _leave_full_keys(path, work, ADDRESSES, keys, [bool(url) for url in urls])


def fingerprint(path: Path, work: Path, config: Dedup) -> dict[str, int]:
    """Leave the keys of the documents' texts and, with `config.near`, of the bands of their signatures."""
    place, removed = place_of(path, work), read_verdicts(path, work, [ADDRESSES])
    full = [np.empty((0, 2), np.uint64)]
    keys = [np.empty(0, np.uint64)]
    owners: list[int] = []
    num_bytes = 0
    functions = hash_functions(config.near) if config.near else None
    for i, document in enumerate(iterate_shard(path)):
        num_bytes += size_bytes(document.text)
        key = text_key(document.text)
        full.append(key[None])
        if i in removed:
            continue
        if config.exact:
            keys.append(key[:1])
            owners.append(i)
        if config.near and functions:
            shingles = shingles_of(document.text, config.near)
            if len(shingles):
                keys.append(band_keys(signature(shingles, functions), config.near.bands))
                owners.extend([i] * config.near.bands)
    save(work / COPIES / FULL_KEYS / f"{path.stem}.npy", np.concatenate(full))
    num_keys = leave_keys(work / COPIES, path.stem, np.concatenate(keys), place.start + np.array(owners, np.int64))
    return {"keys": num_keys, "bytes": num_bytes}


def describe(path: Path, work: Path, stage: str, near: MinHash | None) -> int:
    """Leave what decides about the shard's documents that are in a group: names, size, date, shingles."""
    place = place_of(path, work)
    members = read_range(work / stage / MEMBERS, "position", place.start, place.end)
    positions = numbers(members, "position")
    full = np.load(work / stage / FULL_KEYS / f"{path.stem}.npy")
    chosen = set(positions.tolist())
    names: dict[str, list[str]] = {"id": [], "url": [], "date": []}
    sizes: list[int] = []
    shingles: list[Hashes] = []
    for position, document in enumerate(iterate_shard(path), start=place.start):
        if position in chosen:
            for name, values in names.items():
                values.append(getattr(document, name))
            sizes.append(size_bytes(document.text))
            shingles.append(_shingle_set(document.text, near))
    words = {name: pa.array(values, pa.large_string()) for name, values in names.items()}
    table = pa.table(words | {"shingles": list_column(shingles)})
    columns = {
        "group": numbers(members, "group"),
        "position": positions,
        "size_bytes": np.array(sizes, np.int64),
        "key_0": full[positions - place.start, 0],
        "key_1": full[positions - place.start, 1],
    }
    write_sorted(work / stage / DESCRIBED / f"{path.stem}.arrow", columns, "group", table)
    return len(positions)


def count_lines_of_kept(path: Path, work: Path) -> int:
    """Leave in how many of the shard's documents each line is found, copies left out."""
    place, removed = place_of(path, work), read_verdicts(path, work, [ADDRESSES, COPIES])
    texts = ((place.start + i, document.text) for i, document in enumerate(iterate_shard(path)) if i not in removed)
    keys, found_in, first = count_lines(texts)
    columns = {"key": keys, "found_in": found_in, "first": first}
    write_sorted(work / LINE_COUNTS / f"{path.stem}.arrow", columns, "key")
    return len(keys)


def clean_keys(path: Path, work: Path, lines: RepeatedLines, too_many: int) -> dict[str, int]:
    """Leave the keys of the documents' texts as they are without repeated lines, and which are too short then."""
    place, removed = place_of(path, work), read_verdicts(path, work, [ADDRESSES, COPIES])
    known = known_lines(place, work, lines, too_many)
    keys: list[Hashes] = []
    too_short: dict[int, int] = {}
    for i, document in enumerate(iterate_shard(path)):
        cleaned = _clean(document.text, known, lines, place.start + i)
        keys.append(text_key(cleaned.text))
        if cleaned.dropped and cleaned.num_words < lines.min_words_left and i not in removed:
            too_short[i] = cleaned.num_words
    write_json(work / "too_short" / f"{path.stem}.json", too_short)
    left = [i not in removed and i not in too_short for i in range(len(keys))]
    return {"keys": _leave_full_keys(path, work, CLEANED, _full_keys(keys), left), "too_short": len(too_short)}


def write(path: Path, work: Path, out: Path, config: Dedup, too_many: int) -> dict[str, Any]:
    """Write the shard's kept and removed documents, and its rows of clusters; returns what was counted."""
    place = place_of(path, work)
    verdicts = read_verdicts(path, work, list(EQUAL)) | _too_short(path, work)
    clusters = cluster_rows(_copies_of_kept(place, work))
    num_copies = Counter({row["position"] - place.start: row["size"] - 1 for row in clusters})
    known = known_lines(place, work, config.lines, too_many)
    kept: list[Document] = []
    removed: list[Removed] = []
    dropped: Counter[str] = Counter()
    for i, document in enumerate(iterate_shard(path)):
        if i in verdicts:
            removed.append(Removed(document, *verdicts[i]))
            continue
        cleaned = _clean(document.text, known, config.lines, place.start + i)
        dropped.update(line.strip() for line in cleaned.dropped)
        notes = {"lines_removed": len(cleaned.dropped), "copies_removed": num_copies[i]}
        metadata = document.metadata | {name: count for name, count in notes.items() if count}
        kept.append(replace(document, text=cleaned.text, metadata=metadata))
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, removed)
    write_jsonl(work / CLUSTERS / f"{path.stem}.jsonl", clusters)
    return {
        "documents": len(kept),
        "bytes": sum(size_bytes(document.text) for document in kept),
        "removed": dict(Counter(row.removed_by for row in removed)),
        "bytes_removed": sum(size_bytes(row.document.text) for row in removed),
        "lines_removed": sum(dropped.values()),
        "distinct_lines": _leave_dropped_lines(path, work, dropped, known),
        "cluster_sizes": dict(Counter(row["size"] for row in clusters)),
    }


def read_verdicts(path: Path, work: Path, stages: Sequence[str]) -> dict[int, tuple[str, str]]:
    """For the documents of a shard that are copies: place in the shard -> removed_by and reason."""
    place = place_of(path, work)
    return {
        copy.document.position - place.start: _verdict(copy, stage)
        for stage in stages
        for copy in copies_between(work / stage, "position", place.start, place.end)
    }


def known_lines(place: Place, work: Path, lines: RepeatedLines | None, too_many: int) -> Known:
    """What the pass over all lines found of the lines of one shard."""
    paths = shard_files(work / REPEATED_LINES) if lines else []
    if not lines or not paths:
        return Known.nothing()
    table = read_ranges(paths, "shard", place.index, place.index + 1)
    keys, found_in, first = (numbers(table, name) for name in ("key", "found_in", "first"))
    return Known(keys, found_in, first, too_many, within=lines.first_only != "off")


def size_bytes(text: str) -> int:
    """The size of `text` in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def _full_keys(keys: Sequence[Hashes | None]) -> Hashes:
    """Keys of 128 bits as rows of two numbers; zeros where there is none."""
    nothing = np.zeros(2, np.uint64)
    return np.array([nothing if key is None else key for key in keys], np.uint64).reshape(-1, 2)


def _leave_full_keys(path: Path, work: Path, stage: str, keys: Hashes, counts: Sequence[bool]) -> int:
    """Leave keys for the documents that count; two documents meet if their first 64 bits are equal."""
    save(work / stage / FULL_KEYS / f"{path.stem}.npy", keys)
    which = np.flatnonzero(counts).astype(np.int64)
    return leave_keys(work / stage, path.stem, keys[which, 0], which + place_of(path, work).start)


def _shingle_set(text: str, near: MinHash | None) -> Hashes:
    if not near:
        return np.empty(0, np.uint64)
    return np.unique(shingles_of(text, near))


def _clean(text: str, known: Known, lines: RepeatedLines | None, position: int) -> Cleaned:
    if not lines:
        return Cleaned(text, [], 0)
    return without_repeated_lines(text, known, lines.run_words, position, lines.gap_words)


def _too_short(path: Path, work: Path) -> dict[int, tuple[str, str]]:
    file = work / "too_short" / f"{path.stem}.json"
    words = read_json(file) if file.exists() else {}
    return {int(i): ("lines", f"{n} words left without repeated lines") for i, n in words.items()}


def _copies_of_kept(place: Place, work: Path) -> list[Copy]:
    """The copies whose kept document is in the shard."""
    return [copy for stage in EQUAL for copy in copies_between(work / stage, "kept", place.start, place.end)]


def _verdict(copy: Copy, stage: str) -> tuple[str, str]:
    """removed_by and reason of a copy."""
    name = copy.kept.url or copy.kept.id
    if copy.removed_by == NEAR:
        return NEAR, f"near copy of {name}, Jaccard {copy.similarity:.2f}"
    return copy.removed_by, EQUAL[stage][1].format(name)


def _leave_dropped_lines(path: Path, work: Path, dropped: Counter[str], known: Known) -> int:
    """Leave the lines taken out of the shard, how often, and in how many documents each is found (-1: unknown)."""
    lines = list(dropped)
    keys = line_keys("\n".join(lines)) if lines else np.empty(0, np.uint64)
    columns = {
        "key": keys,
        "removed": np.array([dropped[line] for line in lines], np.int64),
        "documents": known.documents(keys),
    }
    text = pa.table({"line": pa.array(lines, pa.large_string())})
    write_sorted(work / DROPPED_LINES / f"{path.stem}.arrow", columns, "key", text)
    return len(lines)
