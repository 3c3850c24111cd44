"""Bodies of news pages that people marked are found, scored as the article-extraction-benchmark scores."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from athanor.data.html_text import Method, html_to_text


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    """Runs of `n` words, each as often as it occurs; a shorter text is one run."""
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1)))


def f1(pairs: list[tuple[str, str]]) -> float:
    """F1 of the means, over (found, marked) texts, of precision and recall in shingles."""
    precision = recall = 0.0
    for found, marked in pairs:
        ours, theirs = shingles(found), shingles(marked)
        common = (ours & theirs).total()
        precision += common / ours.total() / len(pairs)
        recall += common / theirs.total() / len(pairs)
    return 2 * precision * recall / (precision + recall)


def test_the_score_of_a_hand_computed_example() -> None:
    # five of the six runs found are among the five marked: P = 5/6, R = 1; the other page is perfect
    pairs = [("a b c d e f g h x", "a b c d e f g h"), ("word", "word")]
    assert f1(pairs) == pytest.approx(2 * (11 / 12) / (11 / 12 + 1))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("fast", 0.92), ("precise", 0.96), ("native", 0.965)])
def test_bodies_of_news_pages_marked_by_people_are_found(fidelity: Path, method: Method, least: float) -> None:
    if method == "precise":
        pytest.importorskip("trafilatura")
    with gzip.open(fidelity / "data" / "aeb_pages_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = f1([(html_to_text(row["html"], method).text, row["article_body"]) for row in rows])
    assert found > least
