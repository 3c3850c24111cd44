"""Preference pairs among a model's own answers: the best and the worst of each prompt, as a judge ranks them.

DPO learns to move probability between two answers. Where neither is one that the model would give, as with answers
written by others, it moves little of what the model says; pairs of its own answers are what a policy trained by PPO
would meet (Liu et al. 2024, "Statistical rejection sampling improves preference optimization"; Xu et al. 2024, "Is DPO
superior to PPO for LLM alignment?").
"""

from collections.abc import Mapping, Sequence
from typing import Any

from athanor.posttrain.pair_rows import pair_row
from athanor.posttrain.splits import hashed, normalised, prompt_key

Answer = Mapping[str, Any]
GRAINS = 10_000  # into which the prompts are hashed


def ranked_pairs(answered: Sequence[Sequence[Answer]], held_out_share: float, seed: int) -> dict[str, list[Any]]:
    """One pair of each prompt's answers, in `proxy` or `held_out` by the hash of the prompt.

    Ties go to the answer drawn first. A prompt whose answers all score alike, or whose best and worst say the same,
    gives none.
    """
    splits: dict[str, list[Any]] = {"proxy": [], "held_out": []}
    for number, answers in enumerate(answered):
        said = [answer for answer in answers if answer["text"].strip()]
        if not said:
            continue
        chosen = max(said, key=lambda answer: answer["score"])
        rejected = min(said, key=lambda answer: answer["score"])
        if chosen["score"] == rejected["score"] or normalised(chosen["text"]) == normalised(rejected["text"]):
            continue
        key = prompt_key(chosen["prompt"])
        held_out = hashed(seed, "held out", key) % GRAINS < held_out_share * GRAINS
        pair = pair_row(
            chosen["prompt"],
            chosen["text"],
            rejected["text"],
            chosen_by="judge",
            rejected_kind="sample",
            rejected_ended=rejected["ended"],
            name=f"prompt:{number}",
            page=key,
        )
        margin = chosen["score"] - rejected["score"]
        splits["held_out" if held_out else "proxy"].append({**pair, "margin": margin})
    return splits
