"""Counts stay exact however little memory there is, and of too many words the rarest go."""

from collections import Counter

import numpy as np
import pytest

from athanor.core.documents import Document, write_shard
from athanor.tokenizer.config import TrainTokenizer
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.pretokenize import split
from athanor.tokenizer.train_step import count_words
from athanor.tokenizer.word_counts import WordCounter, WordCounts
from athanor.tokenizer.word_spill import Spill, kept_words


@pytest.fixture(scope="module")
def paths(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    for i in range(4):
        rows = [Document(str(j), "", text) for j, text in enumerate(texts[i::4])]
        write_shard(folder / f"{i:05d}.parquet", rows)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def expected(texts):
    return Counter(word.encode() for text in texts for word in split(text, "gpt4"))


def counted(paths, tmp_path, **settings):
    return count_words(paths, TrainTokenizer(**settings), tmp_path / "words")


@pytest.mark.parametrize("workers", [1, 3])
def test_tables_that_went_to_disk_add_up_to_a_plain_count(paths, expected, tmp_path, workers):
    kept, sums = counted(paths, tmp_path, memory_bytes=1, workers=workers)
    assert len(list((tmp_path / "words").iterdir())) > 4
    assert dict(kept.words.words()) == expected
    assert (kept.different_words, kept.occurrences_left_out, kept.least_count) == (len(expected), 0, 1)
    assert sums["words"] == expected.total()


@pytest.mark.parametrize("settings", [{}, {"memory_bytes": 1, "workers": 2}])
def test_the_rarest_words_are_left_out_in_memory_and_on_disk_alike(paths, expected, tmp_path, settings):
    bound = 20_000
    kept, _ = counted(paths, tmp_path, max_word_bytes=bound, **settings)
    found = dict(kept.words.words())
    least = min(found.values())
    assert found == {word: count for word, count in expected.items() if count >= least}
    assert sum(map(len, found)) <= bound < sum(len(word) for word, count in expected.items() if count >= least - 1)
    assert kept.occurrences_left_out == sum(count for count in expected.values() if count < least)


def test_words_of_every_length_keep_their_counts_on_disk(tmp_path):
    words = [b"x" * n for n in range(1, 40)] + [b"y" * 15, b"z" * 16, "é".encode() * 9]
    ends = np.cumsum(list(map(len, words)), dtype=np.int64)
    table = WordCounts(np.frombuffer(b"".join(words), np.uint8), ends, np.arange(1, len(words) + 1))
    spill = Spill(tmp_path, "gpt4")
    spill.add(table)
    spill.add(table)
    found = {word: count for part in spill.parts() for word, count in part.words()}
    assert found == {word: 2 * (i + 1) for i, word in enumerate(words)}


def test_a_bound_that_not_even_the_commonest_words_keep_is_refused():
    counter = WordCounter("gpt4")
    counter.add(with_slack(b"word"), np.array([0, 4], np.int64))
    for _ in range(17):
        counter.merge(counter)
    with pytest.raises(ValueError, match="max_word_bytes is 3: raise it"):
        kept_words([counter.result()], [counter.result()], 3)
