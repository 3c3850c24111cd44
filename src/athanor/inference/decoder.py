"""One more token for every row of a batch, by a plain Transformer whose weights do not change meanwhile.

In: tokens [B] and the cache's layout `writing()`. Out: logits [B, V] in float32. It computes what `Transformer.forward`
computes, without its modules: weights are cast once, the rotary angles of all positions are a table, queries and keys
turn together. On a processor what lies between the products is done by two kernels after `FUSE_AFTER` steps
(`decode_kernels`; the residual stream is then in float32), and in bfloat16 the matrices are laid out once as oneDNN
wants them after `PACK_AFTER` steps, with many rows sooner (a third to three quarters less time for a product): a short
run pays for neither.
Left out: models with other parts (`decodes` says which; they go on through their own forward), gradients.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from athanor.core.console import warn
from athanor.inference.kv_cache import Writing, array_of
from athanor.model.config import ModelConfig, width_ratio
from athanor.model.language_model import LanguageModel
from athanor.model.rotary import rotary_angles
from athanor.model.transformer import Block, Transformer

# B rows, D model width, F feed-forward width, H query heads, G key-value heads, K head width, V vocabulary, C positions

FUSE_AFTER = 4  # steps; a prompt that is only asked for its next words loads no kernels
PACK_AFTER = 16  # steps; laying 10M weights out takes about as long as it saves in 10 steps of one row
PACK_ROWS = 32  # of a batch from which on it saves that in two or three steps, and is done with the kernels
ANGLES_BLOCK = 256  # positions by which the table of angles grows

KNOWN_FIELDS = frozenset(
    {
        "context_length",
        "num_layers",
        "d_model",
        "d_ff",
        "num_heads",
        "num_kv_heads",
        "head_width",
        "rope_theta",
        "rope_scaling",
        "sliding_window",
        "window_layers",
        "norm_epsilon",
        "qk_norm",
        "tied_embeddings",
        "mup",
        "vocab_size",
    }
)
BLOCK_PARTS = frozenset({"attention_norm", "qkv", "attention_out", "feed_forward_norm", "gate_up", "down"})
MODEL_PARTS = frozenset({"embedding", "blocks", "final_norm", "head"})

Product = Callable[[Tensor], Tensor]


def decodes(model: LanguageModel) -> bool:
    """Whether `Decoder` knows every part of this model, so that its logits are the model's own."""
    if type(model) is not Transformer:
        return False
    for entry in dataclasses.fields(model.config):
        # a field added later declares the value under which nothing changes
        unused = entry.metadata.get("added", dataclasses.MISSING)
        if entry.name not in KNOWN_FIELDS and getattr(model.config, entry.name) != unused:
            return False
    norms = {"q_norm", "k_norm"} if model.config.qk_norm else set()
    parts = {name for name, _ in model.named_children()}
    return parts <= MODEL_PARTS and all(
        type(block) is Block and {name for name, _ in block.named_children()} == BLOCK_PARTS | norms
        for block in model.blocks
    )


class Decoder:
    """The weights of a Transformer, ready for single steps. It keeps the values they had when it was made."""

    def __init__(self, model: Transformer) -> None:
        self._config: ModelConfig = model.config
        self._dtype = model.compute_dtype
        self._embedding = model.embedding.weight.detach()
        self._final_gain = self._cast(model.final_norm.weight)
        self._layers = [_Layer(cast(Block, block), self._dtype) for block in model.blocks]
        self._head = self._cast(model.head_weight)
        self._head_product: Product = _plain(self._head)
        self._angles: tuple[Tensor, Tensor] | None = None  # [C, 1, K] each
        self._num_steps = 0
        self._fused = self._packed = False

    def _cast(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self._dtype)

    def __call__(self, token_B: Tensor, layout: Writing, longest: int) -> Tensor:
        """The logits of every row's next token; `longest` is a number that no position reaches."""
        self._num_steps += 1
        if self._embedding.device.type == "cpu":
            if self._num_steps == FUSE_AFTER and self._dtype in (torch.float32, torch.bfloat16):
                self._fuse()
            pack_after = FUSE_AFTER if len(token_B) >= PACK_ROWS else PACK_AFTER
            if self._dtype == torch.bfloat16 and not self._packed and self._num_steps >= pack_after:
                self._pack()
        cos_CK, sin_CK = self._angles_until(longest)
        if self._fused:
            return self._head_product(self._step(token_B, layout, cos_CK, sin_CK)).float()
        cos_BK, sin_BK = cos_CK[layout.position_B], sin_CK[layout.position_B]
        x_BD = F.embedding(token_B, self._embedding).to(self._dtype)
        for number, layer in enumerate(self._layers):
            x_BD = layer(x_BD, number, cos_BK, sin_BK, layout)
        x_BD = _normed(x_BD, self._final_gain, self._config.norm_epsilon)
        if self._config.mup is not None:
            x_BD = x_BD * width_ratio(self._config)
        return self._head_product(x_BD).float()

    def _angles_until(self, longest: int) -> tuple[Tensor, Tensor]:
        if self._angles is None or len(self._angles[0]) < longest:
            wanted = -(-longest // ANGLES_BLOCK) * ANGLES_BLOCK
            position_1C = torch.arange(wanted, device=self._embedding.device)[None]
            cos, sin = rotary_angles(position_1C, self._config, torch.float32 if self._fused else self._dtype)
            self._angles = cos[0], sin[0]
        return self._angles

    def _step(self, token_B: Tensor, layout: Writing, cos_C1K: Tensor, sin_C1K: Tensor) -> Tensor:
        """The hidden states by kernels, with the residual stream in float32."""
        from athanor.inference.decode_kernels import add_and_norm

        # in the type of the weights first, as the model rounds
        x_BD = F.embedding(token_B, self._embedding).to(self._dtype).float().numpy()
        out_BD = torch.empty(x_BD.shape, dtype=self._dtype)
        out_array_BD = array_of(out_BD)
        delta_BD = torch.zeros_like(out_BD)
        places = _Places(
            cos_C1K[:, 0].numpy(), sin_C1K[:, 0].numpy(), layout.position_B.numpy(), layout.place_B.numpy(), layout
        )
        for number, layer in enumerate(self._layers):
            add_and_norm(x_BD, array_of(delta_BD), layer.attention_gain, layer.epsilon, out_array_BD)
            delta_BD = layer.attend(out_BD, number, places)
            add_and_norm(x_BD, array_of(delta_BD), layer.feed_forward_gain, layer.epsilon, out_array_BD)
            delta_BD = layer.feed_forward(out_BD)
        add_and_norm(x_BD, array_of(delta_BD), self._final_gain_D, self._config.norm_epsilon, out_array_BD)
        return out_BD if self._config.mup is None else out_BD * width_ratio(self._config)

    def _fuse(self) -> None:
        self._fused, self._angles = True, None
        self._final_gain_D = self._final_gain.float().numpy()
        for layer in self._layers:
            layer.to_arrays()

    def _pack(self) -> None:
        self._packed = True
        try:
            for layer in self._layers:
                layer.pack()
            self._head_product = _packed(self._head)
        except (AttributeError, NotImplementedError, RuntimeError) as error:
            _say_once(f"generation goes on with matrices as they are, oneDNN cannot prepare them: {error}")


@dataclass(frozen=True)
class _Places:
    """Where the tokens of a step stand: angles of all positions, each row's position and its place in the cache."""

    cos_CK: NDArray[np.float32]
    sin_CK: NDArray[np.float32]
    position_B: NDArray[np.int64]
    place_B: NDArray[np.int64]
    layout: Writing


class _Layer:
    """One block."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        self._heads, self._groups, self._width = block.num_heads, block.num_kv_heads, block.head_width
        self.epsilon = block.attention_norm.epsilon
        self._query_scale = block.query_scale
        self._window = block.window.get("window")

        def cast_to(weight: Tensor) -> Tensor:
            return weight.detach().to(dtype)

        self._attention_gain, self._feed_forward_gain = (
            cast_to(norm.weight) for norm in (block.attention_norm, block.feed_forward_norm)
        )
        self._head_gain_HK: Tensor | None = None  # of every query and key head
        if block.qk_norm:
            q_gain_1K, k_gain_1K = cast_to(block.q_norm.weight)[None], cast_to(block.k_norm.weight)[None]
            self._head_gain_HK = torch.cat([q_gain_1K.expand(self._heads, -1), k_gain_1K.expand(self._groups, -1)])
        self._weights = [cast_to(x.weight) for x in (block.qkv, block.attention_out, block.gate_up, block.down)]
        self._qkv, self._attention_out, self._gate_up, self._down = map(_plain, self._weights)

    def to_arrays(self) -> None:
        """Readies the gains for the kernels."""
        self.attention_gain = self._attention_gain.float().numpy()
        self.feed_forward_gain = self._feed_forward_gain.float().numpy()
        none = np.zeros((0, self._width), np.float32)
        self._gain_HK = none if self._head_gain_HK is None else self._head_gain_HK.float().contiguous().numpy()

    def attend(self, normed_BD: Tensor, number: int, places: _Places) -> Tensor:
        """What attention adds, by a kernel."""
        from athanor.inference.decode_kernels import turn_and_keep

        rows, heads, groups, width = len(normed_BD), self._heads, self._groups, self._width
        qkv_BHK = self._qkv(normed_BD).view(rows, heads + 2 * groups, width)
        q_BHK = qkv_BHK.new_empty(rows, heads, width)
        turn_and_keep(
            array_of(qkv_BHK),
            places.cos_CK,
            places.sin_CK,
            places.position_B,
            self._gain_HK,
            self.epsilon,
            self._query_scale,
            places.place_B,
            array_of(q_BHK),
            *places.layout.cache.arrays(number),
        )
        return self._attention_out(places.layout.look(number, q_BHK, self._window).flatten(1))

    def feed_forward(self, normed_BD: Tensor) -> Tensor:
        """What the feed-forward layer adds."""
        gate_BF, up_BF = self._gate_up(normed_BD).chunk(2, dim=1)
        return self._down(F.silu(gate_BF).mul_(up_BF))

    def pack(self) -> None:
        self._qkv, self._attention_out, self._gate_up, self._down = map(_packed, self._weights)

    def __call__(self, x_BD: Tensor, number: int, cos_BK: Tensor, sin_BK: Tensor, layout: Writing) -> Tensor:
        heads, groups, width = self._heads, self._groups, self._width
        normed_BD = _normed(x_BD, self._attention_gain, self.epsilon)
        qkv_BHK = self._qkv(normed_BD).view(len(x_BD), heads + 2 * groups, width)
        qk_BHK, v_BGK = qkv_BHK[:, : heads + groups], qkv_BHK[:, heads + groups :]
        if self._head_gain_HK is not None:
            qk_BHK = _normed(qk_BHK, self._head_gain_HK, self.epsilon)
        if self._query_scale != 1.0:
            qk_BHK = torch.cat([qk_BHK[:, :heads] * self._query_scale, qk_BHK[:, heads:]], dim=1)
        # sines of the first half are negative: a channel and the one half a head away turn together
        qk_BHK = torch.addcmul(qk_BHK * cos_BK, qk_BHK.roll(width // 2, -1), sin_BK)
        seen_BHK = layout.attend_one(number, qk_BHK[:, :heads], qk_BHK[:, heads:], v_BGK, self._window)
        x_BD = x_BD + self._attention_out(seen_BHK.flatten(1))
        return x_BD + self.feed_forward(_normed(x_BD, self._feed_forward_gain, self.epsilon))


def _normed(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """RMSNorm over the last dimension, rounded where the model's own rounds."""
    scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    scale = torch.rsqrt(scale.mul_(1 / x.shape[-1]).add_(epsilon))
    normed: Tensor = x * (scale if x.dtype == torch.float32 else scale.to(x.dtype))
    return normed.mul_(gain)


def _plain(weight: Tensor) -> Product:
    return lambda x: F.linear(x, weight)


def _packed(weight: Tensor) -> Product:
    """The product with a matrix in oneDNN's own layout; these operators are what torch.compile uses on processors."""
    operators: Any = torch.ops.mkldnn
    prepared = operators._reorder_linear_weight(weight.contiguous())
    product = operators._linear_pointwise
    return lambda x: cast(Tensor, product(x, prepared, None, "none", [], ""))


_said = False


def _say_once(message: str) -> None:
    global _said
    if not _said:
        warn(message)
        _said = True
