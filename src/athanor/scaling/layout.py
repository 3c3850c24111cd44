"""Memory on each accelerator, and a parallel layout that fits: data, tensor and pipeline.

Counted in bytes for mixed precision with AdamW (Rajbhandari et al. 2020, ZeRO): 2 for a weight, 4 for its gradient,
12 for float32 weight and moments, these sharded over the data-parallel group (stage 1) or all three (stage 3).
Activations after Korthikanti et al. 2022 with sequence parallelism and fused attention: 34 s b h bytes a layer over
t ways of tensor parallelism; with full recomputation 2 s b h a layer and one layer at a time. In a pipeline of p stages
the first keeps p micro-batches alive, so its activations are those of all layers, once (one forward, one backward).
Left out: fragmentation, buffers of the network (both in HEADROOM), expert and context parallelism, offloading.
"""

import math
from dataclasses import dataclass

from athanor.core.config import ConfigError
from athanor.model.config import ModelConfig
from athanor.scaling.hardware import Accelerator

HEADROOM = 0.9  # share of the memory that can be planned with
WEIGHT, GRADIENT, OPTIMIZER = 2, 4, 12  # bytes for a parameter
KEPT, RECOMPUTED = 34, 2  # bytes for a position and channel of a layer
LOGITS = 6  # bytes for a position and word of the vocabulary: bfloat16 and float32
FEWEST_MICRO_BATCHES = 4  # for each pipeline stage: the bubble stays under a fifth
TENSOR_WAYS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Layout:
    """How a model lies on its accelerators."""

    data: int
    tensor: int
    pipeline: int
    fully_sharded: bool
    """Weights and gradients are sharded over the data-parallel group too."""
    recompute: bool
    """Activations are computed again in the backward pass, a third more operations."""
    accelerators: int
    """data x tensor x pipeline; what is left of the order stays idle."""
    micro_batches: int
    """Sequences that each pipeline does one after another in a step."""
    bubble: float
    """Share of the time that a pipeline's stages wait."""
    weights_gb: float
    gradients_gb: float
    optimizer_gb: float
    activations_gb: float

    def parallel(self, d_model: int) -> dict[str, int]:
        """The same as the settings of `fit.parallel` for a model of this width, those that are not the default.

        Every weight is sharded over as much of the data-parallel group as divides the width (FSDP2), which takes no
        more memory than was counted.
        """
        data_shard = math.gcd(self.data, d_model)
        found = {
            "data_replicate": self.data // data_shard,
            "data_shard": data_shard,
            "tensor": self.tensor,
            "pipeline": self.pipeline,
        }
        return {name: ways for name, ways in found.items() if ways > 1}

    @property
    def total_gb(self) -> float:
        """Memory on the fullest accelerator, 1e9 bytes."""
        return self.weights_gb + self.gradients_gb + self.optimizer_gb + self.activations_gb


def layout_for(model: ModelConfig, parameters: int, accelerator: Accelerator, count: int, batch_size: int) -> Layout:
    """The layout with the fewest ways of splitting a model that fits; `batch_size` in sequences.

    Raises ConfigError where none does, with what it would take.
    """
    candidates = _candidates(model, parameters, accelerator, count, batch_size)
    limit = HEADROOM * accelerator.memory_gb
    fitting = [each for each in candidates if each.total_gb <= limit]
    if not fitting:
        least = min(candidates, key=lambda each: each.total_gb) if candidates else None
        needed = f"the best layout needs {least.total_gb:,.0f} GB on each" if least else "no layout uses them"
        raise ConfigError(
            f"{parameters / 1e9:,.3g}B parameters do not fit on {count:,} accelerators with {accelerator.memory_gb:g} "
            f"GB ({limit:.0f} to plan with): {needed}. Take more accelerators, larger ones, or a smaller model"
        )
    return min(fitting, key=_effort)


def _effort(layout: Layout) -> tuple[bool, float]:
    """Less is better: idle machines, recomputation (a third more work), bubbles, and the traffic of splitting."""
    traffic = 0.02 * (layout.tensor > 1) + 0.01 * layout.tensor + 0.05 * layout.fully_sharded
    return False, (1 / layout.accelerators) * (1 + layout.recompute / 3) * (1 + layout.bubble) * (1 + traffic)


def _candidates(
    model: ModelConfig, parameters: int, accelerator: Accelerator, count: int, batch_size: int
) -> list[Layout]:
    found = []
    for tensor in (ways for ways in TENSOR_WAYS if ways <= accelerator.per_node and model.num_kv_heads % ways == 0):
        for pipeline in range(1, min(model.num_layers, 64) + 1):
            data = min(count // (tensor * pipeline), batch_size)
            if data < 1 or (pipeline > 1 and batch_size // data < FEWEST_MICRO_BATCHES * pipeline):
                data = batch_size // (FEWEST_MICRO_BATCHES * pipeline) if data >= 1 else 0
            if data < 1:
                continue
            for sharded in (False, True) if pipeline == 1 and data > 1 else (False,):
                for recompute in (False, True):
                    found.append(_layout(model, parameters, data, tensor, pipeline, batch_size, sharded, recompute))
    return found


def _layout(
    model: ModelConfig,
    parameters: int,
    data: int,
    tensor: int,
    pipeline: int,
    batch_size: int,
    sharded: bool,
    recompute: bool,
) -> Layout:
    share = parameters / (tensor * pipeline)
    over = data if sharded else 1
    position = model.context_length * model.d_model
    layers = model.num_layers  # of the first stage, times the micro-batches it keeps alive
    if recompute:
        activations = position * (RECOMPUTED * layers + KEPT / tensor)
    else:
        activations = position * KEPT * layers / tensor
    logits = LOGITS * model.context_length * model.vocab_size / tensor
    whole_layer = WEIGHT * share / max(1, layers // pipeline) if sharded else 0.0  # gathered for use
    micro_batches = -(-batch_size // data)
    return Layout(
        data=data,
        tensor=tensor,
        pipeline=pipeline,
        fully_sharded=sharded,
        recompute=recompute,
        accelerators=data * tensor * pipeline,
        micro_batches=micro_batches,
        bubble=(pipeline - 1) / (micro_batches + pipeline - 1),
        weights_gb=(WEIGHT * share / over + 2 * whole_layer) / 1e9,
        gradients_gb=GRADIENT * share / over / 1e9,
        optimizer_gb=OPTIMIZER * share / data / 1e9,
        activations_gb=(activations + logits) / 1e9,
    )
