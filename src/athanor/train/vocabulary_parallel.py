"""The output layer split by the vocabulary: losses from shares of the logits, which are never brought together.

Every process of the tensor group has the rows of the output layer for a stretch of the vocabulary and computes the
logits of those words for all positions. What the softmax needs of the others, the largest logit, the sum of the
exponentials and the target's logit, are three numbers per position (Shoeybi et al. 2019, section 3).
"""

# N positions, D model width, v words of this process
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from athanor.train.parallel import all_gather


@dataclass(frozen=True)
class VocabularyShare:
    """The stretch of the vocabulary whose rows of the output layer this process has."""

    group: dist.ProcessGroup
    size: int

    @property
    def start(self) -> int:
        """The first word of the stretch."""
        return self.group.rank() * self.size

    def log_sums_and_targets(self, logits_Nv: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the softmax's normaliser, and the logit of the target [N, 1], over the whole vocabulary."""
        largest = logits_Nv.amax(dim=-1, keepdim=True)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.group)
        place, here = self.places(targets_N)
        exponentials = (logits_Nv - largest).exp().sum(dim=-1, keepdim=True)
        both = torch.cat([exponentials, logits_Nv.gather(1, place) * here], dim=1)
        dist.all_reduce(both, group=self.group)
        return both[:, :1].log() + largest, both[:, 1:]

    def places(self, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """Where in the stretch each target is, [N, 1], and whether it is there at all, 1 or 0."""
        place = targets_N[:, None] - self.start
        here = (place >= 0) & (place < self.size)
        return place.clamp(0, self.size - 1), here.float()

    def gathered(self, logits: Tensor) -> Tensor:
        """Logits [..., V] of the whole vocabulary from those [..., v] of each process."""
        mine = logits.movedim(-1, 0).contiguous()
        whole = mine.new_empty(self.size * self.group.size(), *mine.shape[1:])
        all_gather(whole, mine, group=self.group)
        return whole.movedim(0, -1)


class SplitCrossEntropy(torch.autograd.Function):
    """`loss.cross_entropy_and_z` where the output layer is split; gradients of hidden states are shares to be added."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_vD: Tensor,
        targets_N: Tensor,
        weights_N: Tensor,
        z_loss: float,
        vocabulary: VocabularyShare,
        chunks: list[slice],
    ) -> tuple[Tensor, Tensor]:
        head = head_vD.to(hidden_ND.dtype)
        d_hidden, d_head = torch.zeros_like(hidden_ND), torch.zeros_like(head_vD, dtype=torch.float32)
        total, z = torch.zeros((), device=hidden_ND.device), torch.zeros((), device=hidden_ND.device)
        for rows in chunks:
            hidden, weight = hidden_ND[rows], weights_N[rows, None]
            logits = (hidden @ head.T).float()
            log_sums, target_logits = vocabulary.log_sums_and_targets(logits, targets_N[rows])
            total += ((log_sums - target_logits) * weight).sum()
            if z_loss:
                z += (log_sums.square() * weight).sum()
            d_logits = (logits - log_sums).exp_() * (1 + 2 * z_loss * log_sums)
            place, here = vocabulary.places(targets_N[rows])
            d_logits = d_logits.scatter_add_(1, place, -here).to(hidden.dtype)
            d_hidden[rows] = (d_logits @ head) * weight.to(hidden.dtype)
            d_head += d_logits.T @ (hidden * weight).to(hidden.dtype)
        ctx.save_for_backward(d_hidden, d_head)
        ctx.mark_non_differentiable(z)
        return total + z_loss * z, z

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_head = ctx.saved_tensors
        d_total = grad_outputs[0]
        return d_hidden * d_total.to(d_hidden.dtype), d_head * d_total, *[None] * 5


class SplitLogProbabilities(torch.autograd.Function):
    """`loss.token_log_probabilities` where the output layer is split."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_vD: Tensor,
        targets_N: Tensor,
        vocabulary: VocabularyShare,
        chunks: list[slice],
    ) -> Tensor:
        head = head_vD.to(hidden_ND.dtype)
        log_probabilities = torch.empty(targets_N.shape, device=hidden_ND.device)
        log_sums_N = torch.empty_like(log_probabilities)
        for rows in chunks:
            log_sums, targets = vocabulary.log_sums_and_targets((hidden_ND[rows] @ head.T).float(), targets_N[rows])
            log_sums_N[rows] = log_sums[:, 0]
            log_probabilities[rows] = (targets - log_sums)[:, 0]
        ctx.save_for_backward(hidden_ND, head_vD, targets_N, log_sums_N)
        ctx.vocabulary, ctx.chunks = vocabulary, chunks
        return log_probabilities

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, head_vD, targets_N, log_sums_N = ctx.saved_tensors
        head = head_vD.to(hidden_ND.dtype)
        d_hidden, d_head = torch.zeros_like(hidden_ND), torch.zeros_like(head_vD, dtype=torch.float32)
        for rows in ctx.chunks:
            weight = grad_outputs[0][rows, None]
            d_logits = ((hidden_ND[rows] @ head.T).float() - log_sums_N[rows, None]).exp_().mul_(-weight)
            place, here = ctx.vocabulary.places(targets_N[rows])
            d_logits = d_logits.scatter_add_(1, place, weight * here).to(hidden_ND.dtype)
            d_hidden[rows] = d_logits @ head
            d_head += d_logits.T @ hidden_ND[rows]
        return d_hidden, d_head.to(head_vD.dtype), *[None] * 3
