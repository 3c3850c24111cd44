"""The loop learns, resumes to the byte, adds micro-batches exactly, and stops when it diverges."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from athanor.core.tracker import read_metrics
from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train import checkpoint
from athanor.train.config import AdamW, Fit, Muon, Schedule
from athanor.train.gradients import Part, Share
from athanor.train.loss import cross_entropy
from athanor.train.trainer import fit

CONFIG = ModelConfig(
    vocab_size=20, context_length=16, num_layers=1, d_model=16, d_ff=24, num_heads=2, num_kv_heads=1, head_width=8
)
SETTINGS = Fit(num_steps=12, adamw=AdamW(lr_peak=1e-2), muon=Muon(), schedule=Schedule(), checkpoint_seconds=0.0)


def batch(step: int) -> torch.Tensor:
    """Eight rows that count upwards from a random token."""
    first = torch.randint(20, (8, 1), generator=torch.Generator().manual_seed(step))
    return (first + torch.arange(17)) % 20


class Killed(Exception):
    """Stands for kill -9 in the middle of a run."""


def parts_of(model: Transformer, rows_at_once: int = 8, killed_at: int | None = None):
    def share_of(rows: torch.Tensor) -> Share:
        hidden = model(rows[:, :-1], causal(len(rows), 16)).flatten(0, 1)
        weights = torch.full((hidden.shape[0],), 1 / (8 * 16))
        loss = cross_entropy(hidden, model.head_weight, rows[:, 1:].flatten(), weights)
        return Share(loss, num_tokens=hidden.shape[0])

    def parts(step: int) -> Iterator[Part]:
        if step == killed_at:
            raise Killed
        for rows in batch(step).split(rows_at_once):
            yield partial(share_of, rows)

    return parts


def weights_of(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_loss_falls(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    fitted = fit(model, parts_of(model), replace(SETTINGS, num_steps=60), tmp_path)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert rows[0]["loss"] == pytest.approx(3.0, abs=0.1)
    assert fitted.loss < 0.5 and fitted.num_tokens == 60 * 8 * 16
    assert {"loss", "learning_rate", "gradient_norm", "tokens_per_second"} <= rows[0].keys()


@pytest.mark.parametrize("killed_at", [1, 5, 11])
@pytest.mark.parametrize("muon", [None, Muon()])
def test_resuming_gives_the_same_weights_as_never_stopping(tmp_path: Path, killed_at: int, muon: Muon | None) -> None:
    settings = replace(SETTINGS, muon=muon)
    whole = Transformer(CONFIG)
    fit(whole, parts_of(whole), settings, tmp_path / "whole")
    stopped = Transformer(CONFIG)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(Killed):
        fit(stopped, parts_of(stopped, killed_at=killed_at), settings, tmp_path / "stopped")
    resumed = Transformer(CONFIG, seed=99)  # whatever it starts from must not matter
    fitted = fit(resumed, parts_of(resumed), settings, tmp_path / "stopped")
    assert fitted.resumed_from == killed_at
    expected = weights_of(whole)
    for name, weight in weights_of(resumed).items():
        assert torch.equal(weight, expected[name]), name
    losses = [[row["loss"] for row in read_metrics(tmp_path / name)] for name in ("whole", "stopped")]
    assert losses[0] == losses[1]


def test_a_torn_newest_checkpoint_only_costs_a_step(tmp_path: Path) -> None:
    whole = Transformer(CONFIG)
    fit(whole, parts_of(whole), SETTINGS, tmp_path / "whole")
    stopped = Transformer(CONFIG)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(Killed):
        fit(stopped, parts_of(stopped, killed_at=6), SETTINGS, tmp_path / "stopped")
    newest = tmp_path / "stopped" / "_work" / "checkpoints" / "step-00000006" / checkpoint.TENSORS
    newest.write_bytes(newest.read_bytes()[:100])
    resumed = Transformer(CONFIG)
    assert fit(resumed, parts_of(resumed), SETTINGS, tmp_path / "stopped").resumed_from == 5
    expected = weights_of(whole)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights_of(resumed).items())


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    at_once, in_parts = Transformer(CONFIG), Transformer(CONFIG)
    settings = replace(SETTINGS, num_steps=3, muon=None)
    fit(at_once, parts_of(at_once), settings, tmp_path / "a")
    fit(in_parts, parts_of(in_parts, rows_at_once=3), settings, tmp_path / "b")
    for name, weight in weights_of(in_parts).items():
        torch.testing.assert_close(weight, weights_of(at_once)[name], atol=2e-4, rtol=1e-3, msg=name)


def test_a_diverged_loss_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    model = Transformer(CONFIG)

    def parts(step: int) -> Iterator[Part]:
        yield lambda: Share(model.embedding.weight.sum() * (float("nan") if step == 2 else 1.0), num_tokens=1)

    with pytest.raises(ValueError, match=r"step 3: the loss is nan; .*Lower the learning rate"):
        fit(model, parts, SETTINGS, tmp_path)
    found = checkpoint.load_latest(tmp_path / "_work" / "checkpoints")
    assert found is not None and found.step == 2


def test_numbers_of_shares_and_of_after_step_are_logged(tmp_path: Path) -> None:
    model = Transformer(CONFIG)

    def share_of(accuracy: float) -> Share:
        return Share(model.embedding.weight.sum() * 0, num_tokens=1, numbers={"accuracy": accuracy})

    def parts(step: int) -> Iterator[Part]:
        for accuracy in (0.25, 0.5):
            yield partial(share_of, accuracy)

    fit(model, parts, replace(SETTINGS, num_steps=2), tmp_path, after_step=lambda done: {"extra": done * 10.0})
    assert [(row["accuracy"], row["extra"]) for row in read_metrics(tmp_path)] == [(0.75, 10.0), (0.75, 20.0)]
