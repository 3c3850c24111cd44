"""On what implementations of PPO differ, each point by name, and what four of them do.

Two programs that both say "PPO" can disagree on every line below and call the result by the same name. A convention is
a choice of all of them; `Ppo` takes one by name and lets each point be chosen apart.

Sources: the code of TRL 1.12 (the last with a PPO trainer), OpenRLHF 0.9, verl 0.6 and alpaca_farm 0.1.
"""

from dataclasses import dataclass
from typing import Literal

KLEstimator = Literal["k1", "k2", "k3", "abs", "low_var_kl", "full"]
LossMean = Literal["token", "sequence", "sequence_sum", "constant", "padded"]
WhitenFloor = Literal["variance", "deviation", "least"]
ConventionName = Literal["athanor", "trl", "openrlhf", "verl", "alpaca_farm"]


@dataclass(frozen=True)
class Convention:
    """One choice for each point on which implementations differ; the defaults are ours."""

    kl_at_least_zero: bool = False
    """Raise a token's negative KL estimate to 0."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Subtract the KL from each token's reward, or add it to the loss as GRPO does."""
    kl_controller: Literal["horizon", "per_update"] = "horizon"
    """How an adaptive coefficient moves: by episodes over a horizon (Ziegler et al. 2019), or by a gain per update."""
    score_at: Literal["last_token", "after_last"] = "last_token"
    """Position of the answer's score: its last token, or the one after it where the longest answer leaves room."""
    value_after_last: bool = False
    """Also learn the value of the state after the last token."""
    scale_scores: Literal["first_update", "none"] = "first_update"
    """Shift and scale scores to mean 0, deviation 1 on the first update (Ziegler et al. 2019), or leave them."""
    score_clip: float | None = None
    """Scores beyond this, on both sides, are cut to it; null: none."""
    missing_end: Literal["subtract", "replace"] = "subtract"
    """What missing_end_penalty does to an answer that did not end: lower its score, or take the place of it."""
    whiten_rewards: bool = False
    """Scale the rewards of an update to unit variance, keeping their mean."""
    whiten_over: Literal["tokens", "all"] = "tokens"
    """Statistics over the answers' tokens, or over padding too."""
    whiten_variance: Literal["unbiased", "biased"] = "unbiased"
    """Divide by the count less one, or by the count."""
    whiten_floor: WhitenFloor = "variance"
    """1e-8 is added to the variance or to the deviation, or is the least variance."""
    loss_mean: LossMean = "token"
    """token: every token counts the same; sequence: every answer; sequence_sum: sums of answers, over their number;
    constant: sums over the longest answer; padded: a mean that counts padding as well."""


CONVENTIONS: dict[ConventionName, Convention] = {
    "athanor": Convention(),
    "trl": Convention(score_at="after_last", value_after_last=True, scale_scores="none"),
    "openrlhf": Convention(scale_scores="none", score_clip=10.0, whiten_variance="biased", whiten_floor="least"),
    "verl": Convention(scale_scores="none"),
    "alpaca_farm": Convention(
        kl_at_least_zero=True,
        kl_controller="per_update",
        scale_scores="none",
        missing_end="replace",
        whiten_rewards=True,
        whiten_over="all",
        whiten_variance="biased",
        whiten_floor="deviation",
        loss_mean="padded",
    ),
}
