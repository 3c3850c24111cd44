"""The shapes of the models, without torch.

`Shape` is what a recipe chooses of a Transformer; `ModelConfig` adds the vocabulary size, which the tokenizer
decides. The names follow the Llama and Qwen3 configs of Hugging Face; `convert.py` holds the table between
them. `LstmShape` and `LstmConfig` are the same for an LSTM.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from athanor.model.rope_scaling import RopeScaling

VALUE_GATE_WIDTH = 32  # channels of the hidden state that the gate of a value embedding reads: nanochat


@dataclass(frozen=True, kw_only=True)
class MuP:
    """Maximal update parametrisation (Yang et al. 2022): the best rates of a narrow model stay those of a wide one.

    Against the base width: AdamW's rate for matrices inside the blocks and the size of the outputs fall with the width,
    and attention divides by the width of a head, not by its root. Depth, batch and length of the run do not transfer.
    """

    base_width: int = 64
    """d_model of the model whose rates are used; at this width nothing changes."""
    base_head_width: int = 16
    """Width of a head of that model."""

    def __post_init__(self) -> None:
        if self.base_width < 1 or self.base_head_width < 1:
            raise ValueError(f"base widths start at 1, found {self.base_width} and {self.base_head_width}")


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts in place of every feed-forward layer: each token is computed by the few that suit it."""

    num_experts: int = 8
    """Experts in a layer."""
    experts_per_token: int = 2
    """Experts that compute a token."""
    d_ff: int = 256
    """Width inside an expert; the shape's own d_ff is not used."""
    renormalize: bool = True
    """Scale the weights of the chosen experts to add up to one; always so in Mixtral."""
    balance_loss: float = 0.01
    """Weight of the loss that spreads tokens evenly over the experts."""
    z_loss: float = 0.001
    """Weight of the loss that keeps the router's scores small."""

    def __post_init__(self) -> None:
        if not 1 <= self.experts_per_token <= self.num_experts:
            raise ValueError(
                f"experts_per_token is {self.experts_per_token}; it must be between 1 and "
                f"num_experts ({self.num_experts})"
            )
        if self.d_ff < 1:
            raise ValueError(f"d_ff of an expert is {self.d_ff}; it must be at least 1")
        if min(self.balance_loss, self.z_loss) < 0:
            raise ValueError(f"weights of losses start at 0, found {self.balance_loss} and {self.z_loss}")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Depth, widths and kinds of layers of a Transformer."""

    context_length: int = 256
    """Longest sequence seen in training, in tokens."""
    num_layers: int = 4
    """Blocks of attention and feed-forward layer."""
    d_model: int = 192
    """Width of the residual stream."""
    d_ff: int = 512
    """Width inside the SwiGLU feed-forward layer; about 8/3 of d_model keeps the usual share of parameters."""
    num_heads: int = 4
    """Query heads."""
    num_kv_heads: int = 2
    """Key and value heads; a divisor of num_heads, smaller for grouped-query attention."""
    head_width: int = 48
    """Width of one head; even, because rotary positions turn pairs."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    qk_norm: bool = True
    """RMSNorm on queries and keys: exported as Qwen3 instead of Llama."""
    tied_embeddings: bool = False
    """Use the token embedding as output layer as well."""
    mup: MuP | None = field(default=None, metadata={"added": None})
    """Scale rates and outputs with the width, so that rates found on a narrow model hold; none: as they are."""
    value_embeddings: bool = field(default=False, metadata={"added": False})
    """A table of values per token in every second block, added in attention behind a gate; cannot be exported."""
    experts: Experts | None = field(default=None, metadata={"added": None})
    """Mixture of experts: exported as Qwen3-MoE, or Mixtral without qk_norm; none: one feed-forward layer for all."""
    rope_scaling: RopeScaling | None = field(default=None, metadata={"added": None})
    """Rotary positions stretched over a longer context: {kind: linear, llama3 or yarn, factor: ...}."""
    sliding_window: int | None = field(default=None, metadata={"added": None})
    """Positions that a token sees, itself included; exported as Mistral without qk_norm; none: all before it."""
    window_layers: tuple[int, ...] | None = field(default=None, metadata={"added": None})
    """Layers, counted from 0, with the sliding window; none: all of them."""

    def __post_init__(self) -> None:
        sizes = {
            name: getattr(self, name)
            for name in ("context_length", "num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_width")
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_width % 2:
            raise ValueError(f"head_width {self.head_width} is odd; rotary positions turn pairs, choose an even width")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"sliding_window is {self.sliding_window}; a token sees at least itself")
        if self.window_layers is not None:
            if self.sliding_window is None:
                raise ValueError("window_layers names layers, but there is no sliding_window")
            if any(not 0 <= layer < self.num_layers for layer in self.window_layers):
                raise ValueError(f"window_layers {list(self.window_layers)}: layers go from 0 to {self.num_layers - 1}")
        if self.experts is not None and self.mup is not None:
            raise ValueError("muP says nothing about routers; leave either mup or experts out")

    def window_of(self, layer: int) -> int | None:
        """How many positions a token sees in a layer; None where it sees all before it."""
        return self.sliding_window if self.window_layers is None or layer in self.window_layers else None


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Shape):
    """A shape with its vocabulary: all that decides which tensors a model has."""

    vocab_size: int
    """Tokens the model can read and predict."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocab_size < 1:
            raise ValueError(f"vocab_size is {self.vocab_size}; it must be at least 1")

    @classmethod
    def of(cls, shape: Shape, vocab_size: int) -> "ModelConfig":
        """The config of `shape` with `vocab_size` tokens."""
        return cls(**_values(shape), vocab_size=vocab_size)


@dataclass(frozen=True, kw_only=True)
class LstmShape:
    """Depth and width of an LSTM. A model of this shape cannot be exported to a Hugging Face folder."""

    context_length: int = 256
    """Longest sequence seen in training, in tokens."""
    num_layers: int = 2
    """Layers, each behind its norm and added to the residual stream."""
    d_model: int = 256
    """Width of the residual stream and of the state of every layer."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    tied_embeddings: bool = False
    """Use the token embedding as output layer as well."""
    mup: MuP | None = field(default=None, metadata={"added": None})
    """Scale rates and outputs with the width, so that rates found on a narrow model hold; none: as they are."""

    def __post_init__(self) -> None:
        for name in ("context_length", "num_layers", "d_model"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class LstmConfig(LstmShape):
    """The shape of an LSTM with its vocabulary: all that decides which tensors it has."""

    vocab_size: int
    """Tokens the model can read and predict."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocab_size < 1:
            raise ValueError(f"vocab_size is {self.vocab_size}; it must be at least 1")

    @classmethod
    def of(cls, shape: LstmShape, vocab_size: int) -> "LstmConfig":
        """The config of `shape` with `vocab_size` tokens."""
        return cls(**_values(shape), vocab_size=vocab_size)


def has_value_embedding(shape: Shape, layer: int) -> bool:
    """Whether block number `layer` has a table of values: every second one, with the last."""
    return shape.value_embeddings and (shape.num_layers - 1 - layer) % 2 == 0


def width_ratio(shape: Shape | LstmShape) -> float:
    """Base width over width: what rates of matrices and outputs are multiplied by; 1 without muP."""
    return 1.0 if shape.mup is None else shape.mup.base_width / shape.d_model


def _values(shape: Shape | LstmShape) -> dict[str, Any]:
    """The fields of a shape by name; nested ones stay what they are."""
    return {entry.name: getattr(shape, entry.name) for entry in fields(shape)}
