"""What a reward model is worth on pairs it has not seen.

In: held-out pairs and their scores, and the training pairs. Out: accuracy with an interval, beside what costs nothing:
the rule "the longer answer" and a linear model over word pairs; all three again by how much longer the chosen answer
is, because a mean over all pairs hides a model that only measures length; the calibration of its probabilities; and a
page.
"""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from torch import Tensor

from athanor.posttrain import bigram_preferences
from athanor.posttrain.calibration import calibration_error, reliability
from athanor.posttrain.intervals import wilson_interval
from athanor.posttrain.preferences import length_rule

LENGTH_EDGES = (-1.0, -0.5, -0.2, -0.05, 0.05, 0.2, 0.5, 1.0)  # of (chosen - rejected) / longer, in characters
CONFIDENCE_BINS = 20  # of which confidences, from a half to 1, fill ten

Row = Mapping[str, Any]


def pair_measures(rows: Sequence[Row], scores_P2: Tensor, training_rows: Sequence[Row]) -> dict[str, Any]:
    """All numbers about held-out pairs; ties of the scores count half."""
    scores = scores_P2.tolist()
    right = [0.5 if chosen == rejected else float(chosen > rejected) for chosen, rejected in scores]
    longer = [length_rule(row) for row in rows]
    bigram = bigram_preferences.right(bigram_preferences.leads(training_rows, rows)).tolist()
    probabilities = [1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, chosen - rejected)))) for chosen, rejected in scores]
    bins = reliability([max(p, 1.0 - p) for p in probabilities], right, CONFIDENCE_BINS)
    found = {
        **_share("accuracy", right),
        **_share("length_rule_accuracy", longer, "length_rule_interval"),
        **_share("bigram_accuracy", bigram, "bigram_interval"),
        "held_out_pairs": len(rows),
        "calibration_error": calibration_error(bins),
        "reliability": bins,
        "by_length_difference": by_length(rows, right, longer, bigram),
    }
    by_kind = {}
    for kind in sorted({str(row.get("rejected_kind", "given")) for row in rows}):
        of_kind = [i for i, row in enumerate(rows) if str(row.get("rejected_kind", "given")) == kind]
        by_kind[kind] = {
            **_share("accuracy", [right[i] for i in of_kind]),
            "length_rule_accuracy": fmean(longer[i] for i in of_kind),
            "bigram_accuracy": fmean(bigram[i] for i in of_kind),
            "pairs": len(of_kind),
        }
    return found | {"by_rejected_kind": by_kind}


def single_measures(rows: Sequence[Row], scores: Sequence[float]) -> dict[str, Any]:
    """All numbers about held-out single answers: right means a score above 0 for a good one, below for a bad one."""
    good = [bool(row["label"]) for row in rows]
    right = [0.5 if score == 0 else float((score > 0) == is_good) for score, is_good in zip(scores, good, strict=True)]
    most = max(sum(good), len(good) - sum(good)) / len(good)
    bins = reliability([1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, s)))) for s in scores], [float(g) for g in good])
    return {
        **_share("accuracy", right),
        "majority_accuracy": most,
        "held_out_answers": len(rows),
        "calibration_error": calibration_error(bins),
        "reliability": bins,
    }


def by_length(
    rows: Sequence[Row], right: Sequence[float], longer: Sequence[float], bigram: Sequence[float]
) -> list[dict[str, Any]]:
    """The accuracies for pairs whose answers differ in length by so much of the longer one; empty bins are left out."""
    found = []
    for low, high in pairwise(LENGTH_EDGES):
        inside = [
            i
            for i, row in enumerate(rows)
            if low <= length_difference(row) < high or length_difference(row) == high == 1.0
        ]
        if inside:
            found.append(
                {
                    "low": low,
                    "high": high,
                    "pairs": len(inside),
                    **_share("accuracy", [right[i] for i in inside]),
                    "length_rule_accuracy": fmean(longer[i] for i in inside),
                    "bigram_accuracy": fmean(bigram[i] for i in inside),
                }
            )
    return found


def length_difference(row: Row) -> float:
    """By how much the chosen answer is longer, as a share of the longer of the two; 0 for two empty ones.

    >>> length_difference({"chosen": "abc", "rejected": "abcd"})
    -0.25
    """
    chosen, rejected = len(row["chosen"]), len(row["rejected"])
    return (chosen - rejected) / max(chosen, rejected, 1)


def page(metrics: Mapping[str, Any], diagram: str, title: str) -> str:
    """The numbers as one HTML file that opens offline."""
    said = [f"<h1>{html.escape(title)}</h1>", _verdict(metrics), diagram]
    if "by_length_difference" in metrics:
        rows = [
            (
                f"{one['low']:+.0%} to {one['high']:+.0%}",
                str(one["pairs"]),
                f"{one['accuracy']:.1%} ({_interval(one['accuracy_interval'])})",
                f"{one['bigram_accuracy']:.1%}",
                f"{one['length_rule_accuracy']:.1%}",
            )
            for one in metrics["by_length_difference"]
        ]
        said.append(
            "<h2>By how much longer the chosen answer is</h2><p>Of the longer answer's characters. A model that "
            "measures length is right at one end and wrong at the other.</p>"
        )
        said.append(_table(("chosen longer by", "pairs", "this model", "word pairs", "the longer one"), rows))
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse}th,td{text-align:right;padding:.15rem .9rem;border-bottom:1px solid #ddd}"
        "svg{max-width:100%;height:auto}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style><body>{''.join(said)}</body></html>\n"
    )


def _verdict(metrics: Mapping[str, Any]) -> str:
    """In words: the accuracy, and whether it beats what costs nothing."""
    low, _ = metrics["accuracy_interval"]
    if "length_rule_accuracy" in metrics:
        longer = metrics["length_rule_accuracy"]
        rule = max((longer, "the longer answer"), (1.0 - longer, "the shorter answer"))
        floors = [rule, (metrics["bigram_accuracy"], "a linear model over word pairs")]
        count = f"{metrics['held_out_pairs']} held-out pairs"
    else:
        floors = [(metrics["majority_accuracy"], "the commoner label for all")]
        count = f"{metrics['held_out_answers']} held-out answers"
    lines = [f"{metrics['accuracy']:.1%} right ({_interval(metrics['accuracy_interval'])}) on {count}."]
    for share, name in floors:
        beaten = "beaten" if low > share else "not beaten beyond doubt" if metrics["accuracy"] > share else "NOT beaten"
        lines.append(f"{name[0].upper()}{name[1:]}: {share:.1%}, {beaten}.")
    lines.append(f"Expected calibration error: {metrics['calibration_error']:.3f}.")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>{lines}</table>"


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.1%} to {ends[1]:.1%}"


def _share(name: str, values: Sequence[float], interval: str = "") -> dict[str, Any]:
    """The mean of `values` with its 95% interval."""
    return {name: fmean(values), interval or f"{name}_interval": wilson_interval(sum(values), len(values))}
