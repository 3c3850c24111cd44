"""How well each model predicts held-out documented answers, and whether its own answers end.

In: model folders under any names, and conversations with test.jsonl. Out: for each model the loss in nats per
token, mean over all completion tokens (the end of the turn included) in the chat template, with a bootstrap
interval over pages; its perplexity; and the share of greedy answers that end by themselves. samples.jsonl holds the
answers of all models to the same prompts, side by side.
Left out: conversations longer than a model's context, which are counted and listed in skipped.jsonl.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_json, read_jsonl, write_json, write_jsonl
from athanor.core.console import progress
from athanor.evaluation.answers import Conversation, answer, documented_answer, load, page_of, question, spread
from athanor.evaluation.bootstrap import ratio_interval
from athanor.evaluation.config import ResponseLoss

CONVERSATIONS = "conversations"  # the input that is no model
ROWS_PER_CALL = 64


@dataclass(frozen=True)
class Measured:
    """What one model does on the conversations."""

    nats: list[float]
    """Of the completion of each conversation that fits."""
    tokens: list[int]
    skipped: list[int]
    """Conversations longer than the context."""
    answers: list[str]
    """Greedy, one for each chosen prompt."""
    ended: list[bool]


def run(config: ResponseLoss, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Measure every input but `conversations` on its test.jsonl; returns the metrics."""
    path = inputs[CONVERSATIONS] / "test.jsonl"
    rows = list(read_jsonl(path))
    if not rows:
        raise ValueError(f"{path}: no held-out conversation to measure on")
    models = [name for name in inputs if name != CONVERSATIONS]
    if not models:
        raise ValueError("response_loss needs at least one model beside 'conversations'")
    prompts = spread(rows, config.num_generations)
    measured = {}
    with progress("models", len(models), "models") as shown:
        for name in models:
            shown.note(name)
            kept = out / WORK / f"{name}.json"
            if not kept.exists():
                write_json(kept, vars(_measure(config, inputs[name], rows, prompts)))
            measured[name] = Measured(**read_json(kept))
            shown.advance()

    skipped = sorted({i for m in measured.values() for i in m.skipped})
    kept_rows = sorted(set(range(len(rows))) - set(skipped))
    if not kept_rows:
        raise ValueError(f"{path}: every conversation is longer than a model's context; raise context_length")
    write_jsonl(out / "skipped.jsonl", ({**rows[i], "reason": "longer than a model's context"} for i in skipped))
    write_jsonl(out / "samples.jsonl", _samples(prompts, measured))
    groups = [page_of(row, i) for i, row in enumerate(rows)]
    loss = {name: _loss(m, kept_rows) for name, m in measured.items()}
    return {
        "response_loss": loss,
        "interval": {name: _interval(m, groups, kept_rows, config) for name, m in measured.items()},
        "perplexity": {name: math.exp(min(value, 700.0)) for name, value in loss.items()},
        "ends": {name: sum(m.ended) / len(m.ended) for name, m in measured.items() if m.ended},
        "conversations": len(kept_rows),
        "skipped": len(skipped),
        "pages": len(set(groups)),
        "tokens": sum(next(iter(measured.values())).tokens[i] for i in kept_rows),
        "generations": len(prompts),
        "max_new_tokens": config.max_new_tokens,
    }


def _measure(
    config: ResponseLoss, folder: Path, rows: Sequence[Conversation], prompts: Sequence[Conversation]
) -> Measured:
    import torch

    from athanor.inference.logprobs import logprobs
    from athanor.tokenizer.chat_template import encode_conversation

    tokenizer, model = load(folder, config.threads)
    encoded = [encode_conversation(tokenizer, row["messages"]) for row in rows]
    kept = [i for i, conversation in enumerate(encoded) if len(conversation.tokens) <= model.config.context_length]
    nats = [0.0] * len(rows)
    tokens = [0] * len(rows)
    for start in range(0, len(kept), ROWS_PER_CALL):
        part = kept[start : start + ROWS_PER_CALL]
        for i, values in zip(part, logprobs(model, [encoded[i].tokens for i in part]), strict=True):
            mask = torch.tensor(encoded[i].loss_mask[1:])
            nats[i] = -float(values.cpu()[mask].double().sum())
            tokens[i] = int(mask.sum())
    answers = answer(tokenizer, model, prompts, max_new_tokens=config.max_new_tokens, seed=config.seed)
    skipped = sorted(set(range(len(rows))) - set(kept))
    return Measured(nats, tokens, skipped, [a.text for a in answers], [a.ended for a in answers])


def _loss(measured: Measured, kept: Sequence[int]) -> float:
    return sum(measured.nats[i] for i in kept) / sum(measured.tokens[i] for i in kept)


def _interval(measured: Measured, groups: Sequence[str], kept: Sequence[int], config: ResponseLoss) -> list[float]:
    return list(
        ratio_interval(
            [measured.nats[i] for i in kept],
            [measured.tokens[i] for i in kept],
            [groups[i] for i in kept],
            resamples=config.resamples,
            seed=config.seed,
        )
    )


def _samples(prompts: Sequence[Conversation], measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    return [
        {"prompt": question(row), "documented": documented_answer(row)}
        | {name: m.answers[i] for name, m in measured.items()}
        for i, row in enumerate(prompts)
    ]
