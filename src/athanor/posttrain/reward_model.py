"""A reward model: which of two answers is better, learned from pairs.

In: the SFT model's trunk and preference pairs. Out: a scorer folder. The score is a linear function of the
hidden state at the last token (the end of turn); the loss is Bradley and Terry's (1952), as in Ouyang et al.
(2022). The two answers of a pair share the computation of their prompt. Accuracy on held-out pairs stands
beside what the rule "the longer answer" gets on the same pairs, for all and for each kind of rejected answer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from athanor.core.artifact import write_jsonl
from athanor.model.transformer import Transformer
from athanor.posttrain.config import RewardModel
from athanor.posttrain.flat import device_of, pair_scores
from athanor.posttrain.losses import binary_loss, bradley_terry_loss
from athanor.posttrain.messages import Pair, batch_of, micro_batches, read_pairs
from athanor.posttrain.model_folder import load_policy, save_reward_model
from athanor.posttrain.preferences import length_rule
from athanor.train.gradients import Part, Share
from athanor.train.lora import add_adapters
from athanor.train.noise import seeded
from athanor.train.trainer import fit

NORMAL_95 = 1.959963984540054


class Scorer(nn.Module):
    """A Transformer's trunk with a scalar output."""

    def __init__(self, trunk: Transformer, seed: int) -> None:
        super().__init__()
        self.trunk = trunk
        if trunk.head is not None:
            trunk.head.requires_grad_(False)  # a reward model predicts no tokens
        width = trunk.config.d_model
        generator = torch.Generator().manual_seed(seed)
        self.score = nn.Linear(width, 1, bias=False, device=device_of(trunk))
        with torch.no_grad():  # of the size that Stiennon et al. (2020) begin with
            self.score.weight.copy_(torch.randn(1, width, generator=generator) / math.sqrt(width + 1))

    def forward(self, pairs: Sequence[Pair]) -> Tensor:
        """Scores [P, 2] of chosen and rejected answers."""
        return pair_scores(self.trunk, self.score.weight, pairs)


def run(config: RewardModel, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train a scorer on the config's split, measure it on the held-out pairs."""
    trunk, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    context_length = trunk.config.context_length
    path = inputs["preferences"] / f"{config.split}.jsonl"
    train, _, too_long = read_pairs(path, tokenizer, context_length)
    held_out, rows, _ = read_pairs(inputs["preferences"] / "held_out.jsonl", tokenizer, context_length)
    if not train or not held_out:
        raise ValueError(f"{path}: {len(train)} pairs to learn from and {len(held_out)} held out; both need one")
    scorer = Scorer(trunk, config.seed)
    if config.lora is not None:
        add_adapters(trunk, config.lora, config.seed)
    settings = config.fit(len(train))

    def parts(step: int) -> Iterator[Part]:
        batch = batch_of(step, len(train), config.batch_size, config.seed)
        return seeded(reward_parts(scorer, [train[i] for i in batch], config), config.seed, step)

    fitted = fit(scorer, parts, settings, out, label=f"reward model ({config.split})")
    trunk.compute_dtype = torch.float32
    scores_P2 = score_pairs(scorer, held_out, config.micro_batch_tokens)
    write_jsonl(
        out / "held_out_scores.jsonl",
        [row | {"chosen_score": c, "rejected_score": r} for row, (c, r) in zip(rows, scores_P2.tolist(), strict=True)],
    )
    save_reward_model(trunk, scorer.score.weight, inputs["model"], out)
    return {
        "split": config.split,
        "pairs": len(train),
        "pairs_too_long": too_long,
        "steps": settings.num_steps,
        "tokens": fitted.num_tokens,
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "loss": fitted.loss,
        "held_out_loss": float(loss_of(scores_P2, config)),
        **accuracies(rows, scores_P2),
        "scores": {"chosen": float(scores_P2[:, 0].mean()), "rejected": float(scores_P2[:, 1].mean())},
    }


def reward_parts(scorer: Scorer, pairs: Sequence[Pair], config: RewardModel) -> Iterator[Part]:
    """One batch's forward passes, whose losses add up to its mean over pairs."""

    def share_of(part: Sequence[Pair]) -> Share:
        scores_P2 = scorer(part)
        loss = loss_of(scores_P2, config) * (len(part) / len(pairs))
        accuracy = float((scores_P2[:, 0] > scores_P2[:, 1]).float().sum()) / len(pairs)
        return Share(loss, sum(pair.num_tokens for pair in part), {"training_accuracy": accuracy})

    for part in micro_batches(pairs, [pair.num_tokens for pair in pairs], config.micro_batch_tokens):
        yield partial(share_of, part)


def loss_of(scores_P2: Tensor, config: RewardModel) -> Tensor:
    """The config's loss, mean over the pairs."""
    if config.loss == "binary":
        return binary_loss(scores_P2[:, 0], scores_P2[:, 1])
    return bradley_terry_loss(scores_P2[:, 0], scores_P2[:, 1], config.centering or 0.0)


@torch.no_grad()
def score_pairs(scorer: Scorer, pairs: Sequence[Pair], micro_batch_tokens: int) -> Tensor:
    """Scores [P, 2] of all `pairs`, on the processor."""
    parts = micro_batches(pairs, [pair.num_tokens for pair in pairs], micro_batch_tokens)
    return torch.cat([scorer(part) for part in parts]).cpu()


def accuracies(rows: Sequence[Mapping[str, Any]], scores_P2: Tensor) -> dict[str, Any]:
    """How often the chosen answer scores higher, beside the length rule on the same pairs; ties count half."""
    right = [0.5 if c == r else float(c > r) for c, r in scores_P2.tolist()]
    longer = [length_rule(row) for row in rows]
    by_kind = {}
    for kind in sorted({str(row["rejected_kind"]) for row in rows}):
        of_kind = [i for i, row in enumerate(rows) if row["rejected_kind"] == kind]
        by_kind[kind] = {
            "accuracy": fmean(right[i] for i in of_kind),
            "accuracy_interval": wilson_interval(sum(right[i] for i in of_kind), len(of_kind)),
            "length_rule_accuracy": fmean(longer[i] for i in of_kind),
            "pairs": len(of_kind),
        }
    return {
        "accuracy": fmean(right),
        "accuracy_interval": wilson_interval(sum(right), len(right)),
        "length_rule_accuracy": fmean(longer),
        "length_rule_interval": wilson_interval(sum(longer), len(longer)),
        "held_out_pairs": len(rows),
        "by_rejected_kind": by_kind,
    }


def wilson_interval(successes: float, trials: int) -> list[float]:
    """95% interval of a share (Wilson 1927): never outside 0 to 1, and usable for few trials.

    >>> [round(end, 4) for end in wilson_interval(9, 10)]
    [0.5958, 0.9821]
    """
    share, z2 = successes / trials, NORMAL_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return [max(0.0, centre - half), min(1.0, centre + half)]
