"""KTO: an answer alone is called desirable or not, and no pair is needed (Ethayarajh et al. 2024).

In: a model, and `proxy.jsonl` and `held_out.jsonl` with rows {prompt, completion, label}; a pair {prompt, chosen,
rejected} counts as two rows. Out: a model folder. With the log-ratio r = log policy(y|x) - log reference(y|x) and a
reference point z0, the loss is

    desirable     lambda_D (1 - sigmoid(beta (r - z0)))
    undesirable   lambda_U (1 - sigmoid(beta (z0 - r)))

z0 is the mean log-ratio of answers to other prompts, at least 0, over the whole batch and without a gradient. The
answer that a prompt is given for it is that of its neighbour in a fixed shuffle, so that the reference's values are
computed once and stored. Left out: answers that do not fit the context; the borrowed ones are cut to fit.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from athanor.core.artifact import WORK
from athanor.core.console import warn
from athanor.model.transformer import Transformer
from athanor.posttrain.config import Kto
from athanor.posttrain.flat import completion_hidden_states, device_of
from athanor.posttrain.flat import log_probabilities as token_values
from athanor.posttrain.laid_out import LaidOut, save_laid_out
from athanor.posttrain.messages import batch_of, micro_batches, read_rows, split_completion
from athanor.posttrain.model_folder import checkpoint_steps, load_policy
from athanor.posttrain.reward_model import refuse_leakage
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.gradients import Part, Share
from athanor.train.lora import add_adapters
from athanor.train.noise import seeded
from athanor.train.together import kept, shared_by_processes
from athanor.train.trainer import fit

MOST_WEIGHT_RATIO = 4 / 3  # section 4.2: lambda_D n_D / (lambda_U n_U) is best between 1 and this

# B answers of a batch or a part of it


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt with an answer, as tokens, and whether the answer is desirable."""

    prompt: list[int]
    completion: list[int]
    desirable: bool

    @property
    def num_tokens(self) -> int:
        """Tokens of its forward pass."""
        return len(self.prompt) + len(self.completion)


@shared_by_processes
def run(config: Kto, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train on `proxy.jsonl`, measure on `held_out.jsonl`; the reference is the model as it comes."""
    model, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    context_length = model.config.context_length
    data = inputs["preferences"]
    path, held_out_path = data / "proxy.jsonl", data / "held_out.jsonl"
    train, too_long = read_labelled(path, tokenizer, context_length)
    held_out, _ = read_labelled(held_out_path, tokenizer, context_length)
    if len(train) < 2 or not held_out:
        raise ValueError(f"{data}: {len(train)} answers to learn from and {len(held_out)} held out; 2 and 1 are needed")
    refuse_leakage(_as_messages(path), _as_messages(held_out_path), path, held_out_path)
    counts = Counter(row.desirable for row in train)
    ratio = _warn_of_weights(config, counts)
    borrowed = with_other_answers(train, config.seed, context_length)
    if config.lora is not None:
        add_adapters(model, config.lora, config.seed)  # new ones change nothing, so this is the reference still
    laid_out = LaidOut(model)
    stored = {
        name: _stored(model, rows, config, out / WORK / f"reference-{name}.json")
        for name, rows in (("proxy", train), ("borrowed", borrowed), ("held_out", held_out))
    }
    laid_out.release()
    settings = config.fit(len(train))
    kept_steps = checkpoint_steps(settings.num_steps, config.num_checkpoints)

    def parts(step: int) -> Iterator[Part]:
        batch = batch_of(step, len(train), config.batch_size, config.seed)
        others = [borrowed[i] for i in batch]
        log_ratios_B = sequence_values(model, others, config.micro_batch_tokens) - stored["borrowed"][batch]
        point = reference_point(log_ratios_B)
        micro = micro_batches(batch, [train[i].num_tokens for i in batch], config.micro_batch_tokens)
        shares = (
            partial(_share, model, [train[i] for i in p], stored["proxy"][p], point, config, len(batch)) for p in micro
        )
        return seeded(shares, config.seed, step)

    def after_step(done: int) -> dict[str, float]:
        if done in kept_steps:
            save_laid_out(laid_out, inputs["model"], out / "checkpoints" / str(done))
        return {}

    fitted = fit(model, parts, settings, out, after_step=after_step, label="kto", spread=laid_out.spread)
    ratios_B = sequence_values(model, held_out, config.micro_batch_tokens) - stored["held_out"]
    good_B = torch.tensor([row.desirable for row in held_out], device=ratios_B.device)
    laid_out.release()
    save_laid_out(laid_out, inputs["model"], out)
    return {
        "answers": len(train),
        "desirable": counts[True],
        "undesirable": counts[False],
        "weight_ratio": ratio,
        "answers_too_long": too_long,
        "steps": settings.num_steps,
        "checkpoints": [*kept_steps, settings.num_steps],
        "tokens": fitted.num_tokens,
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "loss": fitted.loss,
        "held_out_answers": len(held_out),
        "held_out_rewards": {
            name: config.beta * float(ratios_B[mask].mean()) if bool(mask.any()) else None
            for name, mask in (("desirable", good_B), ("undesirable", ~good_B))
        },
        "held_out_accuracy": _order(ratios_B[good_B], ratios_B[~good_B]),
    }


def kto_loss(
    log_ratios_B: Tensor, desirable_B: Tensor, point: Tensor, beta: float, weights: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """The loss of each answer; `point` is the reference point z0, `weights` those of desirable and undesirable ones."""
    sign_B = torch.where(desirable_B, 1.0, -1.0)
    weight_B = torch.where(desirable_B, weights[0], weights[1])
    return weight_B * (1.0 - torch.sigmoid(beta * sign_B * (log_ratios_B - point)))


def reference_point(log_ratios_B: Tensor) -> Tensor:
    """The mean log-ratio of borrowed answers, at least 0: an estimate of the KL to the reference."""
    return log_ratios_B.detach().mean().clamp(min=0.0)


def read_labelled(path: Path, tokenizer: Tokenizer, context_length: int) -> tuple[list[Labelled], int]:
    """The answers of a file with their labels, and how many are too long; a prompt may be a text or messages."""
    found: list[Labelled] = []
    too_long = 0
    for number, row in enumerate(read_rows(path, "prompt"), start=1):
        messages = _messages(row["prompt"])
        for text, desirable in _answers(row, path, number):
            before, completion = split_completion(tokenizer, messages, text)
            if len(before) + len(completion) > context_length:
                too_long += 1
            else:
                found.append(Labelled(before, completion, desirable))
    return found, too_long


def _messages(prompt: Any) -> Any:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _as_messages(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, with prompts that are texts as messages."""
    return [{**row, "prompt": _messages(row["prompt"])} for row in read_rows(path, "prompt")]


def with_other_answers(rows: Sequence[Labelled], seed: int, context_length: int) -> list[Labelled]:
    """Each prompt with the answer of its neighbour in a fixed shuffle, cut where it does not fit."""
    order = np.random.default_rng((seed, 1)).permutation(len(rows)).tolist()
    lender = {order[i]: order[i - 1] for i in range(len(order))}
    made = []
    for i, row in enumerate(rows):
        room = context_length - len(row.prompt)
        made.append(Labelled(row.prompt, rows[lender[i]].completion[:room], row.desirable))
    return made


@torch.no_grad()
def sequence_values(model: Transformer, rows: Sequence[Labelled], micro_batch_tokens: int) -> Tensor:
    """Log-probability [B] of each completion, summed over its tokens."""
    parts = micro_batches(rows, [row.num_tokens for row in rows], micro_batch_tokens)
    return torch.cat([_summed(model, part) for part in parts])


def _summed(model: Transformer, rows: Sequence[Labelled]) -> Tensor:
    completions = [row.completion for row in rows]
    hidden_ND = completion_hidden_states(model, [row.prompt for row in rows], completions)
    values_N = token_values(model, hidden_ND, completions)
    lengths = [len(completion) for completion in completions]
    return torch.stack([part.sum() for part in torch.split(values_N, lengths)])


def _share(
    model: Transformer, rows: Sequence[Labelled], reference_B: Tensor, point: Tensor, config: Kto, batch_size: int
) -> Share:
    """One forward pass's part of the batch's mean loss."""
    log_ratios_B = _summed(model, rows) - reference_B
    desirable_B = torch.tensor([row.desirable for row in rows], device=log_ratios_B.device)
    weights = (config.desirable_weight, config.undesirable_weight)
    loss = kto_loss(log_ratios_B, desirable_B, point, config.beta, weights).sum() / batch_size
    numbers = {"kl": float(point) * len(rows) / batch_size}
    return Share(loss, sum(row.num_tokens for row in rows), numbers)


def _answers(row: Mapping[str, Any], path: Path, number: int) -> list[tuple[str, bool]]:
    if "completion" in row and isinstance(row.get("label"), bool):
        return [(str(row["completion"]), row["label"])]
    if "chosen" in row and "rejected" in row:
        return [(str(row["chosen"]), True), (str(row["rejected"]), False)]
    raise ValueError(
        f"{path}: row {number} has neither completion with a label of true or false, nor chosen and rejected; "
        f"found {sorted(row)}"
    )


def _warn_of_weights(config: Kto, counts: Mapping[bool, int]) -> float | None:
    """The weights of good against bad answers, all together; a warning where the paper advises others."""
    good, bad = config.desirable_weight * counts[True], config.undesirable_weight * counts[False]
    if not good or not bad:
        warn("kto: only answers of one kind count; the model learns nothing of the other")
        return None
    ratio = good / bad
    if not 1 <= round(ratio, 6) <= round(MOST_WEIGHT_RATIO, 6):
        warn(
            f"kto: good answers weigh {ratio:.2f} times the bad ones; between 1 and 1.33 is advised, as with "
            f"desirable_weight: {config.undesirable_weight * counts[False] / counts[True]:.2f}"
        )
    return ratio


def _stored(model: Transformer, rows: Sequence[Labelled], config: Kto, path: Path) -> Tensor:
    """The reference's values, computed before the first step."""
    found = kept(path, lambda: sequence_values(model, rows, config.micro_batch_tokens).tolist())
    return torch.tensor(found, device=device_of(model))


def _order(good_B: Tensor, bad_B: Tensor) -> float | None:
    """How often a good answer's log-ratio exceeds a bad one's, over all pairs of them; ties count half."""
    if not len(good_B) or not len(bad_B):
        return None
    difference = good_B[:, None] - bad_B[None]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())
