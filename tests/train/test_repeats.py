"""Weight decay follows how often a text is read: none for one pass, and the same time of forgetting in passes."""

from dataclasses import replace

import pytest

from athanor.train.config import PretrainFit
from athanor.train.repeats import with_decay


def rates(fit: PretrainFit) -> dict[str, float]:
    """By how much decay alone shrinks a weight in one step at the peak of the learning rate."""
    muon, adamw = fit.muon, fit.adamw
    assert muon is not None
    return {
        "matrix": muon.lr_peak * muon.weight_decay,
        "embedding": (adamw.embedding_lr_peak or adamw.lr_peak) * adamw.embedding_weight_decay,
        "head": (adamw.head_lr_peak or adamw.lr_peak) * adamw.head_weight_decay,
    }


@pytest.mark.parametrize("epochs", [0.2, 1.0])
def test_a_text_read_once_is_not_forgotten(epochs: float) -> None:
    fit = PretrainFit(num_steps=500)
    assert with_decay(fit, epochs) == (fit, {})


def test_between_one_pass_and_many_decay_grows() -> None:
    found = [with_decay(PretrainFit(num_steps=int(700 * epochs)), epochs)[0] for epochs in (1.5, 2.0, 4.0, 7.0, 20.0)]
    matrices = [rates(fit)["matrix"] for fit in found]
    assert 0 < matrices[0] < matrices[1] < matrices[2] < matrices[3]
    assert matrices[3] == pytest.approx(matrices[4])


def test_a_text_ten_times_longer_is_forgotten_ten_times_slower_by_the_step() -> None:
    short, long = (rates(with_decay(PretrainFit(num_steps=steps), 8.0)[0]) for steps in (8_000, 80_000))
    assert {name: rate / 10 for name, rate in short.items()} == pytest.approx(long)


def test_another_learning_rate_leaves_the_time_of_forgetting() -> None:
    usual = PretrainFit(num_steps=5000)
    assert usual.muon is not None
    slow = replace(usual, muon=replace(usual.muon, lr_peak=0.005), adamw=replace(usual.adamw, embedding_lr_peak=0.01))
    assert rates(with_decay(slow, 6.0)[0]) == pytest.approx(rates(with_decay(usual, 6.0)[0]))


def test_a_few_rows_are_not_forgotten_before_they_come_round() -> None:
    fit, _ = with_decay(PretrainFit(num_steps=100), 100.0)
    assert all(rate <= 1 / 50 + 1e-9 for rate in rates(fit).values())


def test_given_decays_stay_and_adamw_alone_is_left_as_it_is() -> None:
    usual = PretrainFit(num_steps=4400)
    assert usual.muon is not None
    given = replace(usual, muon=replace(usual.muon, weight_decay=0.01))
    fit, found = with_decay(given, 6.5)
    assert fit.muon is not None and fit.muon.weight_decay == 0.01
    assert set(found) == {"adamw.embedding_weight_decay", "adamw.head_weight_decay"}
    alone = replace(usual, muon=None)
    assert with_decay(alone, 6.5) == (alone, {})
