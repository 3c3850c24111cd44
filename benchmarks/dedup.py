"""Near-duplicate clustering of a million signatures: `python benchmarks/dedup.py [--documents N]`.

Makes signatures of 14 bands of 8 rows with planted clusters, in shards on disk. Timed is everything from there to
the groups: keys of the bands, the shuffle through files, pairs, union-find. One process, one thread. Prints CPU
seconds by part and the peak memory; the target is 60 s for a million on one core. Beside it the share of planted
pairs found and the share that the formula of the bands promises.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from athanor.data.dedup.meetings import MEMBERS, find_groups, leave_keys, pair_range
from athanor.data.dedup.minhash import band_keys, probability_of_meeting
from athanor.data.dedup.ranges import numbers, read_table, split_hashes

BANDS, ROWS, SHARD = 14, 8, 50_000
SIMILARITIES = np.array([0.6, 0.7, 0.8, 0.9, 1.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    options = parser.parse_args()
    _cluster(_planted(Path(tempfile.mkdtemp()), SHARD // 10)[0], SHARD // 10)  # compiles the kernels
    with tempfile.TemporaryDirectory() as folder:
        shards, original, similarity = _planted(Path(folder), options.documents)
        before = _peak_bytes()
        seconds, groups = _cluster(shards, options.documents)
        print(f"{options.documents:,} signatures of {BANDS} x {ROWS}, {len(shards)} shards")
        for part, used in seconds.items():
            print(f"  {part:<38} {used:8.2f} s CPU")
        print(f"  {'total (target: 60 s for a million)':<38} {sum(seconds.values()):8.2f} s CPU")
        print(f"  peak memory {_peak_bytes() / 1e6:,.0f} MB ({before / 1e6:,.0f} MB before)")
        copies = np.flatnonzero(original >= 0)
        met = groups[copies] == groups[original[copies]]
        for value in SIMILARITIES:
            chosen = similarity[copies] == value
            law = probability_of_meeting(float(value), BANDS, ROWS)
            print(f"  planted at {value:.1f}: {chosen.sum():>7,} pairs, {met[chosen].mean():.4f} found, law {law:.4f}")
        alone = np.setdiff1d(np.arange(options.documents), np.concatenate([copies, original[copies]]))
        print(f"  not planted: {len(alone):,} documents, {(groups[alone] != alone).sum()} in a group")


def _planted(folder: Path, num_documents: int) -> tuple[list[Path], Any, Any]:
    """Shards of signatures; for each document the one it copies (-1: none), and how alike the two are.

    A fifth of the documents are copies of one among the documents before them in the shard: each of the 112 places
    is the original's with probability equal to the similarity.
    """
    generator = np.random.default_rng(0)
    originals, similarities, shards = [], [], []
    for start in range(0, num_documents, SHARD):
        size = min(SHARD, num_documents - start)
        signatures = generator.integers(0, (1 << 61) - 1, (size, BANDS * ROWS), np.uint64)
        is_copy = np.arange(size) >= size - size // 5
        original = np.where(is_copy, generator.integers(0, size - size // 5, size), -1)
        similarity = generator.choice(SIMILARITIES, size)
        equal = generator.random((size, BANDS * ROWS)) < np.where(is_copy, similarity, 0)[:, None]
        signatures = np.where(equal, signatures[original], signatures)
        if start:  # half of the copies are of documents in the shard before
            other = is_copy & (generator.random(size) < 0.5)
            previous = np.load(shards[-1])
            signatures[other] = np.where(equal[other], previous[original[other]], signatures[other])
            original = np.where(other, original - SHARD, original)
        shards.append(folder / f"{start // SHARD:05d}.npy")
        np.save(shards[-1], signatures)
        originals.append(np.where(is_copy, original + start, -1))
        similarities.append(similarity)
    return shards, np.concatenate(originals), np.concatenate(similarities)


def _cluster(shards: list[Path], num_documents: int) -> tuple[dict[str, float], Any]:
    """CPU seconds of each part, and for each document the first of its group."""
    seconds: dict[str, float] = {}

    def timed(part: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        result = function(*arguments)
        seconds[part] = seconds.get(part, 0.0) + time.process_time() - start
        return result

    def keys_of(signatures: Any) -> Any:
        return np.concatenate([band_keys(signature, BANDS) for signature in signatures])

    with tempfile.TemporaryDirectory() as folder:
        stage, left, start = Path(folder), 0, 0
        for path in shards:
            keys = timed("keys of bands", lambda path: keys_of(np.load(path)), path)
            owners = np.repeat(np.arange(start, start + len(keys) // BANDS), BANDS)
            start += len(keys) // BANDS
            left += timed("shards: sorted keys to files", leave_keys, stage, path.stem, keys, owners)
        for path in split_hashes(stage / "ranges", left):
            timed("ranges: equal keys to pairs", pair_range, path, stage)
        timed("union-find and groups", find_groups, stage, num_documents)
        groups = np.arange(num_documents)
        members = read_table(stage / MEMBERS)
        groups[numbers(members, "position")] = numbers(members, "group")
    return seconds, groups


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
