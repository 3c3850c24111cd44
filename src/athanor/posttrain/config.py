"""Configs of the post-training steps; this file imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from athanor.train.config import AdamW, Fit, Schedule

PreferenceLoss = Literal[
    "sigmoid", "sigmoid_norm", "robust", "ipo", "ipo_sum", "hinge", "sppo_hard", "apo_zero", "simpo", "orpo"
]
GroupBaseline = Literal["group", "rloo"]
LossMean = Literal["token", "sequence", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]
LOSSES_WITH_LABEL_SMOOTHING = ("sigmoid", "sigmoid_norm", "robust")
LOSSES_WITH_LENGTHS = ("sigmoid_norm", "ipo", "simpo", "orpo")
LOSSES_WITHOUT_REFERENCE = ("simpo", "orpo")
SIMPO_MARGIN = 0.5


@dataclass(frozen=True)
class Instructions:
    """Questions about names documented on the crawled pages, with the first paragraph about each as answer."""

    min_characters: int = 32
    """Answers shorter than this are dropped."""
    max_characters: int = 240
    """Longer answers are cut after the last sentence that fits, and dropped where none fits."""
    max_names_per_answer: int = 8
    """An answer given for more names than this is boilerplate and is dropped."""
    max_pages: int | None = 800
    """Training pages read, chosen by hash; none: all. Held-out pages are always read."""
    max_pairs: int = 8000
    """Pairs kept of the training pages, all splits together; chosen by hash."""
    max_test_pairs: int = 256
    """Pairs kept of the held-out pages; chosen by hash."""
    preference_share: float = 0.25
    """Share of the training pages' pairs kept for preferences, by page."""
    gold_share: float = 0.25
    """Share of the training pages' pairs kept for the gold reward model's preferences, by page."""
    pages_outside_mixture: Literal["skip", "train"] = "skip"
    """What to do with pages of the crawl that the data steps removed."""
    seed: int = 0
    """Of the hashes that choose pages, splits and phrasings."""
    workers: int = field(default=2, metadata={"runtime": True})
    """Processes that read pages; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 < self.min_characters <= self.max_characters:
            raise ValueError("min_characters must be positive and at most max_characters")
        if min(self.preference_share, self.gold_share) < 0 or self.preference_share + self.gold_share >= 1:
            raise ValueError("preference_share and gold_share must be >= 0 and leave something for SFT (sum < 1)")


@dataclass(frozen=True)
class Conversations:
    """Takes instruction data made elsewhere, in the field's formats."""

    files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """JSON, JSON Lines (.gz too) or Parquet files to train on, or patterns; each file is a source."""
    test_files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Files to measure on; none: a share of the training rows is held back, by prompt."""
    format: Literal["messages", "alpaca", "prompt_completion", "sharegpt"] | None = None
    """How rows are written; null: told from the keys of each."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the rows for each source (file name without suffix); a source left out gives none; empty: all rows."""
    max_rows: int | None = None
    """Most rows taken of the training files, chosen by hash; null: all."""
    system: str = ""
    """System message put before conversations that have none; empty: nothing is."""
    test_share: float = 0.05
    """Share of the rows held back where no test_files are given."""
    preference_share: float = 0.0
    """Share of the training rows kept for preferences and reinforcement learning."""
    gold_share: float = 0.0
    """Share of the training rows kept for the gold reward model's preferences."""
    seed: int = 0
    """Of the hashes that choose rows and splits."""

    def __post_init__(self) -> None:
        shares = (self.test_share, self.preference_share, self.gold_share)
        if min(shares) < 0 or self.test_share >= 1 or self.preference_share + self.gold_share >= 1:
            raise ValueError("test_share, preference_share and gold_share must be >= 0 and leave something for SFT")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and not any(self.weights.values())):
            raise ValueError(f"weights must be >= 0 and not all 0, found {self.weights}")
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; choose at least 1")


@dataclass(frozen=True)
class ShowMask:
    """Show which tokens of conversations are learned."""

    conversations: Path
    """Folder of a step with sft.jsonl, or a file of conversations in any of the field's formats."""
    tokenizer: str | None = None
    """Folder of a tokenizer, model or run; absent: the newest in runs/."""
    count: int = 3
    """Conversations to show."""
    loss_on: Literal["completions", "last_completion", "all"] = "completions"
    """What the loss is taken on."""


@dataclass(frozen=True)
class Training:
    """What SFT, reward models and DPO share: steps, optimizer, precision."""

    num_steps: int = 100
    """Optimizer steps, unless `max_epochs` ends training first."""
    max_epochs: float = 1.0
    """Passes over the rows after which training ends even if steps are left."""
    batch_size: int = 8
    """Rows per optimizer step."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass; a batch is cut into as many passes as it needs."""
    lr_peak: float = 3e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.05
    """Share of the steps in which the rate climbs to its peak."""
    decay_share: float = 0.5
    """Share of the steps, at the end, in which the rate falls to zero."""
    weight_decay: float = 0.0
    """Pull of the matrices towards zero."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient; none: any."""
    precision: Precision = "auto"
    """Type of the matrix products; auto: bfloat16 where the processor multiplies it natively."""
    seed: int = 0
    """Of the order of the rows and whatever else is drawn."""
    checkpoint_seconds: float = field(default=20.0, metadata={"runtime": True})
    """Time between two checkpoints of the training state; what a kill can cost."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "micro_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_epochs <= 0:
            raise ValueError(f"max_epochs is {self.max_epochs}; it must be above 0")
        self.fit(1)  # checks the rest

    def fit(self, num_rows: int) -> Fit:
        """The settings of the training loop for this many rows of training data."""
        return Fit(
            num_steps=max(1, min(self.num_steps, round(self.max_epochs * num_rows / self.batch_size))),
            adamw=AdamW(lr_peak=self.lr_peak, weight_decay=self.weight_decay),
            schedule=Schedule(warmup_share=self.warmup_share, decay_share=self.decay_share, floor=0.0),
            clip_norm=self.clip_norm,
            precision=self.precision,
            checkpoint_seconds=self.checkpoint_seconds,
            threads=self.threads,
        )


@dataclass(frozen=True)
class Sft(Training):
    """Supervised fine-tuning on conversations, with the loss on completions only."""

    num_steps: int = 300
    """Optimizer steps, unless `max_epochs` ends training first."""
    max_epochs: float = 3.0
    """Passes over the rows after which training ends even if steps are left."""
    batch_size: int = 16
    """Rows per optimizer step."""
    lr_peak: float = 6e-4
    """Peak of AdamW's learning rate."""
    evaluate_every: int = 20
    """Steps between two held-out losses."""
    num_held_out: int = 64
    """Held-out conversations for that loss."""
    num_samples: int = 8
    """Held-out prompts answered before and after training, kept in samples.jsonl."""
    max_new_tokens: int = 80
    """Longest answer among the samples."""
    show_mask: int = field(default=0, metadata={"runtime": True})
    """Print this many conversations before training, what is learned between ⟦ and ⟧."""


@dataclass(frozen=True)
class Preferences:
    """Pairs of a documented answer and a worse one: the model's own sample, or the answer to another name."""

    num_proxy_prompts: int = 900
    """Prompts of the proxy split, which trains the reward model and DPO."""
    num_gold_prompts: int = 900
    """Prompts of the gold split, which trains the second reward model, the judge of the comparison."""
    num_held_out_prompts: int = 160
    """Prompts of the held-out split, which measures both reward models."""
    temperature: float = 1.0
    """Of the model's own samples."""
    max_new_tokens: int = 80
    """Longest sample."""
    batch_size: int = 48
    """Prompts sampled together; a killed run repeats at most this many."""
    seed: int = 0
    """Of the splits and the samples."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""


@dataclass(frozen=True)
class RewardModel(Training):
    """A model that scores an answer at its last token, trained on preferences."""

    num_steps: int = 225
    """Optimizer steps, unless `max_epochs` ends training first."""
    lr_peak: float = 2e-4
    """Peak of AdamW's learning rate."""
    split: Literal["proxy", "gold"] = "proxy"
    """Which preferences it learns from."""
    loss: Literal["bradley_terry", "binary"] = "bradley_terry"
    """bradley_terry compares the two answers of a pair; binary says of each alone whether it was chosen."""
    centering: float | None = None
    """Weight of the square of a pair's summed scores, which fixes the scale's origin; bradley_terry only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "binary" and self.centering is not None:
            raise ValueError("centering is not used by the loss 'binary'; leave it out")


@dataclass(frozen=True)
class Dpo(Training):
    """Direct preference optimisation from the SFT model."""

    num_steps: int = 110
    """Optimizer steps, unless `max_epochs` ends training first."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.1
    """Share of the steps in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the steps, at the end, in which the rate falls to zero."""
    loss: PreferenceLoss = "sigmoid"
    """ipo divides log-ratios by the answers' lengths, ipo_sum does not; sigmoid with label_smoothing is cDPO."""
    beta: float = 0.1
    """Weight of staying near the reference model; of the preference in simpo (papers take 2 to 10) and orpo."""
    label_smoothing: float | None = None
    """Share of pairs believed to be the wrong way round; sigmoid, sigmoid_norm and robust only."""
    reference_free: bool = field(default=False, metadata={"added": False})
    """Take log-probabilities in place of log-ratios, as if the reference were uniform; simpo and orpo always do."""
    target_margin: float | None = field(default=None, metadata={"added": None})
    """By how much the chosen answer's reward should exceed the other's; simpo only, where null means 0.5."""
    num_checkpoints: int = 4
    """Models kept along the way, evenly spaced, the last one included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing is not None and self.loss not in LOSSES_WITH_LABEL_SMOOTHING:
            raise ValueError(
                f"label_smoothing is not used by the loss {self.loss!r}; leave it out, "
                f"or choose one of {', '.join(LOSSES_WITH_LABEL_SMOOTHING)}"
            )
        if self.loss == "robust" and self.label_smoothing is None:
            raise ValueError("the loss 'robust' needs label_smoothing, the share of pairs the wrong way round")
        if self.label_smoothing is not None and not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be at least 0 and below 0.5, found {self.label_smoothing}")
        if self.target_margin is not None and self.loss != "simpo":
            raise ValueError(f"target_margin is not used by the loss {self.loss!r}; leave it out, or choose simpo")
        if self.beta <= 0:
            raise ValueError(f"beta must be positive, found {self.beta}")


@dataclass(frozen=True)
class Ppo:
    """Proximal policy optimisation from the SFT model against a reward model."""

    num_updates: int = 24
    """Rounds of sampling answers and learning from them."""
    batch_size: int = 32
    """Episodes (sampled answers) per update."""
    num_epochs: int = 2
    """Passes over the episodes of an update."""
    num_minibatches: int = 2
    """Optimizer steps per pass."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass."""
    max_new_tokens: int = 80
    """Longest answer."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    value_lr_peak: float = 1e-3
    """Peak of the value head's learning rate."""
    warmup_share: float = 0.1
    """Share of the updates in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the updates, at the end, in which the rate falls to a tenth of its peak."""
    value_network: Literal["shared", "own"] = "shared"
    """shared: a linear head on the policy's trunk; own: a second trunk, which starts as the SFT model."""
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    value_clip: float = 0.2
    """How far a value may move in one update before its gradient is cut."""
    value_weight: float = 0.1
    """Weight of the value loss beside the policy loss."""
    discount: float = 1.0
    """Worth of a reward one token later."""
    gae_lambda: float = 0.95
    """How far advantages look ahead: 0 one token, 1 the whole answer."""
    kl_coefficient: float = 0.05
    """What a nat of divergence from the SFT model costs, in deviations of the score."""
    kl_target: float | None = None
    """KL per answer, in nats, that the coefficient is adapted to (Ziegler et al. 2019); none: it stays as it is."""
    kl_horizon: int | None = None
    """Episodes over which a steady error changes the coefficient by about 1.2; none: 2000. With kl_target only."""
    kl_estimator: Literal["k1", "k3"] = "k1"
    """k1 may be negative for one token, k3 never is; both are unbiased."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that did not end by itself."""
    whiten_rewards: bool = False
    """Scale the rewards of an update to unit variance, keeping their mean."""
    max_policy_kl: float | None = 0.05
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient; none: any."""
    precision: Precision = "float32"
    """Type of the matrix products."""
    num_checkpoints: int = 4
    """Models kept along the way, evenly spaced, the last one included."""
    seed: int = 0
    """Of the prompts' order, the samples and the minibatches."""
    checkpoint_seconds: float = field(default=20.0, metadata={"runtime": True})
    """Time between two checkpoints of the training state; what a kill can cost."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        for name in ("num_updates", "batch_size", "num_epochs", "num_minibatches", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.kl_horizon is not None and self.kl_target is None:
            raise ValueError("kl_horizon is not used while the KL coefficient is fixed; set kl_target or leave it out")
        if self.batch_size % self.num_minibatches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of num_minibatches {self.num_minibatches}"
            )


@dataclass(frozen=True)
class Grpo:
    """Group-relative policy optimisation (GRPO, RLOO): several answers to a prompt, each judged against the others."""

    num_updates: int = 24
    """Rounds of sampling answers and learning from them."""
    num_prompts: int = 8
    """Prompts per update."""
    group_size: int = 4
    """Answers to each prompt."""
    baseline: GroupBaseline = "group"
    """What an answer's score is compared with: the mean of its group, or of the group's other answers (rloo)."""
    scale_advantages: bool = True
    """Divide by the group's deviation; without it a prompt counts by how much its answers differ (Dr. GRPO)."""
    loss_mean: LossMean = "token"
    """token: every token counts the same; sequence: every answer (as published); constant: over the longest answer."""
    num_epochs: int = 1
    """Passes over the episodes of an update."""
    num_minibatches: int = 1
    """Optimizer steps per pass."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass."""
    max_new_tokens: int = 80
    """Longest answer."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.1
    """Share of the updates in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the updates, at the end, in which the rate falls to a tenth of its peak."""
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    clip_high: float | None = None
    """The same bound above 1, where it is another (DAPO takes 0.28); null: as `clip`."""
    kl_coefficient: float = 0.04
    """Weight of the KL to the SFT model (k3, per token) in the loss; 0: none."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that did not end by itself, in units of the reward model."""
    max_policy_kl: float | None = None
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient; none: any."""
    precision: Precision = "float32"
    """Type of the matrix products."""
    num_checkpoints: int = 4
    """Models kept along the way, evenly spaced, the last one included."""
    seed: int = 0
    """Of the prompts' order, the samples and the minibatches."""
    checkpoint_seconds: float = field(default=20.0, metadata={"runtime": True})
    """Time between two checkpoints of the training state; what a kill can cost."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        for name in ("num_updates", "num_prompts", "num_epochs", "num_minibatches", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}; an answer needs another one to be compared with")
        if self.kl_coefficient < 0:
            raise ValueError(f"kl_coefficient is {self.kl_coefficient}; it must not be negative")
        if self.num_prompts * self.group_size % self.num_minibatches:
            raise ValueError(
                f"{self.num_prompts} prompts x {self.group_size} answers are not a multiple of num_minibatches "
                f"{self.num_minibatches}"
            )


@dataclass(frozen=True)
class Compare:
    """Reward against KL of the DPO and PPO checkpoints, on the same held-out prompts."""

    num_prompts: int = 64
    """Held-out prompts, answered by every checkpoint."""
    max_new_tokens: int = 80
    """Longest answer."""
    best_of: tuple[int, ...] = field(default=(), metadata={"added": ()})
    """Also measure the best of so many answers of the SFT model, chosen by the proxy, such as 2, 4, 8, 16."""
    num_samples: int = 16
    """Prompts whose answers are kept side by side in samples.jsonl."""
    seed: int = 0
    """Of the samples, the same for every model."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.best_of):
            raise ValueError(f"best_of holds {min(self.best_of)}; numbers of answers start at 1")
