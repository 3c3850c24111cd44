"""Promises of data/linear_classifier.py."""

import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from athanor.data.held_out import area_under_curve
from athanor.data.linear_classifier import (
    Classifier,
    Training,
    calibrated,
    examples,
    features,
    held_out_scores,
    scores,
    train,
    trained_without,
    word_weights,
)

TRAINING = Training(bucket_bits=12, epochs=3)
COMMON = ["the", "of", "and", "a", "to", "in"]
GOOD_WORDS, BAD_WORDS = ["study", "history", "analysis", "river"], ["buy", "cheap", "click", "casino"]


def made_texts(number: int, mixed: float = 0.0) -> tuple[list[str], list[bool]]:
    """Texts of common words with some good or bad ones; `mixed` of the texts have the other class's words."""
    generator = random.Random(0)
    texts, labels = [], []
    for i in range(number):
        is_good = i % 2 == 0
        telling = GOOD_WORDS if is_good != (generator.random() < mixed) else BAD_WORDS
        texts.append(" ".join(generator.choice(telling if generator.random() < 0.2 else COMMON) for _ in range(40)))
        labels.append(is_good)
    return texts, labels


def test_features_are_the_distinct_words_and_pairs_of_the_first_words() -> None:
    assert len(features("one two one two", 1 << 20, 100)) == 4  # one, two, one two, two one
    assert features("one two three four", 1 << 20, 2).tolist() == features("One, TWO!", 1 << 20, 2).tolist()
    assert len(features("", 1 << 20, 10)) == 0
    assert len(features("word", 1 << 20, 10)) == 1
    assert set(features("one", 1 << 20, 10)) < set(features("one two", 1 << 20, 10))


def test_it_learns_which_words_tell_the_classes_apart() -> None:
    texts, labels = made_texts(200)
    classifier = train(examples(texts, labels, TRAINING), TRAINING)
    assert classifier.score("a history of the river") > 1.0
    assert classifier.score("click to buy") < -1.0
    weights = word_weights(classifier, GOOD_WORDS + BAD_WORDS)
    assert min(weights[:4]) > 0 > max(weights[4:])


def test_training_twice_gives_the_same_weights_and_another_seed_others() -> None:
    data = examples(*made_texts(60), TRAINING)
    first, again = train(data, TRAINING), train(data, TRAINING)
    assert first.weights.tobytes() == again.weights.tobytes()
    assert first.bias == again.bias
    other = train(data, Training(bucket_bits=12, epochs=3, seed=1))
    assert first.weights.tobytes() != other.weights.tobytes()


def test_classes_count_the_same_however_many_examples_each_has() -> None:
    texts, labels = made_texts(200)
    kept = [i for i, label in enumerate(labels) if label or i % 20 == 1]  # 100 good, 10 bad
    data = examples([texts[i] for i in kept], [labels[i] for i in kept], TRAINING)
    classifier = train(data, TRAINING)
    found = scores(classifier, data) > 0
    assert found[~data.is_good].mean() <= 0.1


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="good and bad examples"):
        train(examples(["a", "b"], [True, True], TRAINING), TRAINING)


def test_a_saved_model_scores_as_before(tmp_path: Path) -> None:
    data = examples(*made_texts(60), TRAINING)
    folds = np.arange(60) % 3
    models = [trained_without(data, folds, fold, TRAINING) for fold in range(3)]
    classifier = calibrated(train(data, TRAINING), held_out_scores(data, folds, models), data.is_good)
    classifier.save(tmp_path / "model.safetensors")
    loaded = type(classifier).load(tmp_path / "model.safetensors")
    for text in ("a history of rivers", "buy cheap", ""):
        assert loaded.probability(text) == classifier.probability(text)


def test_another_file_is_refused(tmp_path: Path) -> None:
    save_file({"weights": np.zeros(4, np.float32)}, tmp_path / "other.safetensors")
    classifier = train(examples(*made_texts(4), TRAINING), TRAINING)
    with pytest.raises(ValueError, match="expected a classifier"):
        type(classifier).load(tmp_path / "other.safetensors")


def test_held_out_scores_come_from_models_that_have_not_seen_the_example() -> None:
    """With labels drawn by lot, a model repeats the labels it has seen and knows nothing of the others."""
    generator = random.Random(1)
    texts = [" ".join(generator.choice(COMMON + GOOD_WORDS + BAD_WORDS) for _ in range(30)) for _ in range(300)]
    labels = [generator.random() < 0.5 for _ in texts]
    data = examples(texts, labels, TRAINING)
    folds = np.arange(300) % 5
    models = [trained_without(data, folds, fold, TRAINING) for fold in range(5)]
    held_out = area_under_curve(held_out_scores(data, folds, models), data.is_good)
    seen = area_under_curve(scores(train(data, TRAINING), data), data.is_good)
    assert seen is not None
    assert held_out is not None
    assert seen > 0.9
    assert abs(held_out - 0.5) < 0.12


def test_a_fold_whose_model_lacks_a_class_has_no_scores() -> None:
    data = examples(["good one", "bad one", "bad two"], [True, False, False], TRAINING)
    folds = np.array([0, 1, 1])
    models = [trained_without(data, folds, fold, TRAINING) for fold in range(2)]
    assert models == [None, None]
    assert np.isnan(held_out_scores(data, folds, models)).all()
    classifier = train(data, TRAINING)
    assert calibrated(classifier, np.full(3, np.nan), data.is_good) == classifier


def test_calibrated_probabilities_come_true() -> None:
    """Of texts given probability p, a share p is good: here a fifth of the texts has the wrong words."""
    texts, labels = made_texts(1000, mixed=0.2)
    data = examples(texts, labels, TRAINING)
    folds = np.arange(1000) // 2 % 5
    models = [trained_without(data, folds, fold, TRAINING) for fold in range(5)]
    held_out = held_out_scores(data, folds, models)
    classifier = calibrated(train(data, TRAINING), held_out, data.is_good)
    probability = 1 / (1 + np.exp(-(classifier.slope * held_out + classifier.shift)))
    for half in (probability > 0.5, probability <= 0.5):
        assert abs(probability[half].mean() - data.is_good[half].mean()) < 0.06
    louder = calibrated(classifier, 10 * held_out + 3, data.is_good)  # the scale of raw scores leaves no trace
    assert louder.slope * 10 == pytest.approx(classifier.slope, rel=1e-4)
    assert louder.shift + 3 * louder.slope == pytest.approx(classifier.shift, abs=1e-4)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("no model")
    with pytest.raises(ValueError, match=r"model\.txt: no classifier"):
        Classifier.load(tmp_path / "model.txt")
