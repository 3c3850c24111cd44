from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as PeerTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.pretokenize import split
from athanor.tokenizer.word_counts import WordCounts


def word_counts(counts: dict[bytes, int]) -> WordCounts:
    text = np.frombuffer(b"".join(counts), np.uint8)
    return WordCounts(text, np.cumsum([len(word) for word in counts]).astype(np.int64), np.array([*counts.values()]))


def counted(text: str) -> dict[bytes, int]:
    return Counter(word.encode() for word in split(text, "gpt4"))


def slow_merges(counts: dict[bytes, int], num_merges: int) -> list[tuple[int, int]]:
    """The rules written down plainly: count all pairs again after every merge."""
    words = [(list(word), count) for word, count in counts.items()]
    merges: list[tuple[int, int]] = []
    while len(merges) < num_merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, count in words:
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        words = [(merged(word, best, 256 + len(merges)), count) for word, count in words]
        merges.append(best)
    return merges


def merged(word: list[int], pair: tuple[int, int], made: int) -> list[int]:
    out, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            out.append(made)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def as_pairs(merges: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(row) for row in merges.tolist()]


@given(
    words=st.dictionaries(st.text("aab c'1é", min_size=1, max_size=14).map(str.encode), st.integers(1, 9), max_size=12),
    num_merges=st.integers(0, 60),
)
def test_merges_are_those_of_the_slow_version(words, num_merges):
    assert as_pairs(train_merges(word_counts(words), num_merges)) == slow_merges(words, num_merges)


def test_merges_of_real_text_are_those_of_the_slow_version(texts):
    counts = counted("".join(texts)[:20_000])
    assert as_pairs(train_merges(word_counts(counts), 200)) == slow_merges(counts, 200)


def test_a_hand_computed_example():
    # Pairs of "low" x5, "lower" x2, "newest" x6: (w, e) 8; (l, o), (o, w) 7; (n, e), (e, w), (e, s), (s, t) 6.
    merges = as_pairs(train_merges(word_counts({b"low": 5, b"lower": 2, b"newest": 6}), 3))
    assert merges == [(ord("w"), ord("e")), (ord("l"), ord("o")), (ord("e"), 256)]


def test_among_equal_counts_the_smallest_pair_comes_first():
    assert as_pairs(train_merges(word_counts({b"zy": 3, b"ba": 3, b"bz": 3}), 3)) == [(98, 97), (98, 122), (122, 121)]


def test_a_run_of_one_letter_is_merged_from_the_left():
    # aaaaa -> (aa)(aa)a; then (aa)a and (aa)(aa) occur once each, and the pair with the smaller tokens comes first.
    assert as_pairs(train_merges(word_counts({b"aaaaa": 1}), 3)) == [(97, 97), (256, 97), (256, 257)]


def test_counts_beyond_32_bits_decide_the_order():
    words = {b"ab": 2**33, b"cd": 2**33 + 1, b"ef": 5}
    assert as_pairs(train_merges(word_counts(words), 3)) == [(99, 100), (97, 98), (101, 102)]


def test_training_ends_when_no_pair_is_left():
    assert as_pairs(train_merges(word_counts({b"abc": 1}), 10)) == [(97, 98), (256, 99)]
    assert len(train_merges(word_counts({}), 10)) == 0
    assert len(train_merges(word_counts({b"abc": 1}), 0)) == 0


@pytest.mark.slow
def test_text_becomes_as_few_tokens_as_with_the_trainer_of_tokenizers(texts, tokenizer):
    """Its ties fall otherwise, so merges differ; how well they compress must not."""
    peer = PeerTokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    peer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1256, initial_alphabet=alphabet, show_progress=False)
    )
    ours = sum(len(tokenizer.encode(text)) for text in texts)
    theirs = sum(len(peer.encode(text).ids) for text in texts)
    assert ours == pytest.approx(theirs, rel=0.03)
