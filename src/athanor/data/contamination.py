"""Which questions of benchmarks stand in a text: an index of their runs of words, and the search in it.

In: items of benchmarks, then texts. Out: for each text the items found in it, how much of each, and where.

A text of an item with at least `ngram_words` words is known by every run of that many words (Brown et al. 2020,
appendix C). A shorter field with at least `min_words` words is known by all of its words. Of an item that has
only still shorter fields, its longest field must be followed by its other ones, with at most three words (the
letters of choices) between two, `min_words` in all; failing that, choices with so many words are looked for whole.
What is left cannot be looked for and is counted. Labels such as "Question:" are put aside. A run of whose words
fewer than a third are distinct ones with a letter ("1 2 3 4 5 ...") is no evidence and left out. The part of an
item's words that is found is its overlap (Touvron et al. 2023, appendix A.6).

The index is a few arrays in files, mapped into every worker; memory goes with the benchmarks, not with the corpus.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.core.compiled import kernel
from athanor.data.arrays import write_array
from athanor.data.benchmark_items import Item
from athanor.data.word_hashes import Hashes, Places, Words, run_hashes, words_of

LABEL_BEFORE = re.compile(r"^\s*(?:question|q|goal|context|passage|problem)\s*:\s*", re.IGNORECASE)
LABEL_BEHIND = re.compile(r"\s*\b(?:answer|a)\s*:\s*$", re.IGNORECASE)
ARRAYS = ("tables", "seen", "keys", "slots", "lengths", "first_posting", "posting_item", "posting_place")
BITS_PER_RUN = 16  # of the filter in front of a table; one lookup in about 16 gets through it without being found
SHOWN_CHARACTERS = 300  # of an item's longest text
WORDS_BETWEEN = 3  # of two fields of a short item
MIN_HEAD_WORDS = 3  # of the longest field of a short item
TELLING = 3  # one in so many words of a run must be a word with a letter that has not yet occurred in it


@dataclass(frozen=True)
class Described:
    """What is kept of an item besides its runs of words."""

    benchmark: str
    number: int
    num_words: int
    """Words that can be found; 0 for an item too short to be looked for."""
    shown: str
    """The beginning of its longest text."""
    tail: tuple[tuple[int, ...], ...] = ()
    """Of a short item: the hashes of the fields that must follow its longest one."""


@dataclass(frozen=True)
class Index:
    """The runs of words of all items."""

    tables: NDArray[np.int64]
    """A hash table for each length of runs, small for the rare ones: length, where it begins in `keys` and its size,
    where its filter begins in `seen` and that one's size."""
    seen: Hashes
    """Filters, 64 bits in a number: a run whose bit is not set is not in the table, and most words stop there."""
    keys: Hashes
    """Hashes of runs, 0 where a place of a table is empty."""
    slots: NDArray[np.int32]
    """For each place, the number of its run."""
    lengths: NDArray[np.int32]
    """Words in each run."""
    first_posting: Places
    """Where the postings of each run begin; one number more than runs."""
    posting_item: NDArray[np.int32]
    posting_place: NDArray[np.int32]
    """At which of its item's words the run begins."""
    items: list[Described]

    def save(self, folder: Path) -> None:
        """Write the index; the list of items, written last, says that it is whole."""
        for name in ARRAYS:
            write_array(folder / f"{name}.npy", getattr(self, name))
        write_jsonl(folder / "items.jsonl", (vars(item) for item in self.items))

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """The index that `save` wrote; its arrays stay on disk and are shared between processes."""
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in ARRAYS
        }
        items = [
            Described(**{**row, "tail": tuple(tuple(field) for field in row["tail"])})
            for row in read_jsonl(folder / "items.jsonl")
        ]
        return cls(**arrays, items=items)


@dataclass(frozen=True)
class Match:
    """An item found in a text."""

    item: int
    words_found: int
    overlap: float
    """Share of the item's words."""
    spans: list[tuple[int, int]]
    """First word, and the word after the last, of each passage of the text; sorted, apart from each other."""


def index_of(items: Iterable[Item], ngram_words: int, min_words: int) -> Index:
    """The index of `items`."""
    described: list[Described] = []
    keys: list[Hashes] = [np.empty(0, np.uint64)]
    lengths: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    owners: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    places: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    for number, item in enumerate(items):
        runs, num_words, tail = _runs(item, ngram_words, min_words)
        shown = max(item.texts, key=len, default="")[:SHOWN_CHARACTERS]
        described.append(Described(item.benchmark, item.number, num_words, shown, tail))
        for hashes, length, at in runs:
            keys.append(hashes)
            lengths.append(np.full(len(hashes), length, np.int32))
            owners.append(np.full(len(hashes), number, np.int32))
            places.append(at)
    distinct, first, run_of = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
    order = np.argsort(run_of, kind="stable")
    of_length = np.concatenate(lengths)[first]
    return Index(
        *_tables(distinct, of_length),
        of_length,
        np.concatenate([[0], np.cumsum(np.bincount(run_of, minlength=len(distinct)))]).astype(np.int64),
        np.concatenate(owners)[order],
        np.concatenate(places)[order],
        described,
    )


def find_runs(index: Index, words: Words) -> NDArray[np.int32]:
    """The runs of the index in a text: rows of (place of its first word, number of the run), by place."""
    found = [np.empty((0, 2), np.int32)]
    for length, begin, size, begin_seen, size_seen in index.tables.tolist():
        hashes = run_hashes(words.hashes, length)
        table = index.keys[begin : begin + size], index.slots[begin : begin + size]
        seen = index.seen[begin_seen : begin_seen + size_seen]
        hits = np.empty((16, 2), np.int32)
        count = _look_up(hashes, seen, *table, hits)
        if count > len(hits):
            hits = np.empty((count, 2), np.int32)
            _look_up(hashes, seen, *table, hits)
        found.append(hits[:count])
    every = np.concatenate(found)
    return every[np.lexsort((every[:, 1], every[:, 0]))]


def matches(index: Index, words: Words, hits: NDArray[np.int32], min_overlap: float) -> Iterator[Match]:
    """The items of which at least one run and `min_overlap` of their words were found, in their order."""
    counts = index.first_posting[hits[:, 1] + 1] - index.first_posting[hits[:, 1]]
    which = np.repeat(np.arange(len(hits)), counts)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    posting = index.first_posting[hits[which, 1]] + offset
    items, places = index.posting_item[posting], index.posting_place[posting]
    order = np.lexsort((places, items))
    cuts = np.flatnonzero(np.diff(items[order], prepend=-1, append=len(index.items)))
    for begin, end in itertools.pairwise(cuts):
        rows = order[begin:end]
        number = int(items[rows[0]])
        item = index.items[number]
        at, lengths = hits[which[rows], 0], index.lengths[hits[which[rows], 1]]
        spans = [(int(a), int(a + n)) for a, n in zip(at, lengths, strict=True)]
        if item.tail:
            ends = [(a, _end_of_tail(words, b, item.tail)) for a, b in spans]
            spans = [(a, b) for a, b in ends if b is not None]
            if spans:
                yield Match(number, item.num_words, 1.0, _joined(spans))
            continue
        covered = sum(
            b - a for a, b in _joined([(int(p), int(p + n)) for p, n in zip(places[rows], lengths, strict=True)])
        )
        overlap = min(1.0, covered / item.num_words)
        if overlap >= min_overlap:
            yield Match(number, covered, overlap, _joined(spans))


def _runs(
    item: Item, ngram_words: int, min_words: int
) -> tuple[list[tuple[Hashes, int, NDArray[np.int32]]], int, tuple[tuple[int, ...], ...]]:
    """The runs of an item as (hashes, words in each, places among the item's words), its words, and its tail."""
    texts = [_bare(text) for text in item.texts]
    split = [words_of(text) for text in texts]
    counts = [len(words.hashes) for words in split]
    wholes = [not listed and min_words <= n < ngram_words for n, listed in zip(counts, item.listed, strict=True)]
    runs, num_words = _collected(texts, split, wholes, ngram_words)
    if runs:
        return runs, num_words, ()
    head = max((i for i, listed in enumerate(item.listed) if not listed), key=lambda i: counts[i], default=-1)
    behind = split[head + 1 :] or split[: max(head, 0)]  # some files have the choices before the question
    tail = tuple(tuple(words.hashes.tolist()) for words in behind if len(words.hashes))
    if head >= 0 and tail and MIN_HEAD_WORDS <= counts[head] < ngram_words:
        hashes, places = _telling_runs(texts[head], split[head], counts[head])
        num_words = counts[head] + sum(map(len, tail))
        if len(hashes) and num_words >= min_words:
            return [(hashes, counts[head], places)], num_words, tail
    runs, num_words = _collected(texts, split, [min_words <= n < ngram_words for n in counts], ngram_words)
    return runs, num_words, ()


def _collected(
    texts: Sequence[str], split: Sequence[Words], wholes: Sequence[bool], ngram_words: int
) -> tuple[list[tuple[Hashes, int, NDArray[np.int32]]], int]:
    """The runs of the texts that are long, or to be found whole, and how many words those have."""
    runs, num_words = [], 0
    for text, words, whole in zip(texts, split, wholes, strict=True):
        count = len(words.hashes)
        if count >= ngram_words or whole:
            length = count if whole else ngram_words
            hashes, places = _telling_runs(text, words, length)
            if len(hashes):
                runs.append((hashes, length, places + np.int32(num_words)))
                num_words += count
    return runs, num_words


def _bare(text: str) -> str:
    """A text without the words that only say what it is ("Question: ...", "... Answer:")."""
    return LABEL_BEHIND.sub("", LABEL_BEFORE.sub("", text))


def _telling_runs(text: str, words: Words, length: int) -> tuple[Hashes, NDArray[np.int32]]:
    """The runs of `length` words that are evidence, and at which word each begins."""
    spans = zip(words.begins.tolist(), words.ends.tolist(), strict=True)
    lettered = np.array([not text[begin:end].isnumeric() for begin, end in spans], np.bool_)
    distinct = np.zeros(max(0, len(lettered) - length + 1), np.int32)
    _count_distinct(words.hashes, lettered, length, distinct)
    places = np.flatnonzero(distinct >= max(1, length // TELLING)).astype(np.int32)
    return run_hashes(words.hashes, length)[places], places


def _end_of_tail(words: Words, place: int, tail: tuple[tuple[int, ...], ...]) -> int | None:
    """The word after the last of `tail` where its fields follow each other from `place` on; else None."""
    for field in tail:
        wanted = np.array(field, np.uint64)
        for start in range(place, place + WORDS_BETWEEN + 1):
            if np.array_equal(words.hashes[start : start + len(wanted)], wanted):
                place = start + len(wanted)
                break
        else:
            return None
    return place


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same words as fewer spans, sorted."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _tables(
    distinct: Hashes, lengths: NDArray[np.int32]
) -> tuple[NDArray[np.int64], Hashes, Hashes, NDArray[np.int32]]:
    """A hash table for each length, at most half full, and the filter in front of it; see `Index`."""
    rows, seen, keys, slots = [], [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for length in np.unique(lengths):
        numbers = np.flatnonzero(lengths == length).astype(np.int32)
        size = 1 << max(4, int(2 * len(numbers)).bit_length())
        size_seen = max(1, (1 << int(BITS_PER_RUN * len(numbers)).bit_length()) // 64)
        row = [int(length), sum(map(len, keys)), size, sum(map(len, seen)), size_seen]
        keys.append(np.zeros(size, np.uint64))
        slots.append(np.zeros(size, np.int32))
        seen.append(np.zeros(size_seen, np.uint64))
        _fill(distinct[numbers], numbers, seen[-1], keys[-1], slots[-1])
        rows.append(row)
    return np.array(rows, np.int64).reshape(-1, 5), np.concatenate(seen), np.concatenate(keys), np.concatenate(slots)


@kernel
def _fill(hashes: Hashes, numbers: NDArray[np.int32], seen: Hashes, keys: Hashes, slots: NDArray[np.int32]) -> None:
    mask, mask_seen = np.uint64(len(keys) - 1), np.uint64(len(seen) - 1)
    for i in range(len(hashes)):
        bit = hashes[i] >> np.uint64(32)  # the table takes the lower bits
        seen[(bit >> np.uint64(6)) & mask_seen] |= np.uint64(1) << (bit & np.uint64(63))
        at = hashes[i] & mask
        while keys[at] != 0:
            at = (at + np.uint64(1)) & mask
        keys[at] = hashes[i]
        slots[at] = numbers[i]


@kernel
def _look_up(hashes: Hashes, seen: Hashes, keys: Hashes, slots: NDArray[np.int32], hits: NDArray[np.int32]) -> int:
    """Fill `hits` as far as it goes; returns how many there are."""
    mask, mask_seen = np.uint64(len(keys) - 1), np.uint64(len(seen) - 1)
    count = 0
    for place in range(len(hashes)):
        bit = hashes[place] >> np.uint64(32)
        if not (seen[(bit >> np.uint64(6)) & mask_seen] >> (bit & np.uint64(63))) & np.uint64(1):
            continue
        at = hashes[place] & mask
        while keys[at] != 0:
            if keys[at] == hashes[place]:
                if count < len(hits):
                    hits[count, 0] = place
                    hits[count, 1] = slots[at]
                count += 1
                break
            at = (at + np.uint64(1)) & mask
    return count


@kernel
def _count_distinct(words: Hashes, lettered: NDArray[np.bool_], length: int, distinct: NDArray[np.int32]) -> None:
    """For each run of `length` words, how many different ones with a letter it has."""
    for start in range(len(distinct)):
        count = 0
        for i in range(start, start + length):
            new = lettered[i]
            for j in range(start, i):
                if words[j] == words[i]:
                    new = False
                    break
            if new:
                count += 1
        distinct[start] = count
