"""The training loop: gradients of a batch, a step of the optimizer, checkpoints; again.

Pretraining, supervised fine-tuning, reward models and DPO differ in what a batch is and what its loss is,
and hand exactly that to `fit`. The rest is here once: gradients added over micro-batches and processes,
clipping, the schedule, the time series, checkpoints every few seconds.

A step whose loss or gradient is not a finite number is skipped and counted; see `athanor.train.watch`.

Resuming is exact: whatever decides a step is the state in the checkpoint (weights, optimizer) and the
number of the step, from which the schedule and the order of the data follow. A run that was killed
anywhere ends with the same bytes as one that was not.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from athanor.core import console
from athanor.core.artifact import WORK
from athanor.core.tracker import Tracker, read_metrics
from athanor.train.average import Average
from athanor.train.config import Fit
from athanor.train.gradients import Part
from athanor.train.loss_scale import LossScale
from athanor.train.memory import keep_freed_memory
from athanor.train.optim import Optimizer, clip_gradients
from athanor.train.precision import make_repeatable, multiplies_bfloat16
from athanor.train.run_state import Checkpoints
from athanor.train.schedule import rate
from athanor.train.spread import Spread
from athanor.train.together import shares_of, world_of_step
from athanor.train.watch import Spike, Watch


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
    skipped: Sequence[int] = ()
    """Steps, counted from 1, whose loss or gradient was not finite, so that nothing was learned from them."""
    spikes: Sequence[Spike] = ()
    """Steps whose loss stood out."""
    average: Average | None = None
    """Where `ema` is on: the model holds the average, and this the weights of the last step."""


def fit(
    model: nn.Module,
    parts: Callable[[int], Iterable[Part]],
    settings: Fit,
    out: Path,
    *,
    after_step: Callable[[int], Mapping[str, float]] | None = None,
    label: str = "training",
    spread: Spread | None = None,
    mfu_per_token: float = 0.0,
) -> Fitted:
    """Train `model` in place for `settings.num_steps` steps, continuing an earlier attempt in `out`.

    `parts(step)` gives the micro-batches of step 0, 1, ... of this process, as functions that compute their
    share of the loss; it must depend on the step alone. `after_step(steps_done)` is called after every step
    and returns more numbers for its row of `metrics.jsonl`; what it writes must bear being written again.
    `spread`, from `parallelize`, says how the model lies on several processes, which then all call this.
    `mfu_per_token`: share of the machine's peak that one token per second uses, to log `mfu`; 0: not known.
    With `settings.ema` the model holds the average of its weights in the end. Raises ValueError after more than
    `settings.max_skipped` steps in a row whose loss or gradient is not a finite number.
    """
    make_repeatable()
    keep_freed_memory()
    share_parts = world_of_step().size > 1
    spread = spread or Spread.whole(model, world_of_step())
    world = spread.world
    parameters = [spread.local[name] for name in spread.trained]
    in_bfloat16 = settings.precision != "float32" and multiplies_bfloat16(parameters[0].device)
    dtype = torch.bfloat16 if in_bfloat16 else torch.float32
    optimizer = Optimizer(model, settings.adamw, settings.muon, dtype, spread)
    average = None if settings.ema is None else Average(optimizer.parameters, settings.ema)
    loss_scale = LossScale(getattr(model, "compute_dtype", torch.float32))
    checkpoints = Checkpoints(
        out / WORK / "checkpoints", spread, optimizer, loss_scale, average, settings.checkpoint_seconds
    )
    first_step, num_tokens = checkpoints.resume()
    tokens_before, watch = num_tokens, Watch(settings.max_skipped)
    watch.see_again(_earlier_steps(out, first_step))
    tracker = Tracker(out, resume_step=first_step) if world.leads else None
    started = last = time.monotonic()
    if first_step:
        console.say(f"  {label}: continuing after step {first_step} of {settings.num_steps}")
    try:
        with console.progress(label, settings.num_steps, "steps") as progress:
            progress.update(first_step)
            for step in range(first_step, settings.num_steps):
                ours = shares_of(parts(step), world) if share_parts else parts(step)
                added = spread.add_gradients(ours, loss_scale.value)
                numbers, step_tokens = added.numbers, added.num_tokens
                num_tokens += step_tokens
                share_of_peak = rate(step, settings.num_steps, settings.schedule)
                numbers["learning_rate"] = share_of_peak * (settings.muon or settings.adamw).lr_peak
                norm = spread.gradient_norm() if world.layout.splits_model else None
                numbers["gradient_norm"] = clip_gradients(parameters, settings.clip_norm, norm)
                if loss_scale.active:
                    numbers["loss_scale"] = loss_scale.value
                learns = _look_at(watch, step, numbers, settings)
                loss_scale.see(finite=learns)
                if learns:
                    optimizer.step(share_of_peak)
                    if average is not None:
                        average.update(step)
                else:
                    optimizer.forget_gradients()
                now = time.monotonic()
                numbers["tokens_per_second"] = round(step_tokens / (now - last), 1)
                if mfu_per_token:
                    numbers["mfu"] = float(f"{step_tokens / (now - last) * mfu_per_token:.3g}")
                last = now
                done = step + 1
                if after_step is not None:
                    numbers |= after_step(done)
                    last = time.monotonic()
                if tracker is not None:
                    tracker.log(done, **numbers)
                if checkpoints.save_if_due(done, done == settings.num_steps, num_tokens):
                    last = time.monotonic()
                progress.update(done)
                progress.note(f"loss {numbers['loss']:.3f}")
    finally:
        if tracker is not None:
            tracker.close()
    checkpoints.wait()
    elapsed = time.monotonic() - started
    if average is not None:
        average.exchange()
    _say_what_stood_out(watch, label)
    return Fitted(
        num_steps=settings.num_steps,
        loss=watch.recent_loss(settings.num_steps),
        num_tokens=num_tokens,
        tokens_per_second=(num_tokens - tokens_before) / elapsed if elapsed > 0 else 0.0,
        resumed_from=first_step,
        skipped=watch.skipped,
        spikes=watch.spikes,
        average=average,
    )


def _look_at(watch: Watch, step: int, numbers: dict[str, float], settings: Fit) -> bool:
    """Whether to learn from the step: not where its loss or gradient is not finite, which is marked in its numbers."""
    finite = math.isfinite(numbers["loss"]) and math.isfinite(numbers["gradient_norm"])
    if not finite:
        numbers["skipped"] = 1
    try:
        watch.see(step + 1, numbers["loss"], skipped=not finite)
    except ValueError as error:
        lr_peaks = [f"adamw {settings.adamw.lr_peak}"]
        lr_peaks += [f"muon {settings.muon.lr_peak}"] if settings.muon else []
        raise ValueError(
            f"{error}; training has diverged. Lower the learning rate (lr_peak: {', '.join(lr_peaks)}), lengthen the "
            "warm-up, or set precision to float32"
        ) from error
    return finite


def _say_what_stood_out(watch: Watch, label: str) -> None:
    if watch.skipped:
        console.warn(
            f"{label}: {len(watch.skipped)} steps skipped, whose loss or gradient was not a finite number "
            f"({_listed(watch.skipped)})"
        )
    if watch.spikes:
        worst = max(watch.spikes, key=lambda spike: spike.loss - spike.usual)
        console.warn(
            f"{label}: the loss stood out in {len(watch.spikes)} steps ({_listed([s.step for s in watch.spikes])}), "
            f"most at step {worst.step}: {worst.loss:.3f} where {worst.usual:.3f} was usual"
        )


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps[:8])) + (", ..." if len(steps) > 8 else "")


def _earlier_steps(out: Path, first_step: int) -> Iterator[tuple[int, float, bool]]:
    """Number, loss and whether it was skipped, of the steps kept of earlier attempts."""
    for row in read_metrics(out) if first_step else ():
        if row["step"] <= first_step:
            yield row["step"], math.nan if row["loss"] is None else row["loss"], bool(row.get("skipped"))
