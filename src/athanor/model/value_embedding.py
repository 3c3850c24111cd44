"""Value embeddings: what a token contributes to attention, looked up instead of computed.

In every second block, the last one among them, a table gives each token a vector that is added to the values of
attention, head by head as a gate lets it in (Zhou et al. 2024, "Value residual learning"; the look-up by token and
the gate after Jordan's modded-nanogpt and Karpathy's nanochat). It adds parameters without matrix products. The
value depends on the token alone, so caches and every layout work as before. No format of Hugging Face has it: a
model of this kind cannot be exported.
"""

# B batch, T positions, D model width, G key-value heads, K head width
import torch
from torch import Tensor, nn

from athanor.model.config import VALUE_GATE_WIDTH, ModelConfig
from athanor.model.layers import Embedding, Linear


class ValueEmbedding(nn.Module):
    """The table of one block, and the gate before it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.head_width = config.num_kv_heads, config.head_width
        self.embedding = Embedding(config.vocab_size, config.num_kv_heads * config.head_width)
        self.gate = Linear(min(VALUE_GATE_WIDTH, config.d_model), config.num_kv_heads)

    def forward(self, tokens_BT: Tensor, x_BTD: Tensor) -> Tensor:
        """What is added to the values [B, T, G, K]; a gate of zeros lets the table in as it is."""
        looked_up_BTD: Tensor = self.embedding(tokens_BT).to(x_BTD.dtype)
        opened_BTG = 2 * torch.sigmoid(self.gate(x_BTD[..., : self.gate.weight.shape[1]]))
        return looked_up_BTD.view(*tokens_BT.shape, self.num_heads, self.head_width) * opened_BTG[..., None]
