"""Promises of data/softmax_classifier.py."""

import math
import random
from pathlib import Path

import numpy as np
import pytest

from athanor.data.linear_classifier import Training, examples
from athanor.data.linear_classifier import train as train_two
from athanor.data.softmax_classifier import Softmax, calibrated, labelled, scores, softmax, train

LABELS = ("code", "news", "verse")
TELLING = {"code": ["def", "return", "loop"], "news": ["minister", "said", "vote"], "verse": ["rose", "moon", "sea"]}
COMMON = ["the", "of", "and", "a", "to", "in"]
TRAINING = Training(bucket_bits=12, epochs=3)


def made(number: int, wrong: float = 0.0, seed: int = 0) -> tuple[list[str], list[int]]:
    generator = random.Random(seed)
    texts, label = [], []
    for i in range(number):
        shown = LABELS[i % 3] if generator.random() >= wrong else generator.choice(LABELS)
        words = [generator.choice(TELLING[shown] if generator.random() < 0.2 else COMMON) for _ in range(40)]
        texts.append(" ".join(words))
        label.append(i % 3)
    return texts, label


def test_it_learns_which_words_belong_to_which_label() -> None:
    model = train(labelled(*made(150), TRAINING), LABELS, TRAINING)
    for label, words in TELLING.items():
        assert LABELS[int(model.probabilities(" ".join(words)).argmax())] == label
    assert model.probabilities("").sum() == pytest.approx(1)


def test_two_labels_rank_texts_as_the_classifier_with_two_does() -> None:
    texts, label = made(120)
    texts = [text for text, each in zip(texts, label, strict=True) if each < 2]
    label = [each for each in label if each < 2]
    data = labelled(texts, label, TRAINING)
    several = scores(train(data, LABELS[:2], TRAINING), data)
    two = train_two(examples(texts, [each == 1 for each in label], TRAINING), TRAINING)
    apart = several[:, 1] - several[:, 0]
    assert np.corrcoef(apart, [two.score(text) for text in texts])[0, 1] > 0.99


def test_the_first_step_is_that_of_the_formula() -> None:
    """One text, one epoch: each weight moves by the learning rate against the sign of its slope (AdaGrad)."""
    data = labelled(["one two"], [1], Training(bucket_bits=10, epochs=1, learning_rate=0.5))
    model = train(data, LABELS, Training(bucket_bits=10, epochs=1, learning_rate=0.5))
    moved = model.weights[np.flatnonzero(model.weights.any(axis=1))]
    assert moved.shape == (3, 3)
    assert moved == pytest.approx(np.array([[-0.5, 0.5, -0.5]] * 3), abs=1e-4)
    assert model.bias[1] == pytest.approx(0.5, abs=1e-4)


def test_rare_labels_count_as_much_as_common_ones() -> None:
    texts, label = made(300)
    kept = [i for i, each in enumerate(label) if each != 2 or i % 30 == 2]
    data = labelled([texts[i] for i in kept], [label[i] for i in kept], TRAINING)
    found = scores(train(data, LABELS, TRAINING), data).argmax(axis=1)
    assert (found[data.label == 2] == 2).mean() > 0.9


def test_a_label_without_examples_is_never_chosen() -> None:
    texts, label = made(60)
    kept = [i for i, each in enumerate(label) if each != 0]
    model = train(labelled([texts[i] for i in kept], [label[i] for i in kept], TRAINING), LABELS, TRAINING)
    assert model.probabilities("def return loop")[0] == 0


def test_the_temperature_makes_probabilities_come_true() -> None:
    """Of texts with the likeliest label's probability p, a share p has it: here three in ten texts are mislabelled."""
    data = labelled(*made(900, wrong=0.45), TRAINING)
    other = labelled(*made(900, wrong=0.45, seed=1), TRAINING)
    raw = train(data, LABELS, TRAINING)
    held_out = scores(raw, other)
    model = calibrated(raw, held_out, other.label)
    probability = softmax(held_out / model.temperature)
    right = probability.argmax(axis=1) == other.label
    assert abs(probability.max(axis=1).mean() - right.mean()) < 0.06
    doubled = calibrated(raw, 2 * held_out, other.label)
    separable = np.tile(10 * np.eye(3), (20, 1))
    sure = calibrated(raw, separable, np.arange(60) % 3)
    assert 0.9 < softmax(separable / sure.temperature).max(axis=1).mean() < 0.995
    assert doubled.temperature == pytest.approx(2 * model.temperature, rel=1e-3)


def test_training_twice_is_the_same_and_a_saved_model_says_the_same(tmp_path: Path) -> None:
    data = labelled(*made(60), TRAINING)
    first, again = (train(data, LABELS, TRAINING) for _ in range(2))
    assert first.weights.tobytes() == again.weights.tobytes()
    first.save(tmp_path / "model.safetensors")
    loaded = Softmax.load(tmp_path / "model.safetensors")
    assert loaded.labels == LABELS
    for text in ("the minister said", ""):
        assert loaded.probabilities(text).tolist() == first.probabilities(text).tolist()
    train_two(examples(["a", "b"], [True, False], TRAINING), TRAINING).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"expected a classifier of format athanor\.softmax"):
        Softmax.load(tmp_path / "other.safetensors")


def test_softmax_does_not_overflow() -> None:
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, math.exp(-1000)]]


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("no model")
    with pytest.raises(ValueError, match=r"model\.txt: no classifier"):
        Softmax.load(tmp_path / "model.txt")
