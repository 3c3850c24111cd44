"""What a reward model is measured by, against hand-counted numbers and published floors."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.posttrain import bigram_preferences
from athanor.posttrain.calibration import calibration_error, reliability
from athanor.posttrain.config import RewardModel
from athanor.posttrain.preference_data import described, read_all
from athanor.posttrain.preferences import length_rule
from athanor.posttrain.reward_measures import pair_measures, single_measures
from athanor.posttrain.reward_model import refuse_leakage


def pair(number: int, chosen: str, rejected: str) -> dict[str, Any]:
    prompt = [{"role": "user", "content": f"Question {number}"}]
    return described({"prompt": prompt, "chosen": chosen, "rejected": rejected}, "here", number)


def test_calibration_is_the_weighted_gap_of_the_bins():
    bins = reliability([0.95, 0.95, 0.55, 0.55], [1.0, 0.0, 1.0, 1.0])
    assert [(b["count"], b["predicted"], b["happened"]) for b in bins] == [
        (2, pytest.approx(0.55), 1.0),
        (2, pytest.approx(0.95), 0.5),
    ]
    assert calibration_error(bins) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    assert sum(b["count"] for b in reliability([0.0, 1.0], [0.0, 1.0])) == 2
    with pytest.raises(ValueError, match="between 0 and 1"):
        reliability([1.2], [1.0])


def test_accuracy_stands_beside_its_floors_and_apart_by_length():
    train = [pair(i, "good fine good", "bad poor") for i in range(6)]
    held_out = [
        pair(10, "good", "bad and much longer than that"),
        pair(11, "good fine and a long one too", "bad"),
        pair(12, "fine", "poor"),
    ]
    scores = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    found = pair_measures(held_out, scores, train)
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["length_rule_accuracy"] == pytest.approx(0.5)  # wrong, right, equal
    assert found["bigram_accuracy"] == 1.0
    assert [(one["pairs"], one["accuracy"]) for one in found["by_length_difference"]] == [(1, 1.0), (1, 0.5), (1, 0.0)]
    assert sum(one["count"] for one in found["reliability"]) == 3


def test_single_answers_are_right_on_their_side_of_zero():
    rows = [{"label": True}, {"label": False}, {"label": False}]
    found = single_measures(rows, [2.0, -1.0, 3.0])
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["majority_accuracy"] == pytest.approx(2 / 3)


def test_held_out_prompts_of_training_are_refused():
    train, held_out = [pair(1, "a", "b")], [pair(2, "a", "b"), pair(1, "c", "d")]
    held_out[1]["prompt"][0]["content"] = "question 1!"
    with pytest.raises(ValueError, match=r"1 of 2 held-out rows have a prompt that proxy.jsonl has too.*question 1!"):
        refuse_leakage(train, held_out, Path("proxy.jsonl"), Path("held_out.jsonl"))
    refuse_leakage(train, held_out[:1], Path("proxy.jsonl"), Path("held_out.jsonl"))


def test_options_that_the_loss_ignores_are_refused():
    for settings in ({"margins": True}, {"label_smoothing": 0.1}, {"ties": "davidson"}):
        with pytest.raises(ValueError, match="is not used by the loss 'binary'"):
            RewardModel(loss="binary", **settings)
    with pytest.raises(ValueError, match="tie_strength is not used without ties"):
        RewardModel(tie_strength=1.0)
    with pytest.raises(ValueError, match="not used by a model of ties"):
        RewardModel(ties="rao_kupper", margins=True)
    with pytest.raises(ValueError, match="above 1 for rao_kupper"):
        RewardModel(ties="rao_kupper", tie_strength=1.0)


@pytest.mark.slow
def test_floors_of_harmless_base_are_the_published_ones(fidelity: Path):
    path = fidelity / "posttrain" / "data" / "harmless-base.test.jsonl.gz"
    pairs = read_all((str(path),), [])
    shorter = 1 - sum(map(length_rule, pairs)) / len(pairs)
    assert 100 * shorter == pytest.approx(55.7, abs=0.5)
    assert 100 * bigram_preferences.cross_validated(pairs).mean() == pytest.approx(62.8, abs=1.5)


@pytest.mark.slow
def test_floors_of_pandalm_are_the_published_ones(fidelity: Path):
    """Over all rows that have a majority, repeated and empty answers too, as the published number is."""
    pairs = []
    for number, row in enumerate(json.loads((fidelity / "arena" / "pandalm" / "testset-v1.json").read_text())):
        ((choice, votes),) = Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)
        if choice in (1, 2) and votes >= 2:
            answers = [str(row["response1"]), str(row["response2"])]
            chosen, rejected = answers if choice == 1 else answers[::-1]
            prompt = [{"role": "user", "content": f"{row['instruction']}\n{row['input']}"}]
            pairs.append(described({"prompt": prompt, "chosen": chosen, "rejected": rejected}, "pandalm", number))
    assert 100 * sum(map(length_rule, pairs)) / len(pairs) == pytest.approx(67.5, abs=0.2)
    assert 100 * bigram_preferences.cross_validated(pairs).mean() == pytest.approx(65.1, abs=1.6)
