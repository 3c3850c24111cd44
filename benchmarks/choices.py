"""Scoring the choices of questions with the common beginning computed once, beside computing it for every choice.

    python benchmarks/choices.py [--quick] [--json FILE]

HellaSwag's questions, four endings each, after five worked examples, from the fidelity data
(ATHANOR_FIDELITY); and the same without the examples. Random weights of 10.6M parameters in the blocks, a tokenizer
trained on the questions. The results of both ways are compared before anything is measured.
"""

import gzip
import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
from side_by_side import OURS, Row, arguments, compare, report

from athanor.inference import logprobs as scoring
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.tokenizer.bpe_train import train_merges
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary
from athanor.tokenizer.word_counts import WordCounter

FIDELITY = Path(os.environ.get("ATHANOR_FIDELITY", "../shared/fidelity")) / "evaluation" / "hellaswag"
VOCAB_SIZE = 8192
CONFIG = ModelConfig(
    vocab_size=VOCAB_SIZE,
    context_length=1024,
    num_layers=6,
    d_model=384,
    d_ff=1024,
    num_heads=6,
    num_kv_heads=6,
    head_width=64,
    qk_norm=False,
)


def questions() -> list[tuple[str, list[str]]]:
    """Questions and their choices."""
    with gzip.open(FIDELITY / "hellaswag_val_1000.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["query"], [f" {choice}" for choice in row["choices"]]) for row in rows]


def tokenizer_of(text: str) -> Tokenizer:
    counter = WordCounter("gpt4")
    data = text.encode()
    counter.add(with_slack(data), np.array([0, len(data)], np.int64))
    merges = train_merges(counter.result(), VOCAB_SIZE - 256 - len(SPECIAL_TOKENS))
    return Tokenizer(trained_vocabulary("gpt4", merges, SPECIAL_TOKENS))


def scored(model: Transformer, sequences: list[list[int]], shares: bool) -> list[torch.Tensor]:
    """Log-probabilities with or without sharing."""
    share = scoring.LEAST_SHARE
    scoring.LEAST_SHARE = share if shares else 2.0  # no beginning is twice its sequence
    try:
        return scoring.logprobs(model, sequences)
    finally:
        scoring.LEAST_SHARE = share


def rows_of(name: str, model: Transformer, sequences: list[list[int]], rounds: int) -> list[Row]:
    both = zip(scored(model, sequences, True), scored(model, sequences, False), strict=True)
    difference = max(float((once - each).abs().max()) for once, each in both)
    if difference > 1e-4:
        raise ValueError(f"{name}: the two ways differ by {difference}")
    contenders = [
        (OURS, partial(scored, model, sequences, True)),
        ("every choice", partial(scored, model, sequences, False)),
    ]
    return compare(name, contenders, rounds, f"{sum(map(len, sequences))} tokens, differ by {difference:.0e}")


def main() -> None:
    chosen = arguments(__doc__)
    found = questions()
    header = (FIDELITY / "hellaswag_5shot_prefix.txt").read_text(encoding="utf-8")
    tokenizer = tokenizer_of(header + "\n".join(context + "".join(choices) for context, choices in found))
    model = Transformer(CONFIG).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a model that has learned nothing predicts the same everywhere
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[1] ** 0.5)
    some = found[: 2 if chosen.quick else 60]

    def sequences(before: str, questions: list[tuple[str, list[str]]]) -> list[list[int]]:
        begin = [tokenizer.bos_id, *tokenizer.encode(before)]
        return [
            [*begin, *tokenizer.encode(context), *tokenizer.encode(choice)]
            for context, choices in questions
            for choice in choices
        ]

    rounds = 1 if chosen.quick else 5
    rows = rows_of("HellaSwag, 5 examples", model, sequences(header + "\n\n", some), rounds)
    rows += rows_of("HellaSwag, no example", model, sequences("", some), rounds)
    apart = sequences("", [(context, choices[:1]) for context, choices in some])
    rows += rows_of("nothing in common", model, apart, rounds)
    report(rows, ["athanor", "torch"], chosen.json)


if __name__ == "__main__":
    main()
