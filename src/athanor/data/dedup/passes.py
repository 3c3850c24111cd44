"""What duplicate removal does with one shard, pass after pass.

Every function here reads one shard of documents and leaves its findings in a folder of scratch files named
after the shard, so that passes can run anywhere and in any order. Texts never leave the shard; what
leaves it are keys, counts, and for likely copies their shingles.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path, read_json, write_json
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.data.dedup.config import Dedup, MinHash, RepeatedLines
from athanor.data.dedup.exact import text_key
from athanor.data.dedup.lines import Cleaned, Known, count_lines, line_key, without_repeated_lines
from athanor.data.dedup.minhash import band_keys, hash_functions, signature
from athanor.data.dedup.words import Hashes, shingle_hashes, simple_words

STARTS = "starts.json"  # shard -> position of its first document in the corpus


def fingerprint(path: Path, work: Path, near: MinHash | None) -> dict[str, int]:
    """Leave the text key of every document and, with `near`, its band keys."""
    documents = read_shard(path)
    texts = [document.text for document in documents]
    save(work / "text_keys" / f"{path.stem}.npy", _text_keys(texts))
    if near:
        functions = hash_functions(near)
        bands = np.zeros((near.bands, len(texts)), np.uint64)
        has_shingles = np.zeros(len(texts), np.bool_)
        for i, text in enumerate(texts):
            shingles = shingle_hashes(*simple_words(text), near.shingle_words)
            if len(shingles):
                has_shingles[i] = True
                bands[:, i] = band_keys(signature(shingles, functions), near.bands)
        save(work / "bands" / f"{path.stem}.npy", bands)
        save(work / "has_shingles" / f"{path.stem}.npy", has_shingles)
    return {"documents": len(texts), "bytes": sum(map(size_bytes, texts))}


def describe(path: Path, work: Path, folder: str, near: MinHash | None) -> int:
    """Leave id, URL, size and shingles of the shard's documents listed in `work/folder`, the likely copies."""
    members = np.load(work / folder / f"{path.stem}.npy")
    rows: list[dict[str, Any]] = []
    shingles: list[Hashes] = [np.empty(0, np.uint64)]
    if len(members):
        documents = read_shard(path)
        for document in (documents[i] for i in members):
            rows.append({"id": document.id, "url": document.url, "size_bytes": size_bytes(document.text)})
            if near:
                shingles.append(np.unique(shingle_hashes(*simple_words(document.text), near.shingle_words)))
    save(work / folder / f"{path.stem}.shingles.npy", np.concatenate(shingles))
    save(work / folder / f"{path.stem}.ends.npy", np.cumsum([len(part) for part in shingles]))
    write_json(work / folder / f"{path.stem}.json", rows)
    return len(rows)


def count_lines_of_kept(path: Path, work: Path) -> int:
    """Leave in how many of the shard's documents each line is found, copies left out."""
    removed = read_verdicts(work / "verdicts", path)
    start = read_json(work / STARTS)[path.stem]
    kept = {start + i: document.text for i, document in enumerate(read_shard(path)) if i not in removed}
    table = count_lines(list(kept.values()), list(kept))
    save(work / "line_counts" / f"{path.stem}.npy", table)
    return int(table.shape[1])


def clean_keys(path: Path, work: Path, lines: RepeatedLines) -> int:
    """Leave the text key of every document as it is without repeated lines."""
    known, start = _known_lines(work, lines), read_json(work / STARTS)[path.stem]
    texts = [document.text for document in read_shard(path)]
    cleaned = [without_repeated_lines(text, known, lines.run_words, start + i) for i, text in enumerate(texts)]
    save(work / "clean_text_keys" / f"{path.stem}.npy", _text_keys([clean.text for clean in cleaned]))
    too_short = [i for i, clean in enumerate(cleaned) if clean.dropped and clean.num_words < lines.min_words_left]
    write_json(work / "too_short" / f"{path.stem}.json", {i: cleaned[i].num_words for i in too_short})
    return len(too_short)


def write(path: Path, work: Path, out: Path, config: Dedup) -> dict[str, Any]:
    """Write the shard's kept and removed documents; returns what was counted."""
    verdicts = read_verdicts(work / "final_verdicts", path)
    num_copies = {int(i): n for i, n in read_json(work / "copies" / f"{path.stem}.json").items()}
    known, start = _known_lines(work, config.lines), read_json(work / STARTS)[path.stem]
    kept: list[Document] = []
    removed: list[Removed] = []
    dropped: Counter[str] = Counter()
    for i, document in enumerate(read_shard(path)):
        if i in verdicts:
            removed.append(Removed(document, *verdicts[i]))
            continue
        cleaned = _clean(document.text, known, config.lines, start + i)
        dropped.update(line.strip() for line in cleaned.dropped)
        notes = {"lines_removed": len(cleaned.dropped), "copies_removed": num_copies.get(i, 0)}
        metadata = document.metadata | {name: count for name, count in notes.items() if count}
        kept.append(replace(document, text=cleaned.text, metadata=metadata))
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, removed)
    write_json(work / "dropped_lines" / f"{path.stem}.json", [[line, line_key(line), n] for line, n in dropped.items()])
    return {
        "documents": len(kept),
        "bytes": sum(size_bytes(document.text) for document in kept),
        "removed": dict(Counter(row.removed_by for row in removed)),
        "bytes_removed": sum(size_bytes(row.document.text) for row in removed),
        "lines_removed": sum(dropped.values()),
    }


def read_verdicts(folder: Path, path: Path) -> dict[int, tuple[str, str]]:
    """For the removed documents of a shard: place in the shard -> removed_by and reason."""
    return {int(i): (by, reason) for i, (by, reason) in read_json(folder / f"{path.stem}.json").items()}


def save(path: Path, array: NDArray[Any]) -> None:
    """Write `array` as a .npy file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def size_bytes(text: str) -> int:
    """The size of `text` in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def _text_keys(texts: list[str]) -> Hashes:
    return np.array([text_key(text) for text in texts], np.uint64).reshape(-1, 2)


def _clean(text: str, known: Known, lines: RepeatedLines | None, position: int) -> Cleaned:
    return without_repeated_lines(text, known, lines.run_words, position) if lines else Cleaned(text, [], 0)


def _known_lines(work: Path, lines: RepeatedLines | None) -> Known:
    """What the pass over all lines found."""
    copied, first_in = np.load(work / "copied_lines.npy")
    within = lines is not None and lines.first_only != "off"
    return Known(np.load(work / "repeated_keys.npy"), copied, first_in.astype(np.int64), within)
