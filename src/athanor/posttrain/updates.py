"""The loop of reinforcement learning: update after update, with checkpoints that a killed run continues from.

An update depends on the state before it and its number alone; so a run that was killed continues to the same bytes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from athanor.core import console
from athanor.core.artifact import WORK
from athanor.core.tracker import Tracker
from athanor.posttrain.config.on_policy import OnPolicy
from athanor.posttrain.model_folder import checkpoint_steps
from athanor.train import checkpoint
from athanor.train.config import Schedule
from athanor.train.optim import Optimizer, clip_gradients
from athanor.train.schedule import rate

LR_FLOOR = 0.1  # share of the peak left in the last update: with few updates none is to be wasted
RECENT = 0.2  # share of the updates, at the end, over which the step's metrics are means
GOLD = "gold_reward_model"  # the input whose scores are measured and not trained on


@dataclass
class TrainingState:
    """All that one update passes to the next: weights, optimizer states, plain numbers."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every weight that is trained."""
        return [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimizer states by name."""
        found: dict[str, Tensor] = {}
        for kind, module in self.modules.items():
            found |= {f"model/{kind}/{name}": parameter for name, parameter in module.named_parameters()}
        for kind, optimizer in self.optimizers.items():
            found |= {f"optimizer/{kind}/{name}": tensor for name, tensor in optimizer.state().items()}
        return found

    def load(self, found: checkpoint.Checkpoint) -> None:
        """Continue from a checkpoint."""
        with torch.no_grad():
            for kind, module in self.modules.items():
                for name, parameter in module.named_parameters():
                    parameter.copy_(found.tensors[f"model/{kind}/{name}"])
        for kind, optimizer in self.optimizers.items():
            prefix = f"optimizer/{kind}/"
            optimizer.load_state(
                {name.removeprefix(prefix): t for name, t in found.tensors.items() if name.startswith(prefix)}
            )
        self.numbers |= found.values


def run_updates(
    config: OnPolicy,
    state: TrainingState,
    one_update: Callable[[int], dict[str, float]],
    save_model: Callable[[Path], None],
    out: Path,
    label: str,
) -> Sequence[int]:
    """Do all updates, continuing an earlier attempt; returns after which ones a model was kept.

    `one_update(number)` changes `state` and returns its numbers, `score` and `kl` among them; `save_model(folder)`
    writes the model as it is.
    """
    found = checkpoint.load_latest(out / WORK / "checkpoints")
    done = 0
    if found is not None:
        state.load(found)
        done = found.step
        console.say(f"  {label}: continuing after update {done} of {config.num_updates}")
    kept_updates = checkpoint_steps(config.num_updates, config.num_checkpoints)
    saved = time.monotonic()
    with (
        Tracker(out, resume_step=done if done else -1) as tracker,
        console.progress(label, config.num_updates, "updates") as shown,
    ):
        shown.update(done)
        for update in range(done, config.num_updates):
            numbers = one_update(update)
            tracker.log(update + 1, **numbers)
            if update + 1 in kept_updates:
                save_model(out / "checkpoints" / str(update + 1))
            if update + 1 == config.num_updates or time.monotonic() - saved >= config.checkpoint_seconds:
                checkpoint.save(out / WORK / "checkpoints", update + 1, state.tensors(), state.numbers)
                saved = time.monotonic()
            shown.update(update + 1)
            shown.note(f"score {numbers['score']:.2f}, kl {numbers['kl']:.2f}")
    return [*kept_updates, config.num_updates]


def clipped_steps(
    config: OnPolicy,
    state: TrainingState,
    num_episodes: int,
    update: int,
    add_gradients: Callable[[list[int]], dict[str, float]],
) -> dict[str, float]:
    """The optimizer steps of one update, minibatch after minibatch; means of their numbers.

    `add_gradients(rows)` adds the gradients of these episodes and returns numbers, `policy_kl` among them, which
    ends the update early when it exceeds `config.max_policy_kl`.
    """
    schedule = Schedule(warmup_share=config.warmup_share, decay_share=config.decay_share, floor=LR_FLOOR)
    lr_share = rate(update, config.num_updates, schedule)
    parameters = state.parameters
    logged: list[dict[str, float]] = []
    for rows in _minibatches(config, num_episodes, update):
        numbers = add_gradients(rows)
        if config.max_policy_kl is not None and numbers["policy_kl"] > config.max_policy_kl:
            for parameter in parameters:
                parameter.grad = None
            break
        numbers["gradient_norm"] = clip_gradients(parameters, config.clip_norm)
        for optimizer in state.optimizers.values():
            optimizer.step(lr_share)
        logged.append(numbers)
    means = {name: fmean(numbers[name] for numbers in logged) for name in logged[0]} if logged else {}
    return {**means, "optimizer_steps": len(logged), "learning_rate": lr_share * config.lr_peak}


def _minibatches(config: OnPolicy, num_episodes: int, update: int) -> Iterator[list[int]]:
    """Which episodes each step of an update learns from: every pass in an order of its own."""
    size = num_episodes // config.num_minibatches
    for epoch in range(config.num_epochs):
        order = np.random.default_rng((config.seed, update, epoch)).permutation(num_episodes).tolist()
        for start in range(0, num_episodes, size):
            yield order[start : start + size]


def summary(rows: Sequence[Mapping[str, Any]], num_updates: int) -> dict[str, Any]:
    """Means over the last updates, the first update's numbers, which are the SFT model's, and how lengths moved."""
    recent = rows[-max(1, round(RECENT * num_updates)) :]
    names = ("score", "gold_score", "reward", "kl", "entropy", "length", "ends", "explained_variance", "clip_fraction")
    measured = {name: [row[name] for row in recent if row.get(name) is not None] for name in names}
    last = {name: fmean(values) for name, values in measured.items() if values}
    first = {name: rows[0][name] for name in ("score", "gold_score", "reward", "length", "ends") if name in rows[0]}
    gaps = [row["sampler_gap"] for row in rows if "sampler_gap" in row]
    compared = {"sampler_gap": max(gaps)} if gaps else {}
    return {**last, "first_update": first, "length_drift": last["length"] / first["length"], **compared}
