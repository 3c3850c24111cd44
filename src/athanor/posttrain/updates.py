"""The loop of reinforcement learning: update after update, with checkpoints that a killed run continues from.

An update depends on the state before it and its number alone; so a run that was killed continues to the same bytes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from athanor.core import console
from athanor.core.artifact import WORK
from athanor.core.tracker import Tracker
from athanor.posttrain.model_folder import checkpoint_steps
from athanor.train import checkpoint
from athanor.train.optim import Optimizer


class Settings(Protocol):
    """What the loop asks of a config."""

    @property
    def num_updates(self) -> int: ...
    @property
    def num_checkpoints(self) -> int: ...
    @property
    def checkpoint_seconds(self) -> float: ...


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
    config: Settings,
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
