"""Batches depend on the step alone, use every token of an epoch once, and mix as asked in the decay."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from athanor.tokenizer.token_shards import TokenDataset
from athanor.train.loader import Batches, Source


def source(corpus: dict[str, Path], part: str = "train", context_length: int = 32) -> Source:
    return Source.of(TokenDataset(corpus["tokens"] / part), context_length, seed=3)


def batches(corpus: dict[str, Path], good_rows: int = 2, first_decay_step: int = 5) -> Batches:
    return Batches(source(corpus), source(corpus, "high_quality"), 8, good_rows, first_decay_step)


def test_a_step_asked_for_alone_equals_the_step_in_sequence(corpus: dict[str, Path]) -> None:
    in_sequence = [batches(corpus).batch(step) for step in range(9)]
    for step in (8, 0, 5):
        for alone, expected in zip(batches(corpus).batch(step), in_sequence[step], strict=True):
            assert np.array_equal(alone, expected)


def test_an_epoch_reads_every_row_once_and_the_next_in_another_order(corpus: dict[str, Path]) -> None:
    train = source(corpus)
    count = train.rows.num_rows
    epochs = [[train.row(epoch * count + i)[0].tobytes() for i in range(count)] for epoch in range(2)]
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(train.rows.row_tokens(i).tobytes() for i in range(count))
    assert epochs[0] != epochs[1]


def test_the_decay_phase_mixes_in_high_quality_rows_and_goes_on_in_the_training_set(corpus: dict[str, Path]) -> None:
    mixed = batches(corpus)
    from_train, from_good = [], []
    for step in range(10):
        places = mixed.places(step)
        assert len(places) == 8
        assert sum(origin is mixed.high_quality for origin, _ in places) == (2 if step >= 5 else 0)
        from_train += [index for origin, index in places if origin is mixed.train]
        from_good += [index for origin, index in places if origin is mixed.high_quality]
    assert from_train == list(range(5 * 8 + 5 * 6))
    assert from_good == list(range(5 * 2))
    assert mixed.train_epochs(10) == pytest.approx((5 * 8 + 5 * 6) / mixed.train.rows.num_rows)


def test_weights_add_up_to_one_and_padding_weighs_nothing(corpus: dict[str, Path]) -> None:
    train = source(corpus, context_length=40)
    eos = train.rows.dataset.eos_id
    everything = Batches(train, None, train.rows.num_rows, 0, 10**9)
    rows, weights = everything.batch(0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    dataset = train.rows.dataset
    ends_in_rows = int((rows == eos).sum())
    padding = ends_in_rows - dataset.num_documents
    assert int((weights == 0).sum()) == padding


def test_an_empty_dataset_is_an_error(corpus: dict[str, Path], tmp_path: Path) -> None:
    from athanor.tokenizer.token_shards import write_dataset_manifest
    from athanor.tokenizer.tokenizer import Tokenizer

    write_dataset_manifest(tmp_path, Tokenizer.load(corpus["tokenizer"]), [])
    with pytest.raises(ValueError, match="no documents"):
        Source.of(TokenDataset(tmp_path), 16, seed=0)
