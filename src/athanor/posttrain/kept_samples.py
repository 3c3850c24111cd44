"""Some answers of every update, so that what a policy became can be read and not only plotted."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.posttrain.rollout import Episode, text_of
from athanor.tokenizer.tokenizer import Tokenizer

SAMPLES = "samples"


def keep(
    out: Path,
    update: int,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    count: int,
    episodes: Sequence[Episode],
    scores: Sequence[float],
) -> None:
    """Put the first `count` answers of one update aside; a repeated update writes the same again."""
    kept = [
        {
            "step": update + 1,
            "prompt": row["messages"][:-1],
            "completion": text_of(tokenizer, episode),
            "score": score,
            "ended": episode.ended,
            "tokens": len(episode.completion),
        }
        for episode, score, row in islice(zip(episodes, scores, rows, strict=True), count)
    ]
    write_jsonl(out / WORK / SAMPLES / f"{update:08d}.jsonl", kept)


def gather(out: Path) -> None:
    """Write what was put aside to samples.jsonl, update after update."""
    parts = sorted((out / WORK / SAMPLES).glob("*.jsonl"))
    write_jsonl(out / "samples.jsonl", (row for part in parts for row in read_jsonl(part)))
