"""Rejection sampling: of n answers of a model the best become data to fine-tune on, the best and the worst pairs.

In: a model, conversations for their prompts, and a judge (`judges.py`). Out: conversations in `sft.jsonl` as SFT reads
them, the test conversations unchanged, and every answer with its score in `answers.jsonl`. Ties go to the answer drawn
first, and the same answer is kept once. `proxy.jsonl` and `held_out.jsonl` are pairs for DPO (`ranked_pairs.py`).
Touvron et al. (2023), section 3.2.3; with a verifier and `min_score` 1 it is one round of STaR (Zelikman et al. 2022)
without hints.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl
from athanor.core.console import progress
from athanor.model.transformer import Transformer
from athanor.posttrain.config import RejectionSampling
from athanor.posttrain.judges import Judge, judge_of, judged
from athanor.posttrain.model_folder import load_policy
from athanor.posttrain.prompts import PROMPTS, Prompt, read_prompts
from athanor.posttrain.ranked_pairs import ranked_pairs
from athanor.posttrain.rollout import sample_episodes, text_of
from athanor.posttrain.splits import hashed
from athanor.tokenizer.tokenizer import Tokenizer

Answer = dict[str, Any]


def run(config: RejectionSampling, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Draw, judge and choose; counts, and what choosing gained over the mean answer."""
    model, tokenizer = load_policy(inputs["model"], threads=config.threads)
    judge = judge_of(config.reward, inputs)
    found, too_long = read_prompts(inputs["conversations"] / PROMPTS, tokenizer, model.config.context_length)
    prompts = found[: config.max_prompts]
    answered: list[list[Answer]] = []
    with progress("rejection sampling", len(prompts), "prompts") as shown:
        for start in range(0, len(prompts), config.batch_size):
            part = prompts[start : start + config.batch_size]
            kept = out / WORK / f"answers-{start:08d}.json"
            if not kept.exists():
                write_json(kept, _answers(config, model, judge, tokenizer, part, start))
            answered += read_json(kept)
            shown.advance(len(part))
    chosen = [best(answers, config) for answers in answered]
    rows = [
        {**prompt.row, "messages": [*prompt.row["messages"][:-1], {"role": "assistant", "content": answer["text"]}]}
        | {"score": answer["score"]}
        for prompt, answers in zip(prompts, chosen, strict=True)
        for answer in answers
    ]
    if not rows:
        raise ValueError(
            f"none of {config.num_answers} answers to {len(prompts)} prompts was kept (min_score {config.min_score}, "
            f"only_ended {config.only_ended}); see {out / WORK}"
        )
    write_jsonl(out / "sft.jsonl", rows)
    write_jsonl(out / "answers.jsonl", (answer for answers in answered for answer in answers))
    pairs = ranked_pairs(answered, config.held_out_share, config.seed)
    for split, of_split in pairs.items():
        write_jsonl(out / f"{split}.jsonl", of_split)
    test = inputs["conversations"] / "test.jsonl"
    if test.exists():
        shutil.copyfile(test, out / "test.jsonl")
    scores = [answer["score"] for answers in answered for answer in answers]
    return {
        "rows": len(rows),
        "prompts": len(prompts),
        "prompts_too_long": too_long,
        "pairs": {split: len(of_split) for split, of_split in pairs.items()},
        "prompts_without_answer": sum(not answers for answers in chosen),
        "mean_score": fmean(scores),
        "kept_score": fmean(row["score"] for row in rows),
        "ended": fmean(float(answer["ended"]) for answers in answered for answer in answers),
        "length": fmean(answer["tokens"] for answers in answered for answer in answers),
        "kept_length": fmean(answer["tokens"] for answers in chosen for answer in answers),
        "judge": config.reward.kind,
    }


def best(answers: Sequence[Answer], config: RejectionSampling) -> list[Answer]:
    """The answers that are kept of one prompt, the best first; none twice."""
    kept: list[Answer] = []
    for answer in sorted(answers, key=lambda answer: -answer["score"]):  # stable: the first drawn wins a tie
        good = config.min_score is None or answer["score"] >= config.min_score
        good = good and (answer["ended"] or not config.only_ended) and bool(answer["text"].strip())
        if good and all(answer["text"] != other["text"] for other in kept):
            kept.append(answer)
    return kept[: config.keep]


def _answers(
    config: RejectionSampling,
    model: Transformer,
    judge: Judge,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    start: int,
) -> list[list[Answer]]:
    """All answers to some prompts, prompt after prompt, with their scores."""
    asked = [prompt.tokens for prompt in prompts for _ in range(config.num_answers)]
    rows = [prompt.row for prompt in prompts for _ in range(config.num_answers)]
    seed = hashed(config.seed, "answers", str(start))
    episodes = sample_episodes(model, tokenizer, asked, config.max_new_tokens, seed, config.temperature)
    scores = judged(judge, tokenizer, episodes, rows, config.micro_batch_tokens).tolist()
    answers = [
        {
            "prompt": row["messages"][:-1],
            "text": text_of(tokenizer, episode),
            "score": score,
            "ended": episode.ended,
            "tokens": len(episode.completion),
        }
        for row, episode, score in zip(rows, episodes, scores, strict=True)
    ]
    return [answers[i : i + config.num_answers] for i in range(0, len(answers), config.num_answers)]
