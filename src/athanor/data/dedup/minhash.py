"""MinHash signatures of documents, and the bands in which near copies meet.

In: the hashes of a document's shingles. Out: its signature, of which each of `bands` bands becomes one
64-bit key. The share of equal places in two signatures estimates the Jaccard similarity s of the two shingle
sets; all `rows` places of at least one band agree with probability 1 - (1 - s**rows)**bands
(Broder 1997; Lee et al. 2022). The hash functions are h -> (a h + b mod 2**64) mod (2**61 - 1), with a and b
drawn as datatrove draws them, so that equal shingles give equal signatures there and here.
"""

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.config import MinHash
from athanor.data.dedup.words import Hashes, shingle_hashes, simple_words

MERSENNE_61 = (1 << 61) - 1
MIX_MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd


def hash_functions(config: MinHash) -> tuple[Hashes, Hashes]:
    """The factors a and the summands b of the `bands * rows` hash functions."""
    draw = np.random.RandomState(config.seed)  # frozen by numpy: draws the same numbers in every version
    size = config.bands * config.rows
    factors = draw.randint(1, MERSENNE_61, size, np.uint64)
    summands = draw.randint(0, MERSENNE_61, size, np.uint64)
    return factors, summands


def shingles_of(text: str, config: MinHash) -> Hashes:
    """The hash of every shingle of `text` in order, repeats included, as `config` says.

    Raises ValueError where `compat` needs a package that is not installed.
    """
    if config.compat == "datatrove":
        from athanor.data.compat import signature as theirs

        return theirs.shingle_hashes(text, config.shingle_words)
    return shingle_hashes(*simple_words(text), config.shingle_words)


def signature(shingles: Hashes, functions: tuple[Hashes, Hashes]) -> Hashes:
    """The smallest value of each hash function over the shingles, of which there must be at least one."""
    if not len(shingles):
        raise ValueError("a document without shingles has no signature")
    smallest = np.full(len(functions[0]), MERSENNE_61, np.uint64)
    _minimum(shingles, functions[0], functions[1], smallest)
    return smallest


def band_keys(signature: Hashes, bands: int) -> Hashes:
    """One key per band, equal for two documents that agree in all places of the band."""
    keys = np.zeros(bands, np.uint64)
    _mix_bands(signature.reshape(bands, -1), keys)
    return keys


def probability_of_meeting(similarity: float, bands: int, rows: int) -> float:
    """How often two documents of this Jaccard similarity agree in at least one band.

    >>> round(probability_of_meeting(0.8, bands=14, rows=8), 3)
    0.924
    """
    return 1.0 - (1.0 - similarity**rows) ** bands


def jaccard(first: Hashes, second: Hashes) -> float:
    """Shared shingles over all shingles of two documents, given as sorted arrays without repeats.

    Two documents without shingles have similarity 0: nothing says that they are alike.
    """
    shared = int(_count_shared(first, second))
    together = len(first) + len(second) - shared
    return shared / together if together else 0.0


@kernel
def _minimum(shingles: Hashes, factors: Hashes, summands: Hashes, smallest: Hashes) -> None:
    prime = np.uint64(MERSENNE_61)
    for shingle in shingles:
        for i in range(len(smallest)):
            value = shingle * factors[i] + summands[i]  # overflow is meant: modulo 2**64
            value = (value & prime) + (value >> np.uint64(61))
            value = value - prime if value >= prime else value
            smallest[i] = min(smallest[i], value)


@kernel
def _mix_bands(rows: NDArray[np.uint64], keys: Hashes) -> None:
    for band in range(len(keys)):
        key = np.uint64(band)
        for value in rows[band]:
            key = (key ^ value) * np.uint64(MIX_MULTIPLIER)
            key ^= key >> np.uint64(32)
        keys[band] = key


@kernel
def _count_shared(first: Hashes, second: Hashes) -> int:
    shared = 0
    i = 0
    j = 0
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            shared += 1
            i += 1
            j += 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return shared
