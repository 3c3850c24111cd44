"""An LSTM language model, the architecture to measure the Transformer against.

Same interface as the Transformer: tokens [B, T] and a layout that says where sequences begin -> hidden
states [B, T, D]. Per layer: RMSNorm, an LSTM (Hochreiter & Schmidhuber 1997, with forget gates after Gers et
al. 2000), added to the residual stream; no dropout. The residual stream and the norms are those of the
Transformer, so that the comparison is about recurrence against attention.

The recurrence is torch's fused kernel (oneDNN on processors, cuDNN on NVIDIA cards): on one core with 8 rows
of 128 positions it took a fifth to a half of the time of the steps written out, and bfloat16 is faster still.
Left out: projections, peepholes, export to a Hugging Face folder (there is no such architecture there).
"""

# B batch, T positions, D model width, V vocabulary
import math
from typing import cast

import torch
from torch import Tensor, nn

from athanor.model.attention import RecurrentLayout, State
from athanor.model.config import LstmConfig, width_ratio
from athanor.model.language_model import LanguageModel
from athanor.model.layers import Embedding, Linear, RMSNorm

EMBEDDING_STD = 0.02
HEAD_STD = 0.02
FORGET_BIAS = 1.0  # memory is kept at first (Jozefowicz et al. 2015)


class LstmLayer(nn.Module):
    """One recurrent layer behind its norm; gates stack as input, forget, candidate, output."""

    def __init__(self, config: LstmConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        width = config.d_model
        self.norm = RMSNorm(width, config.norm_epsilon)
        self.from_input = Linear(width, width, width, width, width)
        self.from_state = Linear(width, width, width, width, width)
        self.bias = nn.Parameter(torch.empty(4 * width))

    def forward(self, x_BTD: Tensor, layout: RecurrentLayout) -> Tensor:
        return x_BTD + layout.recur(self.layer, self.norm(x_BTD), self._cell)

    def _cell(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The outputs [B, T, D] over all positions and the state after the last."""
        if state is None:
            zeros = x_BTD.new_zeros(1, *x_BTD[:, 0].shape)
            state = (zeros, zeros)
        weights = [w.to(x_BTD.dtype) for w in (self.from_input.weight, self.from_state.weight, self.bias)]
        weights.append(torch.zeros_like(weights[-1]))  # the kernel adds two biases; one is enough
        out_BTD, output, memory = torch.lstm(
            x_BTD,
            state,
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=True,
        )
        return out_BTD, (output, memory)


class Lstm(LanguageModel):
    """The model; see the head of the file. A new one starts as `initialize` fills it."""

    config: LstmConfig

    def __init__(self, config: LstmConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(LstmLayer(config, layer) for layer in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.head = None if config.tied_embeddings else Linear(config.d_model, config.vocab_size)
        if not self.embedding.weight.is_meta:
            initialize(self, seed)

    def forward(self, tokens_BT: Tensor, layout: RecurrentLayout) -> Tensor:
        """The hidden states [B, T, D] after the final norm, in `compute_dtype`."""
        x_BTD = self.embedding(tokens_BT).to(self.compute_dtype)
        for block in self.blocks:
            x_BTD = block(x_BTD, layout)
        x_BTD = cast(Tensor, self.final_norm(x_BTD))
        return x_BTD if self.config.mup is None else x_BTD * width_ratio(self.config)


@torch.no_grad()
def initialize(model: Lstm, seed: int) -> None:
    """Fill the weights: small normal numbers, gains of one, biases of zero but for the forget gates."""
    generator = torch.Generator().manual_seed(seed)
    width = model.config.d_model
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.zero_()
            parameter[width : 2 * width] = FORGET_BIAS
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            tables = {"embedding.weight": EMBEDDING_STD, "head.weight": HEAD_STD}
            std = tables.get(name, 1 / math.sqrt(width))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
