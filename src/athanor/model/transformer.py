"""A decoder-only Transformer of the Llama and Qwen3 family.

In: token numbers [B, T] and a layout that says which token sees which. Out: hidden states [B, T, D]
after the final norm; `logits` turns those one asks for into predictions of the next token, so that a
loss over few positions never computes the others.

Per block: RMSNorm, attention with rotary positions (Su et al. 2021) and optional RMSNorm on queries
and keys (Henry et al. 2020), RMSNorm, SwiGLU (Shazeer 2020), both added to the residual stream.
No biases, no dropout. Parameters keep their own type; `compute_dtype` is the type of the matrix
products, to which weights are cast as they are used, so that float32 weights train in bfloat16
products with float32 gradients and no second copy.
The feed-forward layer may be a mixture of experts (`moe.py`), positions may be stretched over a longer context
(`rope_scaling.py`), and layers may see a window of the last positions alone (Beltagy et al. 2020).
"""

# B batch, T positions, D model width, H query heads, G key-value heads, K head width, V vocabulary
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from athanor.model.attention import Layout
from athanor.model.config import ModelConfig, has_value_embedding, width_ratio
from athanor.model.language_model import LanguageModel
from athanor.model.layers import Embedding, Linear, RMSNorm
from athanor.model.moe import MixtureOfExperts, Routing
from athanor.model.rotary import rotary_angles, rotate
from athanor.model.value_embedding import ValueEmbedding

EMBEDDING_STD = 0.02
HEAD_STD = 0.02


class Block(nn.Module):
    """Attention and feed-forward layer, each behind its norm and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads, self.head_width = config.num_heads, config.num_kv_heads, config.head_width
        width_all_heads, width_kv = config.num_heads * config.head_width, config.num_kv_heads * config.head_width
        self.attention_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.qkv = Linear(config.d_model, width_all_heads, width_kv, width_kv)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_width, config.norm_epsilon)
            self.k_norm = RMSNorm(config.head_width, config.norm_epsilon)
        self.qk_norm = config.qk_norm
        self.query_scale = query_scale(config)
        self.window = {} if config.window_of(layer) is None else {"window": config.window_of(layer)}
        self.value_embedding = ValueEmbedding(config) if has_value_embedding(config, layer) else None
        self.attention_out = Linear(width_all_heads, config.d_model)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.mixture = None if config.experts is None else MixtureOfExperts(config)
        if self.mixture is None:
            self.gate_up = Linear(config.d_model, config.d_ff, config.d_ff)
            self.down = Linear(config.d_ff, config.d_model)

    def forward(
        self,
        x_BTD: Tensor,
        cos_BTK: Tensor,
        sin_BTK: Tensor,
        layout: Layout,
        routing: Routing | None = None,
        tokens_BT: Tensor | None = None,
        read_N: Tensor | None = None,
    ) -> Tensor:
        seen_BTD = self._attention(self.attention_norm(x_BTD), cos_BTK, sin_BTK, layout, tokens_BT)
        if read_N is not None:
            x_BTD, seen_BTD = x_BTD[:, read_N], seen_BTD[:, read_N]
        x_BTD = x_BTD + cast(Tensor, self.attention_out(seen_BTD))
        normed_BTD = self.feed_forward_norm(x_BTD)
        if self.mixture is not None:
            return x_BTD + cast(Tensor, self.mixture(normed_BTD, routing))
        gate, up = self.gate_up(normed_BTD).chunk(2, dim=-1)
        return x_BTD + cast(Tensor, self.down(F.silu(gate) * up))

    def _attention(
        self, x_BTD: Tensor, cos_BTK: Tensor, sin_BTK: Tensor, layout: Layout, tokens_BT: Tensor | None
    ) -> Tensor:
        heads = [self.num_heads, self.num_kv_heads, self.num_kv_heads]
        q, k, v = self.qkv(x_BTD).unflatten(-1, (sum(heads), self.head_width)).split(heads, dim=2)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.query_scale != 1.0:
            q = q * self.query_scale
        if self.value_embedding is not None:
            assert tokens_BT is not None, "value embeddings are looked up by token"
            v = v + self.value_embedding(tokens_BT, x_BTD)
        q, k = rotate(q, cos_BTK, sin_BTK), rotate(k, cos_BTK, sin_BTK)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        seen_BHTK = layout.attend(self.layer, q, k, v, **self.window)
        return seen_BHTK.transpose(1, 2).flatten(-2)


class Transformer(LanguageModel):
    """The model; see the head of the file. A new one starts as `initialize` fills it."""

    config: ModelConfig

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.head = None if config.tied_embeddings else Linear(config.d_model, config.vocab_size)
        if not self.embedding.weight.is_meta:
            initialize(self, seed)

    def forward(
        self, tokens_BT: Tensor, layout: Layout, routing: Routing | None = None, read_N: Tensor | None = None
    ) -> Tensor:
        """The hidden states [B, T, D] after the final norm, in `compute_dtype`.

        What the routers of a mixture of experts choose is added to `routing`, where one is given. With `read_N`, places
        along T, only theirs come back [B, N, D]: behind the last attention nothing else is computed.
        """
        cos_BTK, sin_BTK = rotary_angles(layout.positions_BT, self.config, self.compute_dtype)
        # a stage of a pipeline begins with hidden states where it has no embedding, and ends with them
        x_BTD = tokens_BT if self.embedding is None else self.embedding(tokens_BT).to(self.compute_dtype)
        for block in self.blocks:
            read_here_N = read_N if read_N is not None and block is self.blocks[-1] else None
            x_BTD = block(x_BTD, cos_BTK, sin_BTK, layout, routing, tokens_BT, read_here_N)
        if self.final_norm is None:
            return x_BTD
        x_BTD = cast(Tensor, self.final_norm(x_BTD))
        return x_BTD if self.config.mup is None else x_BTD * width_ratio(self.config)


def query_scale(config: ModelConfig) -> float:
    """What queries are multiplied by, so that attention divides by the head's width and not by its root (muP)."""
    return 1.0 if config.mup is None else math.sqrt(config.mup.base_head_width / config.head_width)


@torch.no_grad()
def initialize(model: Transformer, seed: int) -> None:
    """Fill the weights: small normal numbers, zero where a block adds to the residual stream, gains of one.

    Every block starts as the identity (Zhang et al. 2019, "fixup"), which lets large rates work from the
    first step; so a new model's prediction depends on the last token alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
        elif name.endswith(("attention_out.weight", "down.weight", "value_embedding.gate.weight")):
            parameter.zero_()
        elif name == "embedding.weight":
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * EMBEDDING_STD)
        elif name == "head.weight":
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * HEAD_STD)
        else:
            std = 1 / math.sqrt(parameter.shape[-1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
