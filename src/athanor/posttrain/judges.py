"""What judges the answers of a policy: a reward model, a function, a verifier, a server.

In: answers and the rows of their prompts. Out: one finite number for each. A judge that gives another count of numbers,
or one that is none, stops the run with the answer that was judged: training on it would destroy the policy in silence.
A row is what the file of prompts holds: `messages` with the documented answer last, and whatever else stands there
(`answer`, `tests`), which verifiers and functions read.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.evaluation.answers import documented_answer, question
from athanor.model.transformer import Transformer
from athanor.posttrain.config.on_policy import OnPolicy
from athanor.posttrain.config.reward import Reward
from athanor.posttrain.model_folder import load_reward_model
from athanor.posttrain.reward_endpoint import endpoint_rewards
from athanor.posttrain.rollout import Episode, sample_episodes, scores_of, text_of
from athanor.posttrain.splits import hashed
from athanor.posttrain.verifiers import exact_answer_reward, unit_test_rewards
from athanor.tokenizer.tokenizer import Tokenizer

Row = Mapping[str, Any]
RewardModel = tuple[Transformer, Tensor]
TextJudge = Callable[[Sequence[list[dict[str, str]]], Sequence[str], Sequence[Row]], Sequence[float]]
"""(prompts as messages, answers, rows) -> a number for each answer."""
Judge = RewardModel | TextJudge

Keep = Callable[[Sequence[Episode], Sequence[float]], None]
"""Called with the answers of an update and their scores."""

REWARD_MODEL = "reward_model"


@dataclass(frozen=True)
class Judged:
    """The answers of one update with their scores."""

    episodes: list[Episode]
    scores_B: Tensor
    gold_numbers: dict[str, float]
    """gold_score, where there is a gold reward model."""
    tokens_per_second: float
    """Of the sampling."""


def judge_of(config: Reward, inputs: Mapping[str, Path]) -> Judge:
    """The judge that `config` names; raises ValueError where its input is missing, or an input is not used by it."""
    if config.kind == "model":
        if REWARD_MODEL not in inputs:
            raise ValueError("the reward 'model' needs the input reward_model, a reward model's folder")
        return load_reward_model(inputs[REWARD_MODEL])
    if REWARD_MODEL in inputs:
        raise ValueError(f"the input reward_model is not used by the reward {config.kind!r}; leave it out")
    if config.kind == "function":
        return _imported(config.function)
    if config.kind == "exact_answer":
        return lambda prompts, answers, rows: [
            exact_answer_reward(answer, reference_of(row)) for answer, row in zip(answers, rows, strict=True)
        ]
    if config.kind == "unit_tests":
        return lambda prompts, answers, rows: unit_test_rewards(
            answers, [tests_of(row) for row in rows], config.timeout_seconds, config.memory_mb
        )
    return lambda prompts, answers, rows: endpoint_rewards(config, prompts, answers, rows)


@torch.no_grad()
def judged(
    judge: Judge, tokenizer: Tokenizer, episodes: Sequence[Episode], rows: Sequence[Row], most_tokens: int
) -> Tensor:
    """Score [B] of each episode, on the processor; raises ValueError for a wrong count, or one that is not finite."""
    if isinstance(judge, tuple):
        return scores_of(judge, tokenizer, episodes, most_tokens)
    answers = [text_of(tokenizer, episode) for episode in episodes]
    return checked_scores(judge([question(row) for row in rows], answers, rows), answers)


def sample_and_judge(
    config: OnPolicy,
    policy: Transformer,
    judge: Judge,
    tokenizer: Tokenizer,
    asked: Sequence[list[int]],
    rows: Sequence[Row],
    update: int,
    gold: RewardModel | None,
    keep: Keep | None,
) -> Judged:
    """An answer to each prompt of `asked`, and what judge and gold reward model say of it."""
    started = time.monotonic()
    seed = hashed(config.seed, "episodes", str(update))
    episodes = sample_episodes(policy, tokenizer, asked, config.max_new_tokens, seed)
    sampled = time.monotonic()
    scores_B = judged(judge, tokenizer, episodes, rows, config.micro_batch_tokens)
    if keep is not None:
        keep(episodes, scores_B.tolist())
    gold_numbers = {}
    if gold is not None:
        gold_numbers["gold_score"] = float(judged(gold, tokenizer, episodes, rows, config.micro_batch_tokens).mean())
    num_tokens = sum(len(episode.completion) for episode in episodes)
    return Judged(episodes, scores_B, gold_numbers, round(num_tokens / (sampled - started), 1))


def checked_scores(found: Any, answers: Sequence[str]) -> Tensor:
    """What a judge gave as a tensor [B]; raises ValueError unless it is one finite number for each answer."""
    try:
        values = [float(value) for value in found]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the judge gave {str(found)[:80]!r}, not a list of numbers ({error})") from error
    if len(values) != len(answers):
        raise ValueError(f"the judge gave {len(values)} numbers for {len(answers)} answers; one for each is needed")
    for value, answer in zip(values, answers, strict=True):
        if not math.isfinite(value):
            raise ValueError(
                f"the judge gives {value} to {answer[:80]!r}, not a finite number; training on it would destroy the "
                "policy"
            )
    return torch.tensor(values, dtype=torch.float32)


def reference_of(row: Row) -> str:
    """The right answer of a row: its `answer`, else the documented one."""
    return str(row["answer"]) if row.get("answer") is not None else documented_answer(row)


def tests_of(row: Row) -> str:
    """The tests of a row, as Python; raises ValueError where it has none."""
    tests = row.get("tests", row.get("test"))
    if isinstance(tests, list):
        tests = "\n".join(map(str, tests))
    if not isinstance(tests, str) or not tests.strip():
        raise ValueError(f"a prompt's row has no 'tests' to run; found {sorted(row)}")
    return tests


def _imported(path: str) -> TextJudge:
    """The user's function; raises ValueError where it cannot be imported or called."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"reward.function {path!r}: {error}; it must be importable from where the step runs"
        ) from error
    if not callable(found):
        raise ValueError(f"reward.function {path!r} is {type(found).__name__}, not a function")
    judge: TextJudge = found
    return judge
