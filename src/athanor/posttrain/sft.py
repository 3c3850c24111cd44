"""Supervised fine-tuning: the base model learns to answer.

In: a base model and conversations. Out: a model folder, the held-out loss over the steps, and answers to
held-out prompts before and after. The loss is the mean over all completion tokens of a batch (answers and
their ends of turn), however the batch is cut into forward passes; prompts cost nothing. Conversations lie
end to end and none sees another. A batch with nothing to learn is an error, never a loss of 0. Rows that cannot be
learned from are left out, counted, and listed in skipped.jsonl with the reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.core.console import say, warn
from athanor.evaluation.answers import answer, documented_answer, question, spread
from athanor.model.transformer import Transformer
from athanor.posttrain.config import Sft
from athanor.posttrain.flat import hidden_states
from athanor.posttrain.laid_out import LaidOut, save_laid_out
from athanor.posttrain.messages import (
    Conversation,
    LeftOut,
    balanced_parts,
    batch_of,
    micro_batches,
    read_conversations,
)
from athanor.posttrain.model_folder import load_policy
from athanor.posttrain.show_mask import shown
from athanor.tokenizer.chat_template import encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.gradients import Part, Share
from athanor.train.lora import add_adapters
from athanor.train.loss import cross_entropy, token_log_probabilities
from athanor.train.noise import add_embedding_noise, lengths_are, seeded
from athanor.train.spread import Spread
from athanor.train.together import kept, shared_by_processes
from athanor.train.trainer import Fitted, fit


@shared_by_processes
def run(config: Sft, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Fine-tune the model of `inputs["model"]` on `sft.jsonl`; held-out numbers come from `test.jsonl`."""
    model, tokenizer = load_policy(inputs["model"], config.precision, config.threads, config.chat_template)
    data = inputs["conversations"]
    context_length = model.config.context_length
    train, left_out = read_conversations(data / "sft.jsonl", tokenizer, context_length, config.loss_on)
    held_out, test_left_out = read_conversations(data / "test.jsonl", tokenizer, context_length, config.loss_on)
    write_jsonl(out / "skipped.jsonl", [*left_out.rows, *test_left_out.rows])
    if not train:
        raise ValueError(f"{data / 'sft.jsonl'}: no conversation to learn from ({_told(left_out)})")
    if config.lora is not None and tokenizer.vocab_size > Tokenizer.load(inputs["model"]).vocab_size:
        warn(
            "sft: LoRA leaves the embeddings of the new special tokens as they start; train without it, or choose a "
            "chat_template whose tokens the base has"
        )
    if left_out.rows:
        warn(f"sft: {len(left_out.rows)} rows left out, see skipped.jsonl ({_told(left_out)})")
    for row in train[: config.show_mask]:
        say(shown(tokenizer, row.tokens, row.loss_mask, color=False))
    held_out = spread(held_out, config.num_held_out)
    prepare(config, model)
    laid_out = LaidOut(model)
    before = _before(config, laid_out, tokenizer, data, held_out, out / WORK / "before.json")
    settings = config.fit(len(train))

    def after_step(done: int) -> dict[str, float]:
        if not held_out or (done % config.evaluate_every and done != settings.num_steps):
            return {}
        found = held_out_loss(model, held_out, config.micro_batch_tokens)
        laid_out.release()
        return {"held_out_loss": found}

    fitted = fine_tune(config, model, train, out, after_step, spread=laid_out.spread)
    model.compute_dtype = torch.float32
    after = _answers(config, laid_out, tokenizer, data)
    write_jsonl(out / "samples.jsonl", _samples(config, data, before["answers"], after, settings.num_steps))
    final_loss = held_out_loss(model, held_out, config.micro_batch_tokens) if held_out else None
    laid_out.release()
    save_laid_out(laid_out, inputs["model"], out, tokenizer)
    return {
        "conversations": len(train),
        "conversations_too_long": left_out.too_long,
        "conversations_all_masked": left_out.nothing_to_learn,
        "left_out": left_out.reasons,
        "parameters_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": settings.num_steps,
        "epochs": round(settings.num_steps * config.batch_size / len(train), 3),
        "tokens": fitted.num_tokens,
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "loss": fitted.loss,
        "held_out_loss_before": before["held_out_loss"],
        "held_out_loss": final_loss,
        "held_out_conversations": len(held_out),
    }


def prepare(config: Sft, model: Transformer) -> None:
    """Give `model` the noise and the adapters that `config` asks for; neither changes what it predicts."""
    if config.neftune_alpha is not None:
        add_embedding_noise(model.embedding, config.neftune_alpha)
    if config.lora is not None:
        add_adapters(model, config.lora, config.seed)


def fine_tune(
    config: Sft,
    model: Transformer,
    train: Sequence[Conversation],
    out: Path,
    after_step: Callable[[int], Mapping[str, float]],
    label: str = "sft",
    spread: Spread | None = None,
) -> Fitted:
    """Train `model`, which `prepare` has prepared, in place on `train`, continuing an earlier attempt in `out`."""

    def parts(step: int) -> Iterator[Part]:
        rows = [train[i] for i in batch_of(step, len(train), config.batch_size, config.seed)]
        return seeded(sft_parts(model, rows, config.micro_batch_tokens), config.seed, step)

    return fit(model, parts, config.fit(len(train)), out, after_step=after_step, label=label, spread=spread)


def sft_parts(model: Transformer, rows: Sequence[Conversation], micro_batch_tokens: int) -> Iterator[Part]:
    """One batch's forward passes, whose losses add up to its mean over completion tokens.

    Raises ValueError where the loss mask leaves nothing in the whole batch.
    """
    total = sum(row.num_completion_tokens for row in rows)
    if total == 0:
        raise ValueError(f"no token of these {len(rows)} conversations is in the loss: every label is masked")

    def share_of(part: Sequence[Conversation]) -> Share:
        return Share(_summed_loss(model, part) / total, sum(len(row.tokens) for row in part))

    for part in balanced_parts(rows, [len(row.tokens) for row in rows], micro_batch_tokens):
        if any(row.num_completion_tokens for row in part):
            yield partial(share_of, part)


@torch.no_grad()
def held_out_loss(model: Transformer, rows: Sequence[Conversation], micro_batch_tokens: int) -> float:
    """Mean loss over the completion tokens of `rows`, in nats."""
    parts = micro_batches(rows, [len(row.tokens) for row in rows], micro_batch_tokens)
    summed = sum(float(_summed_loss(model, part)) for part in parts)
    return summed / sum(row.num_completion_tokens for row in rows)


@torch.no_grad()
def summed_losses(model: Transformer, rows: Sequence[Conversation], micro_batch_tokens: int) -> list[float]:
    """The loss of each row, added up over its completion tokens, in nats."""
    found: list[float] = []
    for part in micro_batches(rows, [len(row.tokens) for row in rows], micro_batch_tokens):
        hidden_ND, targets, counts = _predictions(model, part)
        per_token_N = token_log_probabilities(hidden_ND, model.head_weight, targets)
        of_rows = torch.split(per_token_N, counts)
        found += [-float(nats.double().sum()) for nats in of_rows]
    return found


def _predictions(model: Transformer, rows: Sequence[Conversation]) -> tuple[Tensor, Tensor, list[int]]:
    """Hidden states that predict the completion tokens of the rows, those tokens, and how many each row has."""
    lengths_are([len(row.tokens) for row in rows])
    places, targets, counts, start = [], [], [], 0
    for row in rows:
        learned = [i for i in range(1, len(row.tokens)) if row.loss_mask[i]]
        places += [start + i - 1 for i in learned]  # a token is predicted from the one before
        targets += [row.tokens[i] for i in learned]
        counts.append(len(learned))
        start += len(row.tokens)
    hidden_ND = hidden_states(model, [row.tokens for row in rows], places)
    return hidden_ND, torch.tensor(targets, device=hidden_ND.device), counts


def _summed_loss(model: Transformer, rows: Sequence[Conversation]) -> Tensor:
    """Negative log-probability of the completion tokens of `rows`, added up."""
    hidden_ND, targets, _ = _predictions(model, rows)
    weights = torch.ones(len(targets), device=hidden_ND.device)
    return cross_entropy(hidden_ND, model.head_weight, targets, weights)


def _told(left_out: LeftOut) -> str:
    """The reasons in a line, the most frequent first."""
    return "; ".join(f"{count}: {reason}" for reason, count in list(left_out.reasons.items())[:3]) or "it has no rows"


def _before(
    config: Sft,
    laid_out: LaidOut[Transformer],
    tokenizer: Tokenizer,
    data: Path,
    held_out: Sequence[Conversation],
    path: Path,
) -> dict[str, Any]:
    """Loss and answers of the base model, computed once."""

    def measured() -> dict[str, Any]:
        loss = held_out_loss(laid_out.model, held_out, config.micro_batch_tokens) if held_out else None
        laid_out.release()
        return {"held_out_loss": loss, "answers": _answers(config, laid_out, tokenizer, data)}

    found: dict[str, Any] = kept(path, measured)
    return found


def _sample_rows(config: Sft, data: Path) -> list[dict[str, Any]]:
    return spread(list(read_jsonl(data / "test.jsonl")), config.num_samples)


def _answers(config: Sft, laid_out: LaidOut[Transformer], tokenizer: Tokenizer, data: Path) -> list[str]:
    """The model's most likely answers to some held-out prompts."""
    rows, model = _sample_rows(config, data), laid_out.model
    if laid_out.splits_model:
        room = model.config.context_length - 1
        prompts = [encode_prompt(tokenizer, question(row))[-room:] for row in rows]
        return laid_out.answers(model, tokenizer, prompts, config.max_new_tokens)
    return [a.text for a in answer(tokenizer, model, rows, max_new_tokens=config.max_new_tokens, seed=config.seed)]


def _samples(
    config: Sft, data: Path, before: Sequence[str], after: Sequence[str], last_step: int
) -> Iterator[dict[str, Any]]:
    """Rows of samples.jsonl: each prompt with the answer at step 0, then each with the last one."""
    for step, answers in ((0, before), (last_step, after)):
        for row, completion in zip(_sample_rows(config, data), answers, strict=True):
            shown = {"prompt": question(row), "documented": documented_answer(row)}
            yield {"step": step, **shown, "completion": completion}
