"""Direct preference optimisation: learning from pairs without a reward model (Rafailov et al. 2023).

In: the SFT model, which is start and reference, and preference pairs. Out: a model folder, and models along
the way in `checkpoints/<step>`. The reference's log-probabilities are computed once and stored. The two
completions of a pair share the computation of their prompt. The implicit reward of an answer is beta times
its log-ratio to the reference, or its log-probability for the losses that have none (SimPO, ORPO).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core.artifact import WORK
from athanor.model.transformer import Transformer
from athanor.posttrain.config.dpo import LOSSES_WITHOUT_REFERENCE, Dpo
from athanor.posttrain.flat import device_of, pair_log_probabilities
from athanor.posttrain.intervals import wilson_interval
from athanor.posttrain.laid_out import LaidOut, save_laid_out
from athanor.posttrain.losses import dpo_loss
from athanor.posttrain.messages import Pair, balanced_parts, batch_of, micro_batches, read_pairs
from athanor.posttrain.model_folder import checkpoint_steps, load_policy
from athanor.posttrain.reward_model import refuse_leakage
from athanor.train.gradients import Part, Share
from athanor.train.lora import add_adapters
from athanor.train.noise import seeded
from athanor.train.together import kept, shared_by_processes
from athanor.train.trainer import fit


@shared_by_processes
def run(config: Dpo, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train on `proxy.jsonl`; accuracy of the implicit reward on `held_out.jsonl`."""
    model, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    context_length = model.config.context_length
    path = inputs["preferences"] / "proxy.jsonl"
    held_out_path = inputs["preferences"] / "held_out.jsonl"
    (train, rows, too_long, ties), (held_out, held_out_rows, _, _) = (
        _decided(read_pairs(file, tokenizer, context_length)) for file in (path, held_out_path)
    )
    if not train or not held_out:
        raise ValueError(f"{path}: {len(train)} pairs to learn from and {len(held_out)} held out; both need one")
    refuse_leakage(rows, held_out_rows, path, held_out_path)
    if config.lora is not None:
        add_adapters(model, config.lora, config.seed)  # new ones change nothing, so this is the reference still
    laid_out = LaidOut(model)
    reference_P2, held_out_reference_P2 = (
        _reference(config, model, pairs, out / WORK / f"reference-{name}.json")
        for name, pairs in (("proxy", train), ("held_out", held_out))
    )
    laid_out.release()
    settings = config.fit(len(train))
    kept_steps = checkpoint_steps(settings.num_steps, config.num_checkpoints)

    def parts(step: int) -> Iterator[Part]:
        batch = batch_of(step, len(train), config.batch_size, config.seed)
        of_batch = dpo_parts(model, [train[i] for i in batch], reference_P2[batch], config)
        return seeded(of_batch, config.seed, step)

    def after_step(done: int) -> dict[str, float]:
        if done in kept_steps:
            save_laid_out(laid_out, inputs["model"], out / "checkpoints" / str(done))
        return {}

    fitted = fit(model, parts, settings, out, after_step=after_step, label="dpo", spread=laid_out.spread)
    ratios_P2 = log_probabilities(model, held_out, config.micro_batch_tokens) - held_out_reference_P2
    right = (ratios_P2[:, 0] > ratios_P2[:, 1]).float()
    laid_out.release()
    save_laid_out(laid_out, inputs["model"], out)
    return {
        "loss_name": config.loss,
        "pairs": len(train),
        "pairs_too_long": too_long,
        "ties_left_out": ties,
        "steps": settings.num_steps,
        "checkpoints": [*kept_steps, settings.num_steps],
        "tokens": fitted.num_tokens,
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "loss": fitted.loss,
        "held_out_loss": float(_losses(ratios_P2, held_out, config).mean()),
        "held_out_accuracy": float(right.mean()),
        "held_out_accuracy_interval": wilson_interval(float(right.sum()), len(right)),
        "held_out_margin": config.beta * float((ratios_P2[:, 0] - ratios_P2[:, 1]).mean()),
        "held_out_pairs": len(held_out),
    }


def _decided(
    read: tuple[list[Pair], list[dict[str, Any]], int],
) -> tuple[list[Pair], list[dict[str, Any]], int, int]:
    """The pairs with a winner, their rows, how many were too long, and how many are ties, which prefer nothing."""
    pairs, rows, too_long = read
    kept = [i for i, row in enumerate(rows) if not row.get("tie")]
    return [pairs[i] for i in kept], [rows[i] for i in kept], too_long, len(rows) - len(kept)


def dpo_parts(model: Transformer, pairs: Sequence[Pair], reference_P2: Tensor, config: Dpo) -> Iterator[Part]:
    """One batch's forward passes, whose losses add up to its mean over pairs.

    `reference_P2` holds the reference's log-probabilities [P, 2] of the chosen and the rejected completions.
    """
    sizes = [pair.num_tokens for pair in pairs]
    for part in balanced_parts(range(len(pairs)), sizes, config.micro_batch_tokens):
        yield partial(_share, model, [pairs[i] for i in part], reference_P2[part], config, len(pairs))


@torch.no_grad()
def log_probabilities(model: Transformer, pairs: Sequence[Pair], micro_batch_tokens: int) -> Tensor:
    """Log-probabilities [P, 2] of all chosen and rejected completions."""
    parts = micro_batches(pairs, [pair.num_tokens for pair in pairs], micro_batch_tokens)
    return torch.cat([pair_log_probabilities(model, part) for part in parts])


def _share(model: Transformer, pairs: Sequence[Pair], reference_P2: Tensor, config: Dpo, batch_size: int) -> Share:
    """One forward pass's part of the batch's mean loss, with the implicit rewards."""
    ratios_P2 = pair_log_probabilities(model, pairs) - reference_P2
    loss = _losses(ratios_P2, pairs, config).sum() / batch_size
    rewards_P2 = config.beta * ratios_P2.detach()
    numbers = {
        "accuracy": float((rewards_P2[:, 0] > rewards_P2[:, 1]).float().sum()) / batch_size,
        "chosen_reward": float(rewards_P2[:, 0].sum()) / batch_size,
        "rejected_reward": float(rewards_P2[:, 1].sum()) / batch_size,
    }
    return Share(loss, sum(pair.num_tokens for pair in pairs), numbers)


def _losses(ratios_P2: Tensor, pairs: Sequence[Pair], config: Dpo) -> Tensor:
    lengths_P2 = torch.tensor([(len(pair.chosen), len(pair.rejected)) for pair in pairs], device=ratios_P2.device)
    return dpo_loss(
        ratios_P2[:, 0],
        ratios_P2[:, 1],
        lengths_P2,
        loss=config.loss,
        beta=config.beta,
        label_smoothing=config.label_smoothing or 0.0,
        target_margin=config.target_margin,
    )


def _reference(config: Dpo, model: Transformer, pairs: Sequence[Pair], path: Path) -> Tensor:
    """The reference's log-probabilities [P, 2], computed before the first step and stored; 0 where none is wanted."""
    if config.reference_free or config.loss in LOSSES_WITHOUT_REFERENCE:
        return torch.zeros(len(pairs), 2, device=device_of(model))
    found = kept(path, lambda: log_probabilities(model, pairs, config.micro_batch_tokens).tolist())
    return torch.tensor(found, device=device_of(model))
