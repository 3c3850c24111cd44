"""Promises of data/dedup/minhash.py."""

from hashlib import sha1

import numpy as np
import pytest
from numpy.typing import NDArray

from athanor.data.dedup.config import MinHash
from athanor.data.dedup.minhash import (
    band_keys,
    hash_functions,
    jaccard,
    probability_of_meeting,
    shingles_of,
    signature,
)

CONFIG = MinHash()


def slow_signature(shingles: list[int], config: MinHash) -> list[int]:
    """One number at a time, in Python's own integers."""
    factors, summands = (numbers.tolist() for numbers in hash_functions(config))
    return [
        min((shingle * a + b) % 2**64 % (2**61 - 1) for shingle in shingles)
        for a, b in zip(factors, summands, strict=True)
    ]


def random_pair(similarity: float, size: int, generator: np.random.Generator) -> list[NDArray[np.uint64]]:
    """Two sets of shingles whose Jaccard similarity is `similarity`."""
    numbers = generator.integers(0, 2**64, size=2 * size, dtype=np.uint64)
    shared = round(size * similarity)
    own = (size - shared) // 2
    first = np.concatenate([numbers[:shared], numbers[shared : shared + own]])
    second = np.concatenate([numbers[:shared], numbers[shared + own : shared + 2 * own]])
    return [np.sort(first), np.sort(second)]


def test_signature_equals_a_slow_version() -> None:
    generator = np.random.default_rng(0)
    shingles = generator.integers(0, 2**64, size=50, dtype=np.uint64)
    assert signature(shingles, hash_functions(CONFIG)).tolist() == slow_signature(shingles.tolist(), CONFIG)


def test_signature_does_not_depend_on_order_or_repeats() -> None:
    shingles = np.random.default_rng(1).integers(0, 2**64, size=50, dtype=np.uint64)
    functions = hash_functions(CONFIG)
    expected = signature(shingles, functions)
    assert (signature(np.concatenate([shingles[::-1], shingles]), functions) == expected).all()


def test_a_document_without_shingles_is_refused() -> None:
    with pytest.raises(ValueError, match="without shingles"):
        signature(np.empty(0, np.uint64), hash_functions(CONFIG))


def test_jaccard_of_sets_done_by_hand() -> None:
    def numbers(*values: int) -> NDArray[np.uint64]:
        return np.array(values, np.uint64)

    assert jaccard(numbers(1, 2, 3), numbers(2, 3, 4)) == 0.5
    assert jaccard(numbers(1, 2), numbers(1, 2)) == 1.0
    assert jaccard(numbers(1), numbers(2)) == 0.0
    assert jaccard(numbers(), numbers()) == 0.0


def test_share_of_equal_places_estimates_the_similarity() -> None:
    generator = np.random.default_rng(2)
    functions = hash_functions(CONFIG)
    for similarity in (0.2, 0.5, 0.8, 0.95):
        pairs = [random_pair(similarity, 200, generator) for _ in range(60)]
        exact = [jaccard(*pair) for pair in pairs]
        estimates = [np.mean(signature(a, functions) == signature(b, functions)) for a, b in pairs]
        # 60 pairs x 112 hashes: standard error below 0.007 at the widest
        assert abs(np.mean(estimates) - np.mean(exact)) < 0.025


@pytest.mark.parametrize("similarity", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_pairs_meet_in_a_band_as_often_as_the_law_says(similarity: float) -> None:
    """Pairs of sets of random shingles, all of exactly one similarity."""
    generator = np.random.default_rng(round(100 * similarity))
    functions = hash_functions(CONFIG)
    trials = 2000
    met = 0
    for _ in range(trials):
        pair = random_pair(similarity, 190, generator)
        first, second = (band_keys(signature(shingles, functions), CONFIG.bands) for shingles in pair)
        met += bool((first == second).any())
    expected = probability_of_meeting(jaccard(*pair), CONFIG.bands, CONFIG.rows)
    error = (expected * (1 - expected) / trials) ** 0.5
    assert abs(met / trials - expected) < 4 * error, (met / trials, expected)


def test_band_keys_differ_where_a_single_place_differs() -> None:
    values = np.arange(112, dtype=np.uint64)
    changed = values.copy()
    changed[17] += np.uint64(1)
    assert np.flatnonzero(band_keys(values, 14) != band_keys(changed, 14)).tolist() == [2]


def test_compat_makes_its_own_signatures() -> None:
    pytest.importorskip("spacy", reason="compat 'datatrove' needs the extra: pip install 'athanor[compat]'")
    text = "A garden behind the house was quiet in the early morning, and nobody cannot have walked there."
    ours, theirs = shingles_of(text, CONFIG), shingles_of(text, MinHash(compat="datatrove"))
    assert len(theirs) == len(ours) + 1  # spaCy parts "cannot" in two
    expected = sha1(b"a garden behind the house").digest()[:8]
    assert theirs[0] == int.from_bytes(expected, "little")
