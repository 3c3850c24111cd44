"""Win rates are counted as the published leaderboard counts them."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from athanor.arena.preferences import from_alpaca_eval, win_rate


def test_the_published_leaderboard_is_reproduced(fidelity: Path) -> None:
    folder = fidelity / "arena" / "alpaca_eval"
    with (folder / "leaderboard_dev.csv").open() as file:
        published = {row["model"]: row for row in csv.DictReader(file)}
    with gzip.open(folder / "annotations_dev.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 38
    for row in rows:
        found, expected = win_rate(from_alpaca_eval(row["preference"])), published[row["model"]]
        assert 100 * found.win_rate == pytest.approx(float(expected["win_rate"]), abs=1e-9)
        assert 100 * found.standard_error == pytest.approx(float(expected["standard_error"]), abs=1e-9)
        assert 100 * found.discrete_win_rate == pytest.approx(float(expected["discrete_win_rate"]), abs=1e-9)
        for name in ("n_wins", "n_wins_base", "n_draws", "n_total"):
            assert getattr(found, name) == int(expected[name])


def test_unjudged_battles_are_left_out_and_none_left_is_an_error() -> None:
    found = win_rate([1.0, np.nan, 0.0])
    assert (found.win_rate, found.n_total) == (0.5, 2)
    with pytest.raises(ValueError, match="no judged battle"):
        win_rate([np.nan])
