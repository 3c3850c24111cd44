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


def parts_with_nan(model: Transformer, bad: set[int], killed_at: int | None = None):
    good = parts_of(model, killed_at=killed_at)

    def parts(step: int) -> Iterator[Part]:
        for part in good(step):
            yield (lambda: Share(model.embedding.weight.sum() * float("nan"), num_tokens=1)) if step in bad else part

    return parts


def test_steps_that_are_not_finite_are_skipped_and_counted(tmp_path: Path) -> None:
    """Weights after steps 0, 1 and 3 of which 2 was bad, equal those of a run whose rate was zero there."""
    model = Transformer(CONFIG)
    fitted = fit(model, parts_with_nan(model, {2, 3, 7}), SETTINGS, tmp_path)
    assert list(fitted.skipped) == [3, 4, 8]
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows if row.get("skipped")] == [3, 4, 8] and rows[2]["loss"] is None
    assert all(bool(weight.isfinite().all()) for weight in weights_of(model).values())
    assert fitted.loss == rows[-1]["loss"]


def test_a_step_whose_gradient_alone_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    before = weights_of(model)

    def parts(step: int) -> Iterator[Part]:
        yield lambda: Share((model.embedding.weight * 0).abs().sqrt().sum(), num_tokens=1)  # 0, with gradient 0 * inf

    fitted = fit(model, parts, replace(SETTINGS, num_steps=2), tmp_path)
    assert list(fitted.skipped) == [1, 2]
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(model).items())


def test_a_diverged_run_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    settings = replace(SETTINGS, max_skipped=2)
    with pytest.raises(
        ValueError, match=r"3 steps in a row, up to step 7, .*\(max_skipped 2\).*Lower the learning rate"
    ):
        fit(model, parts_with_nan(model, {4, 5, 6}), settings, tmp_path)
    found = checkpoint.load_latest(tmp_path / "_work" / "checkpoints")
    assert found is not None and found.step == 6


def test_a_killed_run_with_bad_steps_and_an_average_ends_like_one_never_stopped(tmp_path: Path) -> None:
    settings = replace(SETTINGS, ema=0.9, max_skipped=2)
    whole, stopped, resumed = Transformer(CONFIG), Transformer(CONFIG), Transformer(CONFIG, seed=99)
    expected = fit(whole, parts_with_nan(whole, {4, 5}), settings, tmp_path / "whole")
    (tmp_path / "stopped").mkdir()
    with pytest.raises(Killed):
        fit(stopped, parts_with_nan(stopped, {4, 5}, killed_at=5), settings, tmp_path / "stopped")
    found = fit(resumed, parts_with_nan(resumed, {4, 5}), settings, tmp_path / "stopped")
    assert found.resumed_from == 5 and list(found.skipped) == list(expected.skipped) == [5, 6]
    for run_a, run_b in ((whole, resumed), (expected.average, found.average)):
        a, b = (run.state_dict() if isinstance(run, Transformer) else run.state() for run in (run_a, run_b))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_average_is_the_one_its_definition_gives(tmp_path: Path) -> None:
    """Independent and slow: the weights of every step, averaged by hand."""
    model = Transformer(CONFIG)
    seen = [weights_of(model)["final_norm.weight"]]
    fitted = fit(
        model,
        parts_of(model),
        replace(SETTINGS, ema=0.5),
        tmp_path,
        after_step=lambda done: seen.append(weights_of(model)["final_norm.weight"]) or {},
    )
    average = seen[0]
    for step, weight in enumerate(seen[1:]):
        kept = min(0.5, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * weight
    torch.testing.assert_close(weights_of(model)["final_norm.weight"], average)
    fitted.average.exchange()
    assert torch.equal(weights_of(model)["final_norm.weight"], seen[-1])


def test_a_checkpoint_without_an_average_does_not_start_one(tmp_path: Path) -> None:
    model = Transformer(CONFIG)
    with pytest.raises(Killed):
        fit(model, parts_of(model, killed_at=3), SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="without `ema`"):
        fit(model, parts_of(model), replace(SETTINGS, ema=0.9), tmp_path)


def test_numbers_of_shares_and_of_after_step_are_logged(tmp_path: Path) -> None:
    model = Transformer(CONFIG)

    def share_of(accuracy: float) -> Share:
        return Share(model.embedding.weight.sum() * 0, num_tokens=1, numbers={"accuracy": accuracy})

    def parts(step: int) -> Iterator[Part]:
        for accuracy in (0.25, 0.5):
            yield partial(share_of, accuracy)

    fit(model, parts, replace(SETTINGS, num_steps=2), tmp_path, after_step=lambda done: {"extra": done * 10.0})
    assert [(row["accuracy"], row["extra"]) for row in read_metrics(tmp_path)] == [(0.75, 10.0), (0.75, 20.0)]
