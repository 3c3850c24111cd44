"""The n-gram baseline is a true probability model, equal to a slow one written with dictionaries."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.evaluation.ngram import BOUNDARY, NUM_SYMBOLS, NgramModel, train

TEXTS = [f"the cat {verb} on the {place}.\n" * 3 for verb in ("sat", "lay", "hid") for place in ("mat", "hat", "bed")]
TEXTS += ["def sum(a, b):\n    return a + b\n", "naïve café, 日本語", ""]


def slow_nats(model: NgramModel, training: list[str], document: str) -> float:
    """The same model by dictionaries, one symbol at a time."""
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for text in training:
        for context, symbol in _symbols(text, model.order):
            for length in range(model.order):
                following[context[len(context) - length :]][symbol] += 1
    total = 0.0
    for context, symbol in _symbols(document, model.order):
        p = 1 / NUM_SYMBOLS
        for length in range(model.order):
            seen = following.get(context[len(context) - length :])
            if seen:
                back_off = model.strengths[length] * len(seen)
                p = (seen[symbol] + back_off * p) / (seen.total() + back_off)
        total -= math.log(p)
    return total


def _symbols(text: str, order: int) -> list[tuple[tuple[int, ...], int]]:
    symbols = [BOUNDARY] * (order - 1) + list(text.encode()) + [BOUNDARY]
    return [(tuple(symbols[i - order + 1 : i]), symbols[i]) for i in range(order - 1, len(symbols))]


@pytest.mark.parametrize("order", [1, 2, 5])
def test_equals_the_slow_version(order: int) -> None:
    model = train(TEXTS, order)
    documents = ["the cat sat on a dog.", "日本", "", "zzz\x00", TEXTS[0]]
    fast = model.nats(documents)
    for document, nats in zip(documents, fast, strict=True):
        assert nats == pytest.approx(slow_nats(model, TEXTS, document), rel=1e-12)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.text(max_size=10))
@settings(max_examples=40, deadline=None)
def test_first_symbols_sum_to_one_and_any_text_equals_the_slow_version(training: list[str], context: str) -> None:
    model = train(training, order=3)
    first = sum(math.exp(-slow_first(model, training, symbol)) for symbol in range(NUM_SYMBOLS))
    assert first == pytest.approx(1.0, rel=1e-9)
    assert model.nats([context])[0] == pytest.approx(slow_nats(model, training, context), rel=1e-9)


def slow_first(model: NgramModel, training: list[str], symbol: int) -> float:
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for text in training:
        for context, after in _symbols(text, model.order):
            for length in range(model.order):
                following[context[len(context) - length :]][after] += 1
    p = 1 / NUM_SYMBOLS
    for length in range(model.order):
        seen = following.get((BOUNDARY,) * length)
        if seen:
            back_off = model.strengths[length] * len(seen)
            p = (seen[symbol] + back_off * p) / (seen.total() + back_off)
    return -math.log(p)


def test_strengths_come_from_the_training_text_alone() -> None:
    model = train(TEXTS)
    before = model.strengths
    model.nats(["something else entirely"] * 50)
    assert model.strengths == before
    assert any(strength != 1.0 for strength in before)


def test_fitted_strengths_beat_strengths_of_one_on_new_text_of_the_same_kind() -> None:
    random = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "of", "the", "in", "runs"]
    texts = [" ".join(random.choice(words, 40)) for _ in range(900)]
    model = train(texts[:800])
    plain = NgramModel(model.counts, (1.0,) * 5)
    assert model.nats(texts[800:]).sum() <= plain.nats(texts[800:]).sum()


def test_counting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TEXTS).nats(TEXTS)
    monkeypatch.setattr("athanor.evaluation.ngram.PART_CHARACTERS", 20)
    assert train(TEXTS).nats(TEXTS) == pytest.approx(whole, rel=1e-15)


def test_documents_do_not_influence_each_other() -> None:
    model = train(TEXTS)
    together = model.nats(["the cat", "sat on", "the mat"])
    alone = [model.nats([text])[0] for text in ("the cat", "sat on", "the mat")]
    assert together == pytest.approx(alone, rel=1e-12)


def test_one_training_document_works_and_none_is_an_error() -> None:
    assert train(["a single page"]).strengths == (1.0,) * 5
    assert np.isfinite(train(["a", "b"]).nats(["ab"])).all()
    assert train(["x"]).nats([]).size == 0
    with pytest.raises(ValueError, match="at least one training document"):
        train([])
    with pytest.raises(ValueError, match="order 9"):
        train(["x"], order=9)
