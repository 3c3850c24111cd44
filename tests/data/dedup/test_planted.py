"""Near copies planted in a corpus are found with the probability that the bands promise."""

from pathlib import Path

import numpy as np
import pytest

from athanor.core.documents import Document, read_documents, shard_name, write_shard
from athanor.data.dedup import step
from athanor.data.dedup.config import Dedup, MinHash
from athanor.data.dedup.minhash import jaccard, probability_of_meeting
from athanor.data.dedup.words import shingle_hashes, simple_words

LETTERS = np.array(list("abcdefghijklmnop"))
NUM_PAIRS, NUM_WORDS = 400, 104  # 100 shingles of five words


def random_words(generator: np.random.Generator, num_words: int) -> list[str]:
    return ["".join(word) for word in generator.choice(LETTERS, (num_words, 9))]


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_planted_pairs_are_found_as_often_as_the_law_says(tmp_path: Path, similarity: float) -> None:
    """A pair shares its first words; with n shingles each and k shared the similarity is k / (2n - k)."""
    generator = np.random.default_rng(round(100 * similarity))
    shared = round(2 * 100 * similarity / (1 + similarity)) + 4
    documents = []
    for pair in range(NUM_PAIRS):
        common = random_words(generator, shared)
        for copy in "ab":
            words = common + random_words(generator, NUM_WORDS - shared)
            documents.append(Document(f"{pair}{copy}", "", " ".join(words)))
    for i in range(4):
        write_shard(tmp_path / "in" / shard_name(i), documents[i::4])
    config = Dedup(exact=False, near=MinHash(min_similarity=0), lines=None)
    metrics = step.run(config, {"documents": tmp_path / "in"}, tmp_path / "out")

    sets = [np.unique(shingle_hashes(*simple_words(document.text), 5)) for document in documents[:2]]
    exact = jaccard(sets[0], sets[1])
    assert exact == (shared - 4) / (200 - (shared - 4))
    expected = probability_of_meeting(exact, 14, 8)
    found = (metrics["documents_in"] - metrics["documents_out"]) / NUM_PAIRS
    error = (expected * (1 - expected) / NUM_PAIRS) ** 0.5
    assert abs(found - expected) < 4 * error + 1e-9, (found, expected)
    pairs_left = {document.id[:-1] for document in read_documents(tmp_path / "out" / "documents")}
    assert len(pairs_left) == NUM_PAIRS  # of each pair one stays, and no pair was taken for another's
