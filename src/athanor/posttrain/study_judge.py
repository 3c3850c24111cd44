"""Who says which of two answers is better in the study of data: a reward model, or a language model behind an endpoint.

In: prompts with a model's answer and the base's. Out: the share of prompts on which the model wins, ties half, with
Wilson's interval. A language model is asked in both orders, and a verdict that changes with the order is a tie; its
words are kept in the run's verdicts.jsonl and asked for once.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.core.chat_endpoint import ChatClient, Endpoint, EndpointError
from athanor.core.config import ConfigError
from athanor.evaluation.answers import question
from athanor.posttrain.config import SftStudy
from athanor.posttrain.intervals import wilson_interval
from athanor.posttrain.messages import split_completion
from athanor.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from athanor.model.transformer import Transformer

JUDGED_TOKENS = 4096  # of one forward pass
VERDICT_TOKENS = 8

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judge:
    """A reward model's folder, or an endpoint."""

    name: str
    folder: Path | None
    endpoint: Endpoint


def judge_of(config: SftStudy, inputs: Mapping[str, Path]) -> Judge:
    """The judge that the config names; raises ConfigError where it names none, or two."""
    folder, model = inputs.get("reward_model"), config.endpoint.model
    if bool(folder) == bool(model):
        raise ConfigError("win_rate: give one judge, the input reward_model or an endpoint.model")
    return Judge(f"reward model {folder.name}" if folder else f"endpoint {model}", folder, config.endpoint)


def win_rate_of(
    judge: Judge, config: SftStudy, rows: Sequence[Row], answers: Sequence[str], base: Sequence[str], place: Path
) -> dict[str, Any]:
    """How often the answers beat the base's."""
    kept = place / "verdicts.jsonl"
    if not kept.exists():
        ask = partial(_scored, judge.folder) if judge.folder else partial(_asked, judge.endpoint, config.sft.seed)
        write_jsonl(kept, ask(rows, answers, base))
    verdicts = [row["verdict"] for row in read_jsonl(kept) if row["verdict"] is not None]
    if not verdicts:
        raise ValueError(f"{kept}: the judge gave no verdict")
    won = [0.5 if verdict == "tie" else float(verdict == "model") for verdict in verdicts]
    return {
        "win_rate": fmean(won),
        "win_rate_interval": wilson_interval(sum(won), len(won)),
        "verdicts": len(won),
        "without_verdict": len(rows) - len(won),
    }


@cache
def _reward_model(folder: Path) -> "tuple[Tokenizer, Transformer, Tensor]":
    """Loaded once for all runs of a study."""
    from athanor.posttrain.model_folder import load_reward_model

    return Tokenizer.load(folder), *load_reward_model(folder)


def _scored(folder: Path, rows: Sequence[Row], answers: Sequence[str], base: Sequence[str]) -> list[dict[str, Any]]:
    """Verdicts of a reward model, which reads each answer with its end of turn."""
    import torch

    from athanor.posttrain.flat import scores
    from athanor.posttrain.messages import micro_batches

    tokenizer, model, score_1D = _reward_model(folder)
    room = model.config.context_length

    def scores_of(given: Sequence[str]) -> list[float]:
        sequences = []
        for row, text in zip(rows, given, strict=True):
            prompt, completion = split_completion(tokenizer, question(row), text)
            sequences.append([*prompt[-max(1, room - len(completion)) :], *completion[-room + 1 :]])
        parts = micro_batches(sequences, [len(sequence) for sequence in sequences], JUDGED_TOKENS)
        with torch.no_grad():
            return [float(score) for part in parts for score in scores(model, score_1D, part)]

    pairs = zip(scores_of(answers), scores_of(base), strict=True)
    return [
        {"verdict": "tie" if ours == theirs else "model" if ours > theirs else "base", "model": ours, "base": theirs}
        for ours, theirs in pairs
    ]


def _asked(
    endpoint: Endpoint, seed: int, rows: Sequence[Row], answers: Sequence[str], base: Sequence[str]
) -> list[dict[str, Any]]:
    """Verdicts of a language model; None where it gave none that can be read."""
    with ChatClient(endpoint) as client, ThreadPoolExecutor(endpoint.concurrency) as workers:

        def said(first: str, second: str, row: Row) -> str:
            prompt = _prompt(row, first, second)
            try:
                found = client.ask([{"role": "user", "content": prompt}], VERDICT_TOKENS, seed, temperature=0.0)
            except EndpointError as problem:
                return f"(no answer: {problem})"
            return found.text

        forth = list(workers.map(said, answers, base, rows))
        back = list(workers.map(said, base, answers, rows))
    found = []
    for one, other in zip(forth, back, strict=True):
        letters = _letter(one), _letter(other)
        both = {("A", "B"): "model", ("B", "A"): "base"}
        verdict = None if None in letters else both.get((str(letters[0]), str(letters[1])), "tie")
        found.append({"verdict": verdict, "said": [one, other]})
    return found


def _prompt(row: Row, first: str, second: str) -> str:
    asked = "\n\n".join(f"{message['role']}: {message['content']}" for message in question(row))
    return (
        "Two assistants answered the same request. Say which answer is better: right first, then helpful, then clear; "
        "length by itself is no merit. Reply with one letter, A or B.\n\n"
        f"[Request]\n{asked}\n\n[Answer A]\n{first}\n\n[Answer B]\n{second}\n\nBetter:"
    )


def _letter(text: str) -> str | None:
    """A or B where a reply begins with it."""
    first = text.strip(" *\"'([").upper()[:1]
    rest = text.strip(" *\"'([")[1:2]
    return first if first in ("A", "B") and not rest.isalpha() else None
