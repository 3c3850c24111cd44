"""What can be chosen about training, without torch.

`Fit` steers the general loop (`trainer.fit`), which pretraining, supervised fine-tuning, reward models
and DPO share; `Pretrain` adds the model's shape, the batches and what is measured on the way.
"""

from dataclasses import dataclass, field
from typing import Literal

from athanor.model.config import LstmShape, Shape
from athanor.train.parallel_config import Parallel


@dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, decay: the learning rate as a share of its peak."""

    warmup_share: float = 0.02
    """Share of the steps in which the rate climbs linearly from zero to its peak."""
    decay_share: float = 0.5
    """Share of the steps, at the end, in which the rate falls from its peak to the floor."""
    floor: float = 0.02
    """Share of the peak that is left at the last step."""
    decay: Literal["linear", "cosine", "inverse_sqrt"] = "linear"
    """Form of the fall; linear is hard to beat (Hägele et al. 2024)."""

    def __post_init__(self) -> None:
        for name in ("warmup_share", "decay_share", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.warmup_share + self.decay_share > 1:
            raise ValueError(
                f"warmup_share {self.warmup_share} and decay_share {self.decay_share} add up to more than 1"
            )


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    lr_peak: float = 3e-3
    """Learning rate of every parameter that no other rate is given for."""
    embedding_lr_peak: float | None = None
    """Learning rate of the token embedding; none: lr_peak."""
    head_lr_peak: float | None = None
    """Learning rate of the output layer; none: lr_peak."""
    beta1: float = 0.9
    """Memory of the gradient's mean."""
    beta2: float = 0.95
    """Memory of the gradient's square."""
    epsilon: float = 1e-8
    """Added to the root of the mean square."""
    weight_decay: float = 0.1
    """Pull of the matrices towards zero, per step and unit of learning rate; gains have none."""
    embedding_weight_decay: float = field(default=0.0, metadata={"added": 0.0})
    """Pull of the token embedding towards zero; worth it where text is read many times."""
    head_weight_decay: float = field(default=0.0, metadata={"added": 0.0})
    """Pull of the output layer towards zero."""


@dataclass(frozen=True)
class Muon:
    """Momentum made orthogonal, for the matrices inside the blocks (Jordan et al. 2024)."""

    lr_peak: float = 0.02
    """Learning rate: the size of an update, whose singular values are all about one."""
    momentum: float = 0.95
    """Memory of the gradient, with Nesterov's look ahead."""
    newton_schulz_steps: int = 5
    """Iterations towards the nearest orthogonal matrix."""
    weight_decay: float = 0.0
    """Pull of the matrices towards zero, per step and unit of learning rate."""


@dataclass(frozen=True)
class Fit:
    """One training run: steps, optimizer, precision."""

    num_steps: int = 1000
    """Optimizer steps."""
    adamw: AdamW = field(default_factory=AdamW)
    """Optimizer of all parameters that Muon does not take."""
    muon: Muon | None = None
    """Optimizer of the matrices inside the blocks; none: AdamW takes them as well."""
    schedule: Schedule = field(default_factory=Schedule)
    """Learning rate over the steps."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient over all parameters; none: any."""
    ema: float | None = field(default=None, metadata={"added": None})
    """Decay of a moving average of the weights, such as 0.999, which then is the result; none: the last weights."""
    max_skipped: int = field(default=10, metadata={"added": 10})
    """Steps in a row whose loss or gradient is not finite that are skipped; one more ends the run with an error."""
    precision: Literal["auto", "float32", "bfloat16", "float16", "float8"] = "auto"
    """Type of the matrix products; auto: bfloat16 where the processor or GPU multiplies it natively, float16 with loss
    scaling on older GPUs, else float32; float8: inside the blocks, on Hopper and newer."""
    compile: bool | None = None
    """Compile the blocks with torch.compile: starts slower, runs faster, needs a C++ compiler on a processor; none:
    dense models on a GPU. For pretraining alone, where all batches have one shape."""
    recompute: bool = field(default=False, metadata={"runtime": True})
    """Activation checkpointing: compute blocks again in the backward pass; less memory, about a third more work."""
    checkpoint_seconds: float = field(default=30.0, metadata={"runtime": True})
    """Time between two checkpoints; what a kill can cost."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""
    parallel: Parallel = field(default_factory=Parallel, metadata={"runtime": True})
    """How the processes of torchrun split model and batches."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; it must be at least 1")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; it must be above 0, or none")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}; it must be at least 0 and below 1, such as 0.999, or none")
        if self.max_skipped < 0:
            raise ValueError(f"max_skipped is {self.max_skipped}; it must be at least 0")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; it must be at least 1, or none")


@dataclass(frozen=True)
class PretrainFit(Fit):
    """The run of a new model; the defaults are those of the quickstart, see docs/06-pretraining.md."""

    num_steps: int = 1800
    """Optimizer steps."""
    adamw: AdamW = field(
        default_factory=lambda: AdamW(lr_peak=3e-3, embedding_lr_peak=0.2, head_lr_peak=5e-3, weight_decay=0.0)
    )
    """Optimizer of embedding, output layer and gains, and of everything where there is no Muon."""
    muon: Muon | None = field(default_factory=Muon)
    """Optimizer of the matrices inside the blocks; none: AdamW takes them as well."""
    schedule: Schedule = field(default_factory=lambda: Schedule(warmup_share=0.0, decay_share=0.65, floor=0.05))
    """Learning rate over the steps."""


@dataclass(frozen=True)
class Phase:
    """A part of a run with its own mixture."""

    mixture: dict[str, float]
    """Weight of every dataset that rows are drawn from: a part of `tokens` (train, high_quality), a further input, or
    INPUT/PART."""
    start_share: float = 0.0
    """Share of the steps that are done when it begins; 0 for the first."""

    def __post_init__(self) -> None:
        _check_mixture(self.mixture, "a phase's mixture")
        if not 0 <= self.start_share < 1:
            raise ValueError(f"start_share is {self.start_share}; it must be at least 0 and below 1")


@dataclass(frozen=True)
class Pretrain:
    """Training of a language model on token datasets."""

    shape: Shape = field(default_factory=Shape)
    """Depth and widths of the Transformer."""
    lstm: LstmShape | None = field(default=None, metadata={"added": None})
    """Train an LSTM of this shape in its place; it cannot be exported to a Hugging Face folder."""
    fit: PretrainFit = field(default_factory=PretrainFit)
    """Steps, optimizer, precision."""
    batch_size: int = 8
    """Sequences of context_length tokens in one optimizer step."""
    micro_batch_size: int = 8
    """Sequences computed at once by one process; smaller needs less memory, the sum is the same."""
    mixture: dict[str, float] = field(default_factory=dict, metadata={"added": {}})
    """Weight of every dataset that sequences are drawn from, such as `train 0.7 code 0.3`: a part of `tokens`, a
    further input, or INPUT/PART; empty: train alone."""
    high_quality_share: float = 0.25
    """Share of the sequences of the decay phase taken from the high-quality dataset."""
    phases: tuple[Phase, ...] = field(default=(), metadata={"added": ()})
    """Parts of the run with a mixture each, in place of mixture and high_quality_share."""
    replay_share: float = field(default=0.0, metadata={"added": 0.0})
    """Share of the sequences taken from the input `replay`, the data a continued model was trained on before."""
    continue_data: bool = field(default=False, metadata={"added": False})
    """Go on in the datasets where the run of `init_from` stopped, not at their beginning."""
    mask_documents: bool = field(default=False, metadata={"added": False})
    """Let attention, positions and predictions stop where a document in a sequence ends."""
    z_loss: float = field(default=0.0, metadata={"added": 0.0})
    """Weight in the loss of the squared log-normaliser of the softmax, such as 1e-4; 0: none."""
    decay_by_epochs: bool = field(default=True, metadata={"added": False})
    """Weight decay of matrices (under Muon), embedding and output layer that grows with the passes over the text, where
    fit gives none; none for a single pass; false: as fit says."""
    validation_steps: int = 300
    """Steps between two measurements on validation text."""
    validation_tokens: int = 32_768
    """Validation tokens of a measurement on the way; the last one takes all."""
    sample_steps: int = 300
    """Steps between two sets of samples."""
    sample_prompts: tuple[str, ...] = ("The", "A function that")
    """Beginnings of the samples kept during training."""
    sample_tokens: int = 48
    """Length of a sample."""
    sample_temperature: float = 0.7
    """Temperature of the samples; 0 takes the most likely token."""
    seed: int = 0
    """Seed of the weights, the order of the sequences and the samples."""
    depth: int | None = field(default=None, metadata={"added": None})
    """One dial: layers of a Transformer, from which width, heads, learning rates, batch and tokens follow at
    compute-optimal settings; options that differ from their defaults win over it; none: all as it stands."""
    tokens_per_parameter: float = field(default=20.0, metadata={"added": 20.0})
    """Tokens per parameter in matrix products, where depth decides: 20 after Hoffmann et al. 2022; nanochat: 10.75."""

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth is {self.depth}; it must be at least 1")
        if self.depth is not None and self.lstm is not None:
            raise ValueError("depth describes a Transformer; leave it out with an lstm")
        if self.tokens_per_parameter <= 0:
            raise ValueError(f"tokens_per_parameter is {self.tokens_per_parameter}; it must be above 0")
        for name in ("batch_size", "micro_batch_size", "validation_steps", "validation_tokens", "sample_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.z_loss < 0:
            raise ValueError(f"z_loss is {self.z_loss}; it must be at least 0")
        if not 0 <= self.high_quality_share <= 1:
            raise ValueError(f"high_quality_share is {self.high_quality_share}; it must be between 0 and 1")
        if self.mixture:
            _check_mixture(self.mixture, "mixture")
        if self.phases:
            starts = [phase.start_share for phase in self.phases]
            if self.mixture:
                raise ValueError("both mixture and phases are given; write the mixture as the first of the phases")
            if starts[0] != 0 or starts != sorted(set(starts)):
                raise ValueError(
                    f"phases begin at shares {starts}; the first must begin at 0, each later than the last"
                )
        if not 0 <= self.replay_share < 1:
            raise ValueError(f"replay_share is {self.replay_share}; it must be at least 0 and below 1")
        if self.lstm is not None and self.shape != Shape():
            raise ValueError("both a Transformer (shape) and an LSTM (lstm) are described; keep one of them")
        if self.lstm is not None and self.fit.compile:
            raise ValueError("an LSTM is one fused kernel per layer already; leave compile off")

    @property
    def context_length(self) -> int:
        """Longest sequence of the model that is trained, in tokens."""
        return self.shape.context_length if self.lstm is None else self.lstm.context_length


def _check_mixture(mixture: dict[str, float], what: str) -> None:
    wrong = {name: weight for name, weight in mixture.items() if not 0 <= weight < float("inf")}
    if wrong or not sum(mixture.values()) > 0:
        raise ValueError(f"{what} is {mixture}; give weights of at least 0, not all of them 0")


@dataclass(frozen=True)
class CoordinateCheck:
    """Options of `athanor scaling coordinate-check`."""

    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Widths to compare, multiples of 16; the narrowest is muP's base."""
    architecture: Literal["transformer", "lstm"] = "transformer"
    """Kind of model."""
    num_steps: int = 5
    """Steps of AdamW on one batch."""
    lr_peak: float = 1e-2
    """Learning rate at the narrowest width."""

    def __post_init__(self) -> None:
        if len(set(self.widths)) < 2 or min(self.widths) < 16 or any(width % 16 for width in self.widths):
            raise ValueError(f"widths: expected at least two multiples of 16, found {self.widths}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; it must be at least 1")
