"""The novelty filter of Self-Instruct beside rouge_score: the same sentences, the same decisions, one thread.

    python benchmarks/novelty.py [--quick] [--json FILE]

Sentences come one after another, and each is compared with all before it, as Self-Instruct compares instructions: 600
of them (150 with --quick). The highest similarities are compared before anything is measured. Sentences are those of
the Python documentation that every installation has.
"""

import re
from pydoc_data import topics

from rouge_score import rouge_scorer
from side_by_side import OURS, arguments, compare, report

from athanor.posttrain.novelty import Pool

REPEATS = 20  # of ours in one measurement, which would be too short otherwise


def sentences(number: int) -> list[str]:
    """Different sentences of 4 to 40 words, spread over all topics."""
    found: dict[str, None] = {}
    for _, text in sorted(topics.topics.items()):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
            if 4 <= len(sentence.split()) <= 40:
                found.setdefault(sentence)
    every = list(found)
    return [every[i * len(every) // number] for i in range(number)]


def ours(stream: list[str]) -> list[float]:
    pool = Pool()
    highest = []
    for sentence in stream:
        highest.append(pool.most_similar(sentence)[0])
        pool.add(sentence)
    return highest


def theirs(stream: list[str]) -> list[float]:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    return [
        max((scorer.score(sentence, earlier)["rougeL"].fmeasure for earlier in stream[:i]), default=0.0)
        for i, sentence in enumerate(stream)
    ]


def main() -> None:
    options = arguments(__doc__)
    stream = sentences(150 if options.quick else 600)
    if ours(stream) != theirs(stream):
        raise SystemExit("similarities differ")
    rows = compare(
        "novelty of sentences",
        [
            (OURS, lambda: [ours(stream) for _ in range(REPEATS)]),
            (f"rouge_score / {REPEATS}", lambda: theirs(stream)),
        ],
        rounds=3,
        note=f"{len(stream)} sentences, each against all before it; ours {REPEATS} times over",
    )
    report(rows, ["numba", "rouge-score"], options.json)
    ratio = next(row.ratio for row in rows if row.contender != OURS)
    print(f"one pass takes {REPEATS * ratio:.0f} times less than rouge_score's")


if __name__ == "__main__":
    main()
