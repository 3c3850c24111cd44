"""Batches depend on the step alone, use every token of an epoch once, and draw from datasets by weight."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from athanor.tokenizer.token_shards import TokenDataset
from athanor.train.loader import Batches, Phase, Source


def source(corpus: dict[str, Path], part: str = "train", context_length: int = 32) -> Source:
    return Source.of(TokenDataset(corpus["tokens"] / part), context_length, seed=3)


def sources(corpus: dict[str, Path]) -> dict[str, Source]:
    return {name: source(corpus, name) for name in ("train", "high_quality")}


PHASES = (Phase(0, {"train": 1.0}), Phase(5, {"train": 0.75, "high_quality": 0.25}))


def test_a_step_asked_for_alone_equals_the_step_in_sequence(corpus: dict[str, Path]) -> None:
    found = Batches(sources(corpus), PHASES, 8)
    in_sequence = [found.batch(step) for step in range(9)]
    for step in (8, 0, 5):
        alone = Batches(sources(corpus), PHASES, 8).batch(step)
        assert np.array_equal(alone.rows, in_sequence[step].rows)
        assert np.array_equal(alone.weights, in_sequence[step].weights)


def test_an_epoch_reads_every_row_once_and_the_next_in_another_order(corpus: dict[str, Path]) -> None:
    train = source(corpus)
    count = train.rows.num_rows
    epochs = [[train.row(epoch * count + i) for i in range(count)] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(count))
    assert epochs[0] != epochs[1]


def test_a_phase_mixes_by_weight_and_goes_on_where_the_last_one_left_off(corpus: dict[str, Path]) -> None:
    mixed = Batches(sources(corpus), PHASES, 8)
    drawn: dict[str, list[int]] = {"train": [], "high_quality": []}
    for step in range(10):
        places = mixed.places(step)
        assert Counter(name for name, _ in places)["high_quality"] == (2 if step >= 5 else 0)
        for name, index in places:
            drawn[name].append(index)
    assert drawn["train"] == list(range(5 * 8 + 5 * 6))
    assert drawn["high_quality"] == list(range(5 * 2))
    assert mixed.drawn(10) == {"train": 70, "high_quality": 10}
    assert mixed.epochs(10)["train"] == pytest.approx(70 / mixed.sources["train"].rows.num_rows)


def test_the_rows_are_the_same_whatever_the_size_of_the_batch(corpus: dict[str, Path]) -> None:
    """Three phases whose beginnings fall on the same samples with batches of 4, 8 and 2 of 8 processes."""

    def rows(batch_size: int) -> list[tuple[str, int]]:
        starts = (0, 16, 48)
        weights = ({"train": 0.7, "high_quality": 0.3}, {"train": 0.1, "high_quality": 0.9}, {"train": 1.0})
        phases = [Phase(start // batch_size, w) for start, w in zip(starts, weights, strict=True)]
        found = Batches(sources(corpus), phases, batch_size)
        return [place for step in range(80 // batch_size) for place in found.places(step)]

    assert rows(4) == rows(8) == rows(2)


def test_a_small_weight_is_never_zero(corpus: dict[str, Path]) -> None:
    found = Batches(sources(corpus), [Phase(0, {"train": 1.0, "high_quality": 1e-12})], 1 << 10)
    assert found.drawn(1 << 10) == {"train": (1 << 20) - 1, "high_quality": 1}


def test_what_an_earlier_run_has_drawn_comes_later(corpus: dict[str, Path]) -> None:
    whole = Batches(sources(corpus), PHASES, 8)
    rest = Batches(sources(corpus), [Phase(0, PHASES[1].weights)], 4, whole.drawn(5))
    assert [p for step in range(10) for p in rest.places(step)] == [p for s in range(5, 10) for p in whole.places(s)]
    assert rest.drawn(10) == {"train": 30, "high_quality": 10}


def test_phases_out_of_order_are_refused(corpus: dict[str, Path]) -> None:
    for starts in ((), (1,), (0, 5, 5)):
        with pytest.raises(ValueError, match="begin at"):
            Batches(sources(corpus), [Phase(start, {"train": 1.0}) for start in starts], 8)


def test_weights_add_up_to_one_and_padding_weighs_nothing(corpus: dict[str, Path]) -> None:
    train = source(corpus, context_length=40)
    eos = train.rows.dataset.eos_id
    batch = Batches({"train": train}, [Phase(0, {"train": 1.0})], train.rows.num_rows).batch(0)
    assert batch.weights.sum() == pytest.approx(1.0, abs=1e-5)
    padding = int((batch.rows == eos).sum()) - train.rows.dataset.num_documents
    assert int((batch.weights == 0).sum()) == padding


def test_apart_no_document_is_predicted_from_the_one_before(corpus: dict[str, Path]) -> None:
    train = source(corpus, context_length=200)
    batches = Batches({"train": train}, [Phase(0, {"train": 1.0})], train.rows.num_rows, documents_apart=True)
    batch = batches.batch(0)
    for row, weights, ends in zip(batch.rows, batch.weights, batch.ends, strict=True):
        counted = set((np.flatnonzero(weights) + 1).tolist())  # places of the targets
        assert counted == set(range(1, int(ends[-1]))) - set(ends.tolist())
        begins = [end for end in ends[:-1] if row[end] == train.rows.dataset.bos_id]
        assert all(weights[end - 1] == 0 for end in begins)
    assert batch.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_an_empty_dataset_is_an_error(corpus: dict[str, Path], tmp_path: Path) -> None:
    from athanor.tokenizer.token_shards import write_dataset_manifest
    from athanor.tokenizer.tokenizer import Tokenizer

    write_dataset_manifest(tmp_path, Tokenizer.load(corpus["tokenizer"]), [])
    with pytest.raises(ValueError, match="no documents"):
        Source.of(TokenDataset(tmp_path), 16, seed=0)
