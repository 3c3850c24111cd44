"""A ladder of runs: compute budgets times model sizes, for one or several families of models.

In: a `Ladder`, as a recipe describes it. Out: `Run`s, each of which becomes one `train.pretrain` step. The
runs of one budget differ in size and spend the same operations (isoFLOP groups, Hoffmann et al. 2022,
approach 2). Learning rates are searched on the smallest budget and carried to larger models by a power law in
the size (`tuned_rule`). Nothing here runs anything.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from athanor.core.config import ConfigError
from athanor.model.config import LstmConfig, LstmShape, ModelConfig, MuP, Shape
from athanor.model.count import FlopsConvention, ParameterConvention, count_parameters, flops_per_token
from athanor.train.config import AdamW, Muon, Pretrain, PretrainFit, Schedule

NEVER = 10**9  # steps between two samples or measurements that a ladder does not want
FEED_FORWARD = 8 / 3  # d_ff over d_model: three SwiGLU matrices then weigh as much as two of width 4 (Shazeer 2020)
GRAIN = 16  # d_ff is a multiple of it


@dataclass(frozen=True)
class Family:
    """Models of one kind in several sizes, to be compared with other families."""

    architecture: Literal["transformer", "lstm"] = "transformer"
    """Kind of model."""
    sizes: tuple[tuple[int, int], ...] = ((2, 32), (2, 48), (3, 64), (4, 80), (4, 112))
    """Layers and width of each model, small ones first."""
    head_width: int = 16
    """Width of an attention head; d_model is a multiple of it."""
    mup_base_width: int | None = None
    """Train with muP against this width, so that its learning rates hold for all; none: without."""
    weight_decay: float | None = None
    """Weight decay of the matrices inside the blocks, in place of the optimizer's. Without any, Muon lets the matrices
    of a recurrence grow until a long run's gradients explode."""

    def __post_init__(self) -> None:
        for layers, width in self.sizes:
            if layers < 1 or width < 1:
                raise ValueError(f"sizes: [{layers}, {width}]: layers and width start at 1")
            if self.architecture == "transformer" and width % self.head_width:
                raise ValueError(f"sizes: width {width} is not a multiple of head_width {self.head_width}")
        if len(set(self.sizes)) != len(self.sizes) or not self.sizes:
            raise ValueError(f"sizes: name at least one, each once; found {self.sizes}")
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must not be below 0")


@dataclass(frozen=True)
class Ladder:
    """Which models are trained with how much compute."""

    families: dict[str, Family] = field(default_factory=lambda: {"transformer": Family()})
    """What is compared, by name: architectures, or shapes such as wide and deep."""
    compute_budgets: tuple[float, ...] = (2e11, 6e11, 2e12, 6e12)
    """Operations of one run in each group, ascending. From the third on, every run is predicted before it starts."""
    target_budgets: tuple[float, ...] = (2e13,)
    """Larger budgets at which one run per family is made, of the size that the ladder says is best."""
    flops: FlopsConvention = "with_attention"
    """What counts as an operation."""
    parameters: ParameterConvention = "matmul"
    """What counts as a parameter in the table of runs."""
    context_length: int = 128
    """Tokens of a sequence."""
    batch_size: int = 8
    """Sequences of an optimizer step at the smallest budget."""
    batch_exponent: float = 0.0
    """The batch grows with the budget to this power; 0 keeps it."""
    lr_factors: tuple[float, ...] = (1.0,)
    """Multiples of the learning rates below to try on the smallest budget; the best ones, as a power law in the size
    and never beyond those tried, hold for all other runs."""
    batch_factors: tuple[float, ...] = (1.0,)
    """Multiples of batch_size to try there too, each with every learning rate; the best ones hold as the rates do."""
    muon: Muon | None = field(default_factory=Muon)
    """Optimizer of the matrices; none: AdamW takes them as well."""
    adamw: AdamW = field(
        default_factory=lambda: AdamW(lr_peak=3e-3, embedding_lr_peak=0.1, head_lr_peak=5e-3, weight_decay=0.0)
    )
    """Optimizer of everything else."""
    schedule: Schedule = field(default_factory=lambda: Schedule(warmup_share=0.02, decay_share=0.65, floor=0.05))
    """Learning rate over the steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the matrix products."""
    min_steps: int = 150
    """A size takes part in a budget only with at least as many steps."""
    max_epochs: float = 4.0
    """... and at most as many passes over the text; more are worth less than new text (Muennighoff et al. 2023)."""
    min_tokens_per_parameter: float = 1.0
    """... and with at least as many tokens for each parameter,"""
    max_tokens_per_parameter: float = 150.0
    """... and at most as many: far from the optimum a run tells little about it."""
    seeds: tuple[int, ...] = (0,)
    """Every run is made once with each."""

    def __post_init__(self) -> None:
        budgets = (*self.compute_budgets, *self.target_budgets)
        if not self.compute_budgets or list(budgets) != sorted(set(budgets)) or budgets[0] <= 0:
            raise ValueError("compute_budgets and target_budgets: expected numbers above 0, ascending, each once")
        for name in ("context_length", "batch_size", "min_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        factors = (self.lr_factors, self.batch_factors)
        if not self.families or not self.seeds or any(not each or min(each) <= 0 for each in factors):
            raise ValueError("families, seeds, lr_factors and batch_factors name at least one each, factors above 0")

    @property
    def tunes(self) -> bool:
        """Whether there is anything to try on the smallest budget."""
        return len(self.lr_factors) * len(self.batch_factors) > 1


@dataclass(frozen=True)
class Run:
    """One model to train."""

    family: str
    architecture: str
    layers: int
    width: int
    budget: float
    lr_factor: float
    batch_size: int
    num_steps: int
    seed: int
    parameters: int
    """By the ladder's convention."""
    config: Pretrain = field(hash=False)
    batch_factor: float = 1.0

    @property
    def name(self) -> str:
        """Its name as a step, which says what it is."""
        factor = f"-lr{self.lr_factor:g}" if self.lr_factor != 1 else ""
        factor += f"-b{self.batch_factor:g}" if self.batch_factor != 1 else ""
        return f"{self.family}-{self.layers}x{self.width}-{self.budget:.3g}{factor}-s{self.seed}"

    @property
    def size(self) -> tuple[int, int]:
        """Layers and width."""
        return self.layers, self.width

    @property
    def tokens(self) -> int:
        """Tokens it is trained on, repeated ones included."""
        return self.num_steps * self.batch_size * self.config.context_length

    @property
    def lr(self) -> float:
        """Peak learning rate of the matrices."""
        fit = self.config.fit
        return (fit.muon or fit.adamw).lr_peak


@dataclass(frozen=True)
class LeftOut:
    """A size that a budget is too small or too large for."""

    family: str
    size: tuple[int, int]
    budget: float
    reason: str


def make_run(
    ladder: Ladder,
    family: str,
    size: tuple[int, int],
    budget: float,
    lr_factor: float,
    seed: int,
    vocab_size: int,
    batch_factor: float = 1.0,
) -> Run:
    """The run of one size with one budget."""
    kind = ladder.families[family]
    layers, width = size
    shape = _shape(kind, layers, width, ladder.context_length)
    model = LstmConfig.of(shape, vocab_size) if isinstance(shape, LstmShape) else ModelConfig.of(shape, vocab_size)
    growth = (budget / ladder.compute_budgets[0]) ** ladder.batch_exponent
    batch_size = max(1, round(ladder.batch_size * growth * batch_factor))
    step_tokens = batch_size * ladder.context_length
    num_steps = max(1, round(budget / (flops_per_token(model, ladder.flops) * step_tokens)))
    muon = None if ladder.muon is None else replace(ladder.muon, lr_peak=_scaled(ladder.muon.lr_peak, lr_factor))
    adamw = _all_scaled(ladder.adamw, lr_factor)
    if kind.weight_decay is not None:
        muon = None if muon is None else replace(muon, weight_decay=kind.weight_decay)
        adamw = replace(adamw, weight_decay=kind.weight_decay)
    fit = PretrainFit(
        num_steps=num_steps,
        adamw=adamw,
        muon=muon,
        schedule=ladder.schedule,
        precision=ladder.precision,
        threads=1,
    )
    config = Pretrain(
        shape=shape if isinstance(shape, Shape) else Shape(),
        lstm=shape if isinstance(shape, LstmShape) else None,
        fit=fit,
        batch_size=batch_size,
        micro_batch_size=min(batch_size, ladder.batch_size),
        high_quality_share=0.0,
        decay_by_epochs=False,
        validation_steps=NEVER,
        sample_steps=NEVER,
        sample_prompts=(),
        seed=seed,
    )
    parameters = count_parameters(model, ladder.parameters)
    return Run(
        family,
        kind.architecture,
        layers,
        width,
        budget,
        lr_factor,
        batch_size,
        num_steps,
        seed,
        parameters,
        config,
        batch_factor,
    )


def group(
    ladder: Ladder, family: str, budget: float, vocab_size: int, unique_tokens: int
) -> tuple[list[Run], list[LeftOut]]:
    """The runs of one family at one budget with unscaled rates and the first seed, and the sizes it leaves out."""
    runs, left_out = [], []
    for size in ladder.families[family].sizes:
        run = make_run(ladder, family, size, budget, 1.0, ladder.seeds[0], vocab_size)
        reason = _misfit(ladder, run, unique_tokens)
        if reason:
            left_out.append(LeftOut(family, size, budget, reason))
        else:
            runs.append(run)
    return runs, left_out


def _misfit(ladder: Ladder, run: Run, unique_tokens: int) -> str:
    """Why a run does not take part in its budget; empty where it does."""
    epochs, ratio = run.tokens / unique_tokens, run.tokens / run.parameters
    if run.num_steps < ladder.min_steps:
        return f"{run.num_steps} steps, fewer than min_steps {ladder.min_steps}"
    if epochs > ladder.max_epochs:
        return f"{epochs:.1f} epochs, more than max_epochs {ladder.max_epochs:g}"
    if ratio < ladder.min_tokens_per_parameter:
        return f"{ratio:.2g} tokens per parameter, fewer than {ladder.min_tokens_per_parameter:g}"
    if ratio > ladder.max_tokens_per_parameter:
        return f"{ratio:.3g} tokens per parameter, more than {ladder.max_tokens_per_parameter:g}"
    return ""


def tuning_runs(ladder: Ladder, family: str, vocab_size: int, unique_tokens: int) -> list[Run]:
    """Every size that takes part in the smallest budget, with every factor of the learning rates and of the batch.

    Raises ConfigError where none does.
    """
    budget = ladder.compute_budgets[0]
    members, left_out = group(ladder, family, budget, vocab_size, unique_tokens)
    if not members:
        raise ConfigError(
            f"families.{family}: no size takes part in the smallest budget {budget:.3g}: "
            + "; ".join(f"{each.size[0]}x{each.size[1]} {each.reason}" for each in left_out)
        )
    return [
        make_run(ladder, family, run.size, budget, factor, ladder.seeds[0], vocab_size, batch_factor)
        for run in members
        for batch_factor in ladder.batch_factors
        for factor in ladder.lr_factors
    ]


@dataclass(frozen=True)
class RateRule:
    """The best factor of the learning rates, or of the batch, as a power of the number of parameters."""

    at_reference: float
    exponent: float
    reference: float
    """Parameters at which the factor is `at_reference`."""
    lowest: float
    highest: float
    best: dict[str, float] = field(default_factory=dict)
    """The best factor found for each size, as 'layers x width'."""
    at_edge: tuple[str, ...] = ()
    """Sizes whose best factor lies at the edge of the grid: the true one may be outside."""

    def factor(self, parameters: float) -> float:
        """The factor for a model, within the grid, to three digits."""
        value = self.at_reference * (parameters / self.reference) ** self.exponent
        return float(f"{min(max(value, self.lowest), self.highest):.3g}")


@dataclass(frozen=True)
class Rules:
    """What the runs of tuning of one family say."""

    learning_rate: RateRule
    batch: RateRule


def tuned_rules(losses: Mapping[Run, float]) -> Rules:
    """The rules of learning rate and batch from the losses of `tuning_runs` of one family.

    A batch is judged by its best learning rate, learning rates at the best batch of their size.
    """
    best_of: dict[tuple[tuple[int, int], float], Run] = {}
    for run, loss in losses.items():
        key = run.size, run.batch_factor
        if key not in best_of or loss < losses[best_of[key]]:
            best_of[key] = run
    batch_of = {
        size: min((run for run in best_of.values() if run.size == size), key=losses.__getitem__).batch_factor
        for size, _ in best_of
    }
    at_best = {run: loss for run, loss in losses.items() if run.batch_factor == batch_of[run.size]}
    batches = {run: losses[run] for run in best_of.values()}
    return Rules(tuned_rule(at_best), tuned_rule(batches, "batch_factor"))


def tuned_rule(losses: Mapping[Run, float], setting: Literal["lr_factor", "batch_factor"] = "lr_factor") -> RateRule:
    """The rule for one setting that the losses of runs of one family suggest.

    The best factor of a size is the minimum of a parabola in the logarithm of the factor through the best
    one tried and its neighbours; the rule is the straight line in logarithms through those of all sizes.
    """
    sizes: dict[tuple[int, int], list[tuple[float, float, int]]] = {}
    for run, loss in losses.items():
        sizes.setdefault(run.size, []).append((getattr(run, setting), loss, run.parameters))
    points, best, at_edge = [], {}, []
    for (layers, width), tried in sorted(sizes.items()):
        tried.sort()
        factor, edge = best_factor([(f, loss) for f, loss, _ in tried])
        label = f"{layers}x{width}"
        best[label] = float(f"{factor:.3g}")
        at_edge += [label] if edge and len(tried) > 1 else []
        points.append((math.log(tried[0][2]), math.log(factor)))
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    slope = sum((x - middle) * (y - level) for x, y in points) / spread if spread > 0 else 0.0
    factors = [getattr(run, setting) for run in losses]
    return RateRule(math.exp(level), slope, math.exp(middle), min(factors), max(factors), best, tuple(at_edge))


def best_factor(tried: Sequence[tuple[float, float]]) -> tuple[float, bool]:
    """The factor with the least loss between those tried (ascending), and whether it is the first or the last.

    >>> [round(number, 3) for number in best_factor([(1, 2.0), (2, 1.0), (4, 2.0)])]
    [2.0, 0]
    """
    at = min(range(len(tried)), key=lambda i: tried[i][1])
    if at in (0, len(tried) - 1):
        return tried[at][0], True
    (x0, y0), (x1, y1), (x2, y2) = ((math.log(f), loss) for f, loss in tried[at - 1 : at + 2])
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    slope_at_middle = (left * (x2 - x1) + right * (x1 - x0)) / (x2 - x0)
    return math.exp(min(max(x1 - slope_at_middle / (2 * curvature), x0), x2)), False


def _shape(kind: Family, layers: int, width: int, context_length: int) -> Shape | LstmShape:
    mup = None if kind.mup_base_width is None else MuP(base_width=kind.mup_base_width, base_head_width=kind.head_width)
    if kind.architecture == "lstm":
        return LstmShape(context_length=context_length, num_layers=layers, d_model=width, mup=mup)
    heads = width // kind.head_width
    return Shape(
        context_length=context_length,
        num_layers=layers,
        d_model=width,
        d_ff=max(GRAIN, round(FEED_FORWARD * width / GRAIN) * GRAIN),
        num_heads=heads,
        num_kv_heads=heads,
        head_width=kind.head_width,
        mup=mup,
    )


def _scaled(rate: float, factor: float) -> float:
    return rate if factor == 1 else float(f"{rate * factor:.6g}")


def _all_scaled(adamw: AdamW, factor: float) -> AdamW:
    def scaled(rate: float | None) -> float | None:
        return None if rate is None else _scaled(rate, factor)

    return replace(
        adamw,
        lr_peak=_scaled(adamw.lr_peak, factor),
        embedding_lr_peak=scaled(adamw.embedding_lr_peak),
        head_lr_peak=scaled(adamw.head_lr_peak),
    )
