"""The training loop: gradients of a batch, a step of the optimizer, checkpoints; again.

Pretraining, supervised fine-tuning, reward models and DPO differ in what a batch is and what its loss is,
and hand exactly that to `fit`. The rest is here once: gradients added over micro-batches and processes,
clipping, the schedule, the time series, checkpoints every few seconds.

Resuming is exact: whatever decides a step is the state in the checkpoint (weights, optimizer) and the
number of the step, from which the schedule and the order of the data follow. A run that was killed
anywhere ends with the same bytes as one that was not.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from athanor.core import console
from athanor.core.artifact import WORK
from athanor.core.tracker import Tracker, read_metrics
from athanor.train import checkpoint, parallel
from athanor.train.config import Fit
from athanor.train.gradients import Part, add_gradients
from athanor.train.optim import Optimizer, clip_gradients
from athanor.train.precision import make_repeatable, multiplies_bfloat16
from athanor.train.schedule import rate


@dataclass(frozen=True)
class Fitted:
    """What a finished loop leaves behind, beside the weights in the model."""

    num_steps: int
    loss: float
    """Mean of the last steps' losses (a tenth of them, at most 50)."""
    num_tokens: int
    """Tokens computed in all steps."""
    tokens_per_second: float
    """Over the steps since the last start."""
    resumed_from: int
    """Steps that an earlier attempt had done; 0 for a run never stopped."""


def fit(
    model: nn.Module,
    parts: Callable[[int], Iterable[Part]],
    settings: Fit,
    out: Path,
    *,
    after_step: Callable[[int], Mapping[str, float]] | None = None,
    label: str = "training",
    world: parallel.World | None = None,
) -> Fitted:
    """Train `model` in place for `settings.num_steps` steps, continuing an earlier attempt in `out`.

    `parts(step)` gives the micro-batches of step 0, 1, ... of this process, as functions that compute their
    share of the loss; it must depend on the step alone. `after_step(steps_done)` is called after every step
    and returns more numbers for its row of `metrics.jsonl`; what it writes must bear being written again.
    Raises ValueError where the loss is no longer a finite number.
    """
    make_repeatable()
    world = world or parallel.World()
    parameters = [p for p in model.parameters() if p.requires_grad]
    dtype = torch.bfloat16 if multiplies_bfloat16(parameters[0].device) else torch.float32
    optimizer = Optimizer(model, settings.adamw, settings.muon, dtype)
    checkpoints = out / WORK / "checkpoints"
    first_step, num_tokens = _resume(model, optimizer, checkpoints)
    tokens_before, losses = num_tokens, _earlier_losses(out, first_step)
    tracker = Tracker(out, resume_step=first_step) if world.leads else None
    started = saved = last = time.monotonic()
    if first_step:
        console.say(f"  {label}: continuing after step {first_step} of {settings.num_steps}")
    try:
        with console.progress(label, settings.num_steps, "steps") as progress:
            progress.update(first_step)
            for step in range(first_step, settings.num_steps):
                numbers, step_tokens = _gradients(parts(step), parameters, world)
                _check_finite(numbers["loss"], step, settings)
                num_tokens += step_tokens
                losses.append(numbers["loss"])
                share_of_peak = rate(step, settings.num_steps, settings.schedule)
                numbers["learning_rate"] = share_of_peak * (settings.muon or settings.adamw).lr_peak
                numbers["gradient_norm"] = clip_gradients(parameters, settings.clip_norm)
                optimizer.step(share_of_peak)
                now = time.monotonic()
                numbers["tokens_per_second"] = round(step_tokens / (now - last), 1)
                last = now
                done = step + 1
                if after_step is not None:
                    numbers |= after_step(done)
                    last = time.monotonic()
                if tracker is not None:
                    tracker.log(done, **numbers)
                    if done == settings.num_steps or last - saved >= settings.checkpoint_seconds:
                        _save(model, optimizer, checkpoints, done, num_tokens)
                        saved = last = time.monotonic()
                progress.update(done)
                progress.note(f"loss {numbers['loss']:.3f}")
    finally:
        if tracker is not None:
            tracker.close()
    elapsed = time.monotonic() - started
    recent = losses[-min(50, max(1, settings.num_steps // 10)) :]
    return Fitted(
        num_steps=settings.num_steps,
        loss=sum(recent) / len(recent) if recent else math.nan,
        num_tokens=num_tokens,
        tokens_per_second=(num_tokens - tokens_before) / elapsed if elapsed > 0 else 0.0,
        resumed_from=first_step,
    )


def _gradients(
    parts: Iterable[Part], parameters: list[nn.Parameter], world: parallel.World
) -> tuple[dict[str, float], int]:
    """Add the gradients of all parts, of all processes; the numbers to log and the tokens computed."""
    added = add_gradients(parts, parameters)
    if world.size == 1:
        return added.numbers, added.num_tokens
    parallel.add_gradients(parameters, world)
    numbers = [float(added.num_tokens), *added.numbers.values()]
    flat = torch.tensor(numbers, dtype=torch.float64, device=parameters[0].device)
    num_tokens, *sums = parallel.add_numbers(flat, world).tolist()
    return dict(zip(added.numbers, sums, strict=True)), int(num_tokens)


def _check_finite(loss: float, step: int, settings: Fit) -> None:
    if not math.isfinite(loss):
        lr_peaks = [f"adamw {settings.adamw.lr_peak}"]
        lr_peaks += [f"muon {settings.muon.lr_peak}"] if settings.muon else []
        raise ValueError(
            f"step {step + 1}: the loss is {loss}; training has diverged. Lower the learning rate "
            f"(lr_peak: {', '.join(lr_peaks)}), lengthen the warm-up, or set precision to float32"
        )


def _save(model: nn.Module, optimizer: Optimizer, folder: Path, step: int, num_tokens: int) -> None:
    tensors = {f"model/{name}": tensor for name, tensor in model.named_parameters()}
    checkpoint.save(folder, step, tensors | optimizer.state(), {"num_tokens": num_tokens})


def _resume(model: nn.Module, optimizer: Optimizer, folder: Path) -> tuple[int, int]:
    """Fill model and optimizer from the newest checkpoint; the steps and tokens it had done."""
    found = checkpoint.load_latest(folder)
    if found is None:
        return 0, 0
    weights = {name.removeprefix("model/"): t for name, t in found.tensors.items() if name.startswith("model/")}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    optimizer.load_state({name: t for name, t in found.tensors.items() if not name.startswith("model/")})
    return found.step, found.values["num_tokens"]


def _earlier_losses(out: Path, first_step: int) -> list[float]:
    """The losses that earlier attempts logged for the steps kept."""
    if first_step == 0:
        return []
    return [row["loss"] for row in read_metrics(out) if row["step"] <= first_step]
