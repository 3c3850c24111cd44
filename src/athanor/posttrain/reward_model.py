"""A reward model: which of two answers is better, learned from pairs.

In: the SFT model's trunk and preference pairs, or single answers judged good or bad. Out: a scorer folder, the scores
of the held-out rows, and a page. The score is a linear function of the hidden state at the last token (the end of
turn); the loss is Bradley and Terry's (1952), as in Ouyang et al. (2022). The two answers of a pair share the
computation of their prompt. Held-out prompts that training has seen are refused. What is measured, and beside which
floors: `reward_measures.py`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from athanor.core.artifact import write_jsonl, write_text
from athanor.model.transformer import Transformer
from athanor.posttrain.calibration import reliability_diagram
from athanor.posttrain.config import RewardModel
from athanor.posttrain.config.reward_model import DEFAULT_STRENGTH
from athanor.posttrain.flat import device_of, pair_scores, scores
from athanor.posttrain.laid_out import LaidOut
from athanor.posttrain.losses import binary_loss, bradley_terry_loss, label_loss, tie_loss
from athanor.posttrain.messages import (
    Pair,
    balanced_parts,
    batch_of,
    micro_batches,
    read_pairs,
    read_rows,
    split_completion,
)
from athanor.posttrain.model_folder import load_policy, save_reward_model
from athanor.posttrain.reward_measures import page, pair_measures, single_measures
from athanor.posttrain.splits import prompt_key
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.gradients import Part, Share
from athanor.train.lora import add_adapters
from athanor.train.noise import seeded
from athanor.train.together import shared_by_processes
from athanor.train.trainer import fit


@dataclass(frozen=True, slots=True)
class Single:
    """A whole sequence of tokens, prompt and answer, and whether the answer is good."""

    tokens: list[int]
    good: bool

    @property
    def num_tokens(self) -> int:
        """Tokens of one forward pass."""
        return len(self.tokens)


@dataclass(frozen=True)
class Examples:
    """The rows of one file that can be learned from, or measured on."""

    rows: list[dict[str, Any]]
    pairs: list[Pair]
    singles: list[Single]
    too_long: int
    ties_left_out: int


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

    def forward(self, pairs: Sequence[Pair], singles: Sequence[Single] = ()) -> Tensor:
        """Scores [P, 2] of chosen and rejected answers; or those [B] of single answers, where there are no pairs."""
        if singles:
            return scores(self.trunk, self.score.weight, [single.tokens for single in singles])
        return pair_scores(self.trunk, self.score.weight, pairs)


@shared_by_processes
def run(config: RewardModel, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train a scorer on the config's split, measure it on the held-out pairs."""
    trunk, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    context_length = trunk.config.context_length
    path, held_out_path = inputs["preferences"] / f"{config.split}.jsonl", inputs["preferences"] / "held_out.jsonl"
    train = read_examples(path, config, tokenizer, context_length, keep_ties=config.ties is not None)
    held_out = read_examples(held_out_path, config, tokenizer, context_length, keep_ties=False)
    if not train.rows or not held_out.rows:
        counts = f"{len(train.rows)} pairs to learn from and {len(held_out.rows)} held out"
        raise ValueError(f"{path}: {counts}; both need one")
    if bool(train.singles) != bool(held_out.singles):
        raise ValueError(f"{path} and {held_out_path}: one holds pairs, the other single answers")
    refuse_leakage(train.rows, held_out.rows, path, held_out_path)
    scorer = Scorer(trunk, config.seed)
    if config.lora is not None:
        add_adapters(trunk, config.lora, config.seed)
    laid_out = LaidOut(scorer)
    settings = config.fit(len(train.rows))

    def parts(step: int) -> Iterator[Part]:
        batch = batch_of(step, len(train.rows), config.batch_size, config.seed)
        if train.singles:
            found = single_parts(scorer, [train.singles[i] for i in batch], config.micro_batch_tokens)
        else:
            margins = [float(train.rows[i].get("margin", 0.0)) for i in batch]
            tied = [bool(train.rows[i].get("tie")) for i in batch]
            found = reward_parts(scorer, [train.pairs[i] for i in batch], config, margins, tied)
        return seeded(found, config.seed, step)

    fitted = fit(scorer, parts, settings, out, label=f"reward model ({config.split})", spread=laid_out.spread)
    trunk.compute_dtype = torch.float32
    measured, scored = measure(scorer, config, held_out, train.rows)
    laid_out.release()
    write_jsonl(out / "held_out_scores.jsonl", scored)
    diagram = reliability_diagram(measured["reliability"], "What the reward model promises, and what happened")
    write_text(out / "reliability.svg", diagram)
    write_text(out / "reward_model.html", page(measured, diagram, f"Reward model ({config.split})"))
    whole = laid_out.whole()
    if laid_out.leads:
        save_reward_model(whole.trunk, whole.score.weight, inputs["model"], out)
    return {
        "split": config.split,
        "pairs": len(train.rows),
        "pairs_too_long": train.too_long,
        "ties_left_out": train.ties_left_out + held_out.ties_left_out,
        "steps": settings.num_steps,
        "tokens": fitted.num_tokens,
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "loss": fitted.loss,
        **measured,
    }


def read_examples(
    path: Path, config: RewardModel, tokenizer: Tokenizer, context_length: int, keep_ties: bool
) -> Examples:
    """The pairs of a file, or its single answers where rows have a `label`; what is left out is counted.

    Raises ValueError for single answers with a loss over pairs, and for rows without the margin that is asked for.
    """
    rows = read_rows(path, "prompt")
    if rows and "label" in rows[0]:
        if config.loss != "binary":
            raise ValueError(
                f"{path}: rows judge single answers (label); 'bradley_terry' needs pairs, use the loss binary"
            )
        return _single_examples(rows, tokenizer, context_length)
    pairs, fitting, too_long = read_pairs(path, tokenizer, context_length)
    kept = [i for i, row in enumerate(fitting) if keep_ties or not row.get("tie")]
    if config.margins and path.stem == config.split:
        without = [i for i in kept if "margin" not in fitting[i]]
        if without:
            raise ValueError(
                f"{path}: {len(without)} of {len(kept)} rows have no 'margin'; leave margins out, or give them"
            )
    return Examples(
        rows=[fitting[i] for i in kept],
        pairs=[pairs[i] for i in kept],
        singles=[],
        too_long=too_long,
        ties_left_out=len(fitting) - len(kept),
    )


def _single_examples(rows: Sequence[dict[str, Any]], tokenizer: Tokenizer, context_length: int) -> Examples:
    singles, kept = [], []
    for row in rows:
        prompt, completion = split_completion(tokenizer, row["prompt"], row["completion"])
        if len(prompt) + len(completion) <= context_length:
            singles.append(Single([*prompt, *completion], bool(row["label"])))
            kept.append(row)
    return Examples(kept, [], singles, len(rows) - len(kept), 0)


def refuse_leakage(
    train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], path: Path, held_out_path: Path
) -> None:
    """Raises ValueError where held-out prompts stand in training too, in whatever case and spacing.

    A model that has seen the answers to a prompt knows which were liked; its accuracy would be a memory.
    """
    seen = {prompt_key(row["prompt"]) for row in train}
    leaked = [row for row in held_out if prompt_key(row["prompt"]) in seen]
    if leaked:
        raise ValueError(
            f"{held_out_path}: {len(leaked)} of {len(held_out)} held-out rows have a prompt that {path.name} has too, "
            f"such as {leaked[0]['prompt'][-1]['content'][:80]!r}; split by prompt, as posttrain preference-data does"
        )


def reward_parts(
    scorer: Scorer,
    pairs: Sequence[Pair],
    config: RewardModel,
    margins: Sequence[float] = (),
    tied: Sequence[bool] = (),
) -> Iterator[Part]:
    """One batch's forward passes, whose losses add up to its mean over pairs; `margins` and `tied` one per pair."""

    def share_of(part: Sequence[int]) -> Share:
        scores_P2 = scorer([pairs[i] for i in part])
        loss = pair_loss(scores_P2, config, [margins[i] for i in part if margins], [tied[i] for i in part if tied])
        right = float((scores_P2[:, 0] > scores_P2[:, 1]).float().sum()) / len(pairs)
        num_tokens = sum(pairs[i].num_tokens for i in part)
        return Share(loss * (len(part) / len(pairs)), num_tokens, {"training_accuracy": right})

    for part in balanced_parts(range(len(pairs)), [pair.num_tokens for pair in pairs], config.micro_batch_tokens):
        yield partial(share_of, part)


def single_parts(scorer: Scorer, singles: Sequence[Single], micro_batch_tokens: int) -> Iterator[Part]:
    """One batch's forward passes, whose losses add up to its mean over single answers."""

    def share_of(part: Sequence[Single]) -> Share:
        scores_B = scorer((), part)
        good_B = torch.tensor([single.good for single in part], device=scores_B.device)
        right = float(((scores_B > 0) == good_B).float().sum()) / len(singles)
        loss = label_loss(scores_B, good_B) * (len(part) / len(singles))
        return Share(loss, sum(single.num_tokens for single in part), {"training_accuracy": right})

    for part in micro_batches(singles, [single.num_tokens for single in singles], micro_batch_tokens):
        yield partial(share_of, part)


def pair_loss(
    scores_P2: Tensor, config: RewardModel, margins: Sequence[float] = (), tied: Sequence[bool] = ()
) -> Tensor:
    """The config's loss, mean over the pairs."""
    chosen_P, rejected_P = scores_P2[:, 0], scores_P2[:, 1]
    if config.loss == "binary":
        return binary_loss(chosen_P, rejected_P)
    if config.ties is not None:
        tied_P = torch.tensor(tied or [False] * len(scores_P2), device=scores_P2.device)
        strength = DEFAULT_STRENGTH[config.ties] if config.tie_strength is None else config.tie_strength
        return tie_loss(chosen_P, rejected_P, tied_P, config.ties, strength, config.centering or 0.0)
    return bradley_terry_loss(
        chosen_P,
        rejected_P,
        config.centering or 0.0,
        margins_P=torch.tensor(margins, device=scores_P2.device) if config.margins and margins else None,
        label_smoothing=config.label_smoothing or 0.0,
    )


@torch.no_grad()
def measure(
    scorer: Scorer, config: RewardModel, held_out: Examples, training_rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The numbers about the held-out rows, and the rows with their scores."""
    if held_out.singles:
        sizes = [single.num_tokens for single in held_out.singles]
        parts = micro_batches(held_out.singles, sizes, config.micro_batch_tokens)
        found_B = torch.cat([scorer((), part) for part in parts]).cpu()
        good_B = torch.tensor([single.good for single in held_out.singles])
        scored = [row | {"score": score} for row, score in zip(held_out.rows, found_B.tolist(), strict=True)]
        numbers = single_measures(held_out.rows, found_B.tolist())
        means = {"good": _mean(found_B[good_B]), "bad": _mean(found_B[~good_B])}
        return {"held_out_loss": float(label_loss(found_B, good_B)), **numbers, "scores": means}, scored
    scores_P2 = score_pairs(scorer, held_out.pairs, config.micro_batch_tokens)
    scored = [
        row | {"chosen_score": chosen, "rejected_score": rejected}
        for row, (chosen, rejected) in zip(held_out.rows, scores_P2.tolist(), strict=True)
    ]
    return {
        "held_out_loss": float(pair_loss(scores_P2, config)),
        **pair_measures(held_out.rows, scores_P2, [row for row in training_rows if not row.get("tie")]),
        "scores": {"chosen": _mean(scores_P2[:, 0]), "rejected": _mean(scores_P2[:, 1])},
    }, scored


@torch.no_grad()
def score_pairs(scorer: Scorer, pairs: Sequence[Pair], micro_batch_tokens: int) -> Tensor:
    """Scores [P, 2] of all `pairs`, on the processor."""
    parts = micro_batches(pairs, [pair.num_tokens for pair in pairs], micro_batch_tokens)
    return torch.cat([scorer(part) for part in parts]).cpu()


def _mean(scores_B: Tensor) -> float | None:
    """The mean of the scores; None for none."""
    return float(scores_B.mean()) if len(scores_B) else None
