"""A small vocabulary trained on the Python documentation that every installation has."""

from pydoc_data import topics

import numpy as np
import pytest

from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import Vocabulary, trained_vocabulary
from athanor.tokenizer.word_counts import WordCounter


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Real prose with code in it, about 700 kB."""
    return [text for _, text in sorted(topics.topics.items())]


@pytest.fixture(scope="session")
def vocabulary(texts: list[str]) -> Vocabulary:
    data = "\n".join(texts).encode()
    counter = WordCounter("gpt4")
    counter.add(with_slack(data), np.array([0, len(data)], np.int64))
    return trained_vocabulary("gpt4", train_merges(counter.result(), 1000), SPECIAL_TOKENS)


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    return Tokenizer(vocabulary)
