"""Config of proximal policy optimisation."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from athanor.posttrain.config.conventions import (
    CONVENTIONS,
    Convention,
    ConventionName,
    KLEstimator,
    LossMean,
    WhitenFloor,
)
from athanor.posttrain.config.on_policy import OnPolicy

DEFAULT_GAIN = 0.1  # of alpaca_farm's adaptive coefficient


@dataclass(frozen=True)
class Ppo(OnPolicy):
    """Proximal policy optimisation from the SFT model against a reward model, or another judge.

    `convention` decides every point on which implementations differ; a point given by itself (not null) goes before it.
    """

    batch_size: int = 32
    """Episodes (sampled answers) per update."""
    num_epochs: int = 2
    """Passes over the episodes of an update."""
    num_minibatches: int = 2
    """Optimizer steps per pass."""
    value_lr_peak: float = 1e-3
    """Peak of the value head's learning rate."""
    value_network: Literal["shared", "own"] = "shared"
    """shared: a linear head on the policy's trunk; own: a second trunk, which starts as `value_start` says."""
    value_start: Literal["sft", "reward_model"] = field(default="sft", metadata={"added": "sft"})
    """What a value network of its own starts as: the SFT model with a head of 0, or the reward model with its head."""
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    clip_high: float | None = field(default=None, metadata={"added": None})
    """The same bound above 1, where it is another (DAPO takes 0.28); null: as `clip`."""
    dual_clip: float | None = field(default=None, metadata={"added": None})
    """Most that a bad token which became likelier can cost, in advantages (verl takes 3); null: no bound."""
    value_clip: float | None = 0.2
    """How far a value may move in one update before its gradient is cut; null: no bound."""
    value_weight: float = 0.1
    """Weight of the value loss beside the policy loss."""
    entropy_bonus: float = field(default=0.0, metadata={"added": 0.0})
    """Weight of the policy's entropy, which the loss is lowered by."""
    discount: float = 1.0
    """Worth of a reward one token later."""
    gae_lambda: float = 0.95
    """How far advantages look ahead: 0 one token, 1 the whole answer."""
    kl_coefficient: float = 0.05
    """What a nat of divergence from the SFT model costs, in deviations of the score (or in its units, if unscaled)."""
    kl_target: float | None = None
    """KL per answer, in nats, that the coefficient is adapted to; null: it stays as it is."""
    kl_horizon: int | None = None
    """Episodes over which a steady error changes the coefficient by about 1.2; null: 2000. With horizon only."""
    kl_gain: float | None = field(default=None, metadata={"added": None})
    """Share of the error by which each update changes the coefficient; null: 0.1. With per_update only."""
    kl_estimator: KLEstimator = "k1"
    """k1 may be negative for one token, k3 never is, both are unbiased; full: exact, from whole distributions."""
    missing_end_penalty: float = 1.0
    """What an answer costs that did not end by itself; how, says `missing_end`."""
    convention: ConventionName = field(default="athanor", metadata={"added": "athanor"})
    """Whose choice of the points below is taken where they are null."""
    kl_at_least_zero: bool | None = field(default=None, metadata={"added": None})
    """Raise a token's negative KL estimate to 0."""
    kl_in: Literal["reward", "loss"] | None = field(default=None, metadata={"added": None})
    """Subtract the KL from each token's reward, or add it to the loss."""
    kl_controller: Literal["horizon", "per_update"] | None = field(default=None, metadata={"added": None})
    """How the coefficient follows kl_target: Ziegler et al. (2019), or a gain per update as in alpaca_farm."""
    score_at: Literal["last_token", "after_last"] | None = field(default=None, metadata={"added": None})
    """Position of the answer's score."""
    value_after_last: bool | None = field(default=None, metadata={"added": None})
    """Also learn the value of the state after the last token."""
    scale_scores: Literal["first_update", "none"] | None = field(default=None, metadata={"added": None})
    """Shift and scale scores to mean 0, deviation 1 of the first update's, or leave them."""
    score_clip: float | None = field(default=None, metadata={"added": None})
    """Scores beyond this, on both sides, are cut to it."""
    missing_end: Literal["subtract", "replace"] | None = field(default=None, metadata={"added": None})
    """Take missing_end_penalty from the score, or put its negative in the score's place."""
    whiten_rewards: bool | None = field(default=None, metadata={"added": None})
    """Scale the rewards of an update to unit variance, keeping their mean."""
    whiten_over: Literal["tokens", "all"] | None = field(default=None, metadata={"added": None})
    """Statistics over the answers' tokens, or over padding too."""
    whiten_variance: Literal["unbiased", "biased"] | None = field(default=None, metadata={"added": None})
    """Divide by the count less one, or by the count."""
    whiten_floor: WhitenFloor | None = field(default=None, metadata={"added": None})
    """1e-8 is added to the variance or to the deviation, or is the least variance."""
    loss_mean: LossMean | None = field(default=None, metadata={"added": None})
    """Which mean over the tokens of a minibatch the losses are."""
    max_policy_kl: float | None = 0.05
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
    num_samples: int = field(default=2, metadata={"added": 2})
    """Answers of every update kept in samples.jsonl, with their scores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it must be at least 1")
        if self.batch_size % self.num_minibatches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of num_minibatches {self.num_minibatches}"
            )
        for name in ("kl_horizon", "kl_gain", "kl_controller"):
            if getattr(self, name) is not None and self.kl_target is None:
                raise ValueError(f"{name} is not used while the KL coefficient is fixed; set kl_target or leave it out")
        points = self.settled
        unused = "kl_gain" if points.kl_controller == "horizon" else "kl_horizon"
        if getattr(self, unused) is not None:
            raise ValueError(f"{unused} is not used by the kl_controller {points.kl_controller!r}; leave it out")
        if points.kl_in == "loss" and self.kl_target is not None:
            raise ValueError("kl_target is not used while the KL stands in the loss (kl_in); leave it out")
        if self.value_start == "reward_model" and (self.value_network == "shared" or self.reward.kind != "model"):
            raise ValueError("value_start 'reward_model' needs value_network 'own' and a reward of kind 'model'")
        if self.dual_clip is not None and self.dual_clip <= 1.0:
            raise ValueError(f"dual_clip is {self.dual_clip}; it must be above 1")

    @property
    def settled(self) -> Convention:
        """The convention with the points that were given by themselves."""
        given = {each.name: getattr(self, each.name) for each in fields(Convention)}
        return replace(CONVENTIONS[self.convention], **{name: v for name, v in given.items() if v is not None})
