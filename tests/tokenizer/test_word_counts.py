from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.pretokenize import split
from athanor.tokenizer.word_counts import WordCounter

words_of_all_lengths = st.lists(
    st.one_of(st.sampled_from(["a", " the", "x" * 7, "x" * 8, "x" * 15, "x" * 16, "y" * 15 + "z", "é" * 9]), st.text()),
    max_size=60,
).map(" ".join)


def counted(documents: list[str]) -> WordCounter:
    data = [text.encode("utf-8") for text in documents]
    counter = WordCounter("gpt4")
    counter.add(with_slack(b"".join(data)), np.cumsum([0, *map(len, data)], dtype=np.int64))
    return counter


@given(documents=st.lists(words_of_all_lengths, max_size=5))
def test_counts_are_those_of_a_plain_count(documents):
    expected = Counter(word.encode() for text in documents for word in split(text, "gpt4"))
    assert dict(counted(documents).result().words()) == expected


def test_counts_of_real_text_are_those_of_a_plain_count(texts):
    # Enough different words that the table grows several times.
    expected = Counter(word.encode() for text in texts for word in split(text, "gpt4"))
    counter = counted(texts)
    assert dict(counter.result().words()) == expected
    assert counter.num_words == expected.total()
    assert counter.num_bytes == sum(len(text.encode()) for text in texts)


def test_counts_of_parts_add_up_to_those_of_the_whole(texts):
    first, second = counted(texts[::2]), counted(texts[1::2])
    first.merge(second)
    assert dict(first.result().words()) == dict(counted(texts).result().words())


def test_counts_do_not_overflow_32_bits():
    counter = counted(["word"])
    for _ in range(33):
        counter.merge(counter)
    assert dict(counter.result().words()) == {b"word": 2**33}
