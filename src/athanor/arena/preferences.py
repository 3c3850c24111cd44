"""Win rates from preferences: how often a judge takes the model's answer over the baseline's.

In: one preference per battle, the probability that the model's answer is the better one. Out: the win rate with
its standard error, and wins, losses and draws counted as the published leaderboards count them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class WinRate:
    """Head-to-head result of a model against its baseline."""

    win_rate: float
    """Mean preference, between 0 and 1."""
    standard_error: float
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    discrete_win_rate: float
    """Wins plus half the draws, as a share of all battles."""


def win_rate(preference: ArrayLike) -> WinRate:
    """The head-to-head result of preferences in [0, 1]; NaN marks a battle that was not judged.

    >>> win_rate([1.0, 0.5, 0.0, 0.9]).n_wins
    2
    """
    values = np.asarray(preference, np.float64)
    values = values[~np.isnan(values)]
    if values.size == 0:
        raise ValueError("no judged battle to take a win rate of")
    wins, losses = int((values > 0.5).sum()), int((values < 0.5).sum())
    draws = len(values) - wins - losses
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    discrete = (wins + draws / 2) / len(values)
    return WinRate(float(values.mean()), error, wins, losses, draws, len(values), discrete)


def from_alpaca_eval(preference: ArrayLike) -> NDArray[np.float64]:
    """Preferences in [0, 1] from AlpacaEval's scale, where 1 is the baseline, 2 the model and 0 a draw.

    >>> from_alpaca_eval([1.25, 0.0, 2.0]).tolist()
    [0.25, 0.5, 1.0]
    """
    values = np.asarray(preference, np.float64)
    return np.where(values == 0, 1.5, values) - 1
