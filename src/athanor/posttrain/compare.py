"""Reward against KL: what each method buys, and at what distance from the SFT model.

In: the SFT model, DPO, PPO and others with their checkpoints, the reward model they were trained with or beside
(proxy), one trained on other data (gold), and held-out prompts. Out: curve.jsonl, one row for each model, and on
request for the best of n answers of the SFT model: KL per answer with standard error, both rewards, length, share
of answers that end; samples.jsonl, answers side by side. The KL is exact at every token (whole distributions, not
the sampled token's log-ratio), summed over an answer and averaged over prompts, on the model's own samples at
temperature 1. Every model draws with the same random numbers. With `kl_grid`, methods are also read off at the same KL,
averaged over seeds (inputs such as ppo__0, ppo__1), in grid.jsonl and compare.html. Gao et al. (2023), "Scaling laws
for reward model overoptimization", is the plot's model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl, write_text
from athanor.core.console import progress
from athanor.core.tracker import read_metrics
from athanor.evaluation.answers import documented_answer, question, spread
from athanor.model.transformer import Transformer
from athanor.posttrain import kl_grid
from athanor.posttrain.best_of_n import kl_of_best, of_the_best
from athanor.posttrain.config import Compare
from athanor.posttrain.messages import read_rows, split_completion
from athanor.posttrain.model_folder import load_policy, load_reward_model
from athanor.posttrain.rollout import (
    Episode,
    completions,
    exact_kl_of_states,
    in_passes,
    sample_episodes,
    scores_of,
    states_of,
    text_of,
)
from athanor.posttrain.splits import hashed
from athanor.tokenizer.chat_template import encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer

REFERENCE = "sft"
JUDGES = {"proxy": "reward_model", "gold": "gold_reward_model"}
CONVERSATIONS = "conversations"
MICRO_BATCH_TOKENS = 4096

RewardModel = tuple[Transformer, Tensor]


@dataclass(frozen=True)
class Policy:
    """One point of the curve: a method's model after some step."""

    method: str
    step: int
    folder: Path
    final: bool


def run(config: Compare, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Measure every input that is a model, with its checkpoints."""
    reference, tokenizer = load_policy(inputs[REFERENCE], threads=config.threads)
    reference.requires_grad_(False)
    judges = {name: load_reward_model(inputs[source]) for name, source in JUDGES.items()}
    rows = held_out_rows(config, inputs[CONVERSATIONS] / "test.jsonl", tokenizer, reference.config.context_length)
    points = policies(inputs)
    measured = []
    with progress("compare", len(points), "models") as shown:
        for point in points:
            shown.note(f"{point.method} {point.step}")
            kept = out / WORK / f"{point.method}-{point.step}.json"
            if not kept.exists():
                write_json(kept, measure(config, point, reference, judges, tokenizer, rows))
            measured.append(read_json(kept))
            shown.advance()
    curve = [{"method": p.method, "step": p.step, **m["numbers"]} for p, m in zip(points, measured, strict=True)]
    final = {p.method: row for p, row in zip(points, curve, strict=True) if p.final}
    if config.best_of:
        kept = out / WORK / "best-of.json"
        if not kept.exists():
            write_json(kept, best_of_rows(config, reference, judges, tokenizer, rows))
        curve += read_json(kept)
    write_jsonl(out / "curve.jsonl", curve)
    judge_is = "gold_reward_model: a reward model trained on other pairs of this run, not people"
    grid = kl_grid.grid_of(curve[1:], curve[0], config.kl_grid)
    if grid:
        write_jsonl(out / "grid.jsonl", grid)
        figures = {name: kl_grid.figure(curve, name) for name in JUDGES}
        for name, figure in figures.items():
            write_text(out / f"{name}.svg", figure)
        write_text(out / "compare.html", kl_grid.page(grid, curve, figures, judge_is))
    answers = {p.method: m["answers"] for p, m in zip(points, measured, strict=True) if p.final}
    write_jsonl(out / "samples.jsonl", _samples(rows[: config.num_samples], answers))
    return {
        "prompts": len(rows),
        "final": final,
        "documented": documented_rewards(judges, tokenizer, rows),
        "curve": curve,
        "grid": grid,
        "judge": judge_is,
    }


def policies(inputs: Mapping[str, Path]) -> list[Policy]:
    """The SFT model at step 0, then for each other method its checkpoints and its result, in order."""
    found = [Policy(REFERENCE, 0, inputs[REFERENCE], final=True)]
    for method in sorted(inputs.keys() - {REFERENCE, CONVERSATIONS, *JUDGES.values()}):
        folder = inputs[method]
        checkpoints = [path for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
        found += [
            Policy(method, int(path.name), path, final=False) for path in sorted(checkpoints, key=lambda p: int(p.name))
        ]
        rows = read_metrics(folder)
        last_step = int(rows[-1]["step"]) if rows else found[-1].step + 1
        found.append(Policy(method, last_step, folder, final=True))
    return found


def measure(
    config: Compare,
    point: Policy,
    reference: Transformer,
    judges: Mapping[str, RewardModel],
    tokenizer: Tokenizer,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The row of one model, and its answers."""
    policy, _ = load_policy(point.folder)
    prompts = [encode_prompt(tokenizer, question(row)) for row in rows]
    seed = hashed(config.seed, "compare", "")  # the same random numbers for every model
    episodes = sample_episodes(policy, tokenizer, prompts, config.max_new_tokens, seed)
    kl = kl_of_answers(policy, reference, episodes)
    numbers: dict[str, Any] = {"kl": fmean(kl), "kl_error": standard_error(kl)}
    for name, judge in judges.items():
        found = scores_of(judge, tokenizer, episodes, MICRO_BATCH_TOKENS).tolist()
        numbers |= {f"{name}_reward": fmean(found), f"{name}_error": standard_error(found)}
    lengths = [float(len(episode.completion)) for episode in episodes]
    numbers |= {
        "length": fmean(lengths),
        "length_error": standard_error(lengths),
        "ends": fmean(float(episode.ended) for episode in episodes),
    }
    return {"numbers": numbers, "answers": [text_of(tokenizer, episode) for episode in episodes]}


def best_of_rows(
    config: Compare,
    policy: Transformer,
    judges: Mapping[str, RewardModel],
    tokenizer: Tokenizer,
    rows: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """A row for each number of answers: the best by the proxy, averaged over all draws among the answers sampled."""
    num_answers = max(config.best_of)
    prompts = [encode_prompt(tokenizer, question(row)) for row in rows for _ in range(num_answers)]
    seed = hashed(config.seed, "best of", "")
    episodes = sample_episodes(policy, tokenizer, prompts, config.max_new_tokens, seed)
    values = {
        f"{name}_reward": scores_of(judge, tokenizer, episodes, MICRO_BATCH_TOKENS) for name, judge in judges.items()
    }
    values["length"] = torch.tensor([float(len(episode.completion)) for episode in episodes])
    values["ends"] = torch.tensor([float(episode.ended) for episode in episodes])
    proxy_PN = values["proxy_reward"].view(-1, num_answers)
    found = []
    for n in sorted(set(config.best_of)):
        row: dict[str, Any] = {"method": "best_of_n", "step": n, "kl": kl_of_best(n), "kl_error": 0.0}
        for name, value_B in values.items():
            best_P = of_the_best(proxy_PN, value_B.view(-1, num_answers), n).tolist()
            row[name] = fmean(best_P)
            if name != "ends":
                row[f"{name.removesuffix('_reward')}_error"] = standard_error(best_P)
        found.append(row)
    return found


@torch.no_grad()
def kl_of_answers(policy: Transformer, reference: Transformer, episodes: Sequence[Episode]) -> list[float]:
    """KL(policy || reference) of each answer: exact at every token, summed over the tokens."""
    per_answer: list[float] = []
    for part in in_passes(episodes, MICRO_BATCH_TOKENS):
        own_ND, reference_ND = (states_of(model, part) for model in (policy, reference))
        per_token_N = exact_kl_of_states(policy, own_ND, reference, reference_ND)
        of_answers = torch.split(per_token_N, [len(answer) for answer in completions(part)])
        per_answer += [float(tokens_N.sum()) for tokens_N in of_answers]
    return per_answer


def held_out_rows(config: Compare, path: Path, tokenizer: Tokenizer, context_length: int) -> list[dict[str, Any]]:
    """The prompts to answer, evenly over the file; raises ValueError where there is none."""
    rows = read_rows(path, "messages")
    fitting = [row for row in rows if len(encode_prompt(tokenizer, question(row))) < context_length]
    chosen = spread(fitting, config.num_prompts)
    if not chosen:
        raise ValueError(f"{path}: no held-out prompt shorter than the model's context of {context_length} tokens")
    return chosen


def documented_rewards(
    judges: Mapping[str, RewardModel], tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """What the two reward models give the documented answers to the same prompts."""
    episodes = []
    for row in rows:
        prompt, completion = split_completion(tokenizer, question(row), documented_answer(row))
        episodes.append(Episode(prompt, completion, True, []))
    return {
        f"{name}_reward": float(scores_of(judge, tokenizer, episodes, MICRO_BATCH_TOKENS).mean())
        for name, judge in judges.items()
    }


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of `values`; None for a single one."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def _samples(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [
        {"prompt": question(row), "documented": documented_answer(row)}
        | {method: given[i] for method, given in answers.items()}
        for i, row in enumerate(rows)
    ]
