"""What every architecture has: an embedding, a way from tokens to hidden states, an output layer.

Training, validation and generation ask for nothing else, so that they take a Transformer or an LSTM alike.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from athanor.model.config import width_ratio
from athanor.model.layers import Embedding, Linear


class LanguageModel(nn.Module):
    """Tokens [B, T] and a layout -> hidden states [B, T, D] -> logits of the next token."""

    config: Any
    """Its shape and vocabulary, with at least vocab_size, context_length and d_model."""
    compute_dtype: torch.dtype
    """Type of the matrix products and of the hidden states."""
    embedding: Embedding
    head: Linear | None
    """The output layer; None where the embedding serves as one."""
    vocabulary: Any = None
    """Which words the output layer here is for, where processes share it (`athanor.train.vocabulary_parallel`)."""

    @property
    def matrix_rate(self) -> float:
        """What AdamW's learning rate for matrices inside the blocks is multiplied by (muP; 1 without)."""
        return width_ratio(self.config)

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalised log-probabilities [..., V] of the next token, in float32."""
        logits = F.linear(hidden, self.head_weight.to(hidden.dtype)).float()
        whole: Tensor = logits if self.vocabulary is None else self.vocabulary.gathered(logits)
        return whole

    @property
    def head_weight(self) -> nn.Parameter:
        """The matrix [V, D] of the output layer: the embedding itself where they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight
