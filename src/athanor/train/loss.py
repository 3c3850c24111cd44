"""Cross-entropy of the next token, straight from hidden states, with no full matrix of logits.

The logits of all positions are by far the largest tensor of a small model (positions x vocabulary).
Both functions here go through the positions in chunks and keep nothing of that size:

    cross_entropy             a weighted sum over positions: the gradients are known in the forward pass
    token_log_probabilities   one number per position, for losses that combine them (DPO, PPO): the
                              logits are computed again in the backward pass

`z_loss` pulls the logarithm of the softmax's normaliser towards zero, which keeps logits from drifting away together
(Chowdhery et al. 2022, section 5; de Brébisson & Vincent 2016).

Products in the type of the hidden states, everything after them in float32.
"""

# N positions, D model width, V vocabulary
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from athanor.train.compiled import Compiled
from athanor.train.vocabulary_parallel import SplitCrossEntropy, SplitLogProbabilities, VocabularyShare

SMALLEST_EXACT = 1e-30  # probability below which its logarithm is taken the long way, without underflow
CHUNK_BYTES = 8 << 20  # of float32 logits at a time: they stay in the processor's cache
CHUNK_BYTES_COMPILED = 32 << 20  # passed over three times, not ten: fewer, larger products win
CHUNK_BYTES_GPU = 512 << 20  # there a product must be large to be fast


def cross_entropy(
    hidden_ND: Tensor,
    head_VD: Tensor,
    targets_N: Tensor,
    weights_N: Tensor | None = None,
    *,
    compiled: bool = False,
    vocabulary: VocabularyShare | None = None,
) -> Tensor:
    """The sum over positions of weight times negative log-probability of the target, in nats.

    Without weights every position weighs 1/N: the mean. `compiled` compiles what happens to the logits; `vocabulary`
    says for which words `head_VD` has the rows, where processes share it. Raises ValueError where nothing has weight,
    because a loss of nothing would look like success.
    """
    if len(targets_N) == 0 or (weights_N is not None and not bool(weights_N.any())):
        raise ValueError("no position has a weight in the loss: every label of this batch is masked")
    if weights_N is None:
        weights_N = torch.full(targets_N.shape, 1 / len(targets_N), device=hidden_ND.device)
    return cross_entropy_and_z(hidden_ND, head_VD, targets_N, weights_N, compiled=compiled, vocabulary=vocabulary)[0]


def cross_entropy_and_z(
    hidden_ND: Tensor,
    head_VD: Tensor,
    targets_N: Tensor,
    weights_N: Tensor,
    z_loss: float = 0.0,
    *,
    compiled: bool = False,
    vocabulary: VocabularyShare | None = None,
) -> tuple[Tensor, Tensor]:
    """`cross_entropy` plus `z_loss` times the sum of weight times squared log-normaliser, and that sum alone.

    The gradient is that of the first; the second, without `z_loss` in it, is for the log, and zero where `z_loss` is.
    Positions that all weigh nothing are no error here: they may be one of several parts of a batch.
    """
    given = (hidden_ND, head_VD, targets_N, weights_N, z_loss)
    if vocabulary is None:
        found = _CrossEntropy.apply(*given, compiled)  # type: ignore[no-untyped-call]
    else:
        chunks = list(_chunks(hidden_ND, len(head_VD)))
        found = SplitCrossEntropy.apply(*given, vocabulary, chunks)  # type: ignore[no-untyped-call]
    total, z = cast(tuple[Tensor, Tensor], found)
    return total, z


def token_log_probabilities(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, vocabulary: VocabularyShare | None = None
) -> Tensor:
    """The log-probability [N] of each target, in nats, float32."""
    if vocabulary is not None:
        chunks = list(_chunks(hidden_ND, len(head_VD)))
        return cast(Tensor, SplitLogProbabilities.apply(hidden_ND, head_VD, targets_N, vocabulary, chunks))  # type: ignore[no-untyped-call]
    result: Tensor = _TokenLogProbabilities.apply(hidden_ND, head_VD, targets_N)  # type: ignore[no-untyped-call]
    return result


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_VD: Tensor,
        targets_N: Tensor,
        weights_N: Tensor,
        z_loss: float,
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        head = head_VD.to(hidden_ND.dtype)
        gradients_wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        d_hidden = torch.empty_like(hidden_ND) if gradients_wanted else None
        d_head = torch.zeros_like(head_VD, dtype=torch.float32) if gradients_wanted else None
        total, z = torch.zeros((), device=hidden_ND.device), torch.zeros((), device=hidden_ND.device)
        # In float16 weights such as 1/100,000 would leave nothing of a gradient: there they come last, in float32.
        late = hidden_ND.dtype == torch.float16
        largest = weights_N.max().clamp(min=1e-30) if late else 1.0
        compiled = compiled and not late
        for rows in _chunks(hidden_ND, len(head_VD), CHUNK_BYTES_COMPILED) if compiled else ():
            loss, squares, d_logits = _compiled_chunk()(
                hidden_ND[rows] @ head.T, targets_N[rows], weights_N[rows], z_loss
            )
            total, z = total + loss, z + squares
            if d_hidden is not None and d_head is not None:
                torch.mm(d_logits, head, out=d_hidden[rows])
                d_head += d_logits.T @ hidden_ND[rows]
        for rows in _chunks(hidden_ND, len(head_VD)) if not compiled else ():
            hidden, target, weight = hidden_ND[rows], targets_N[rows, None], weights_N[rows, None]
            logits = (hidden @ head.T).float()
            probabilities = logits.softmax(dim=-1)
            target_probability = probabilities.gather(1, target)
            if not z_loss and logits.device.type == "cpu" and float(target_probability.min()) > SMALLEST_EXACT:
                losses = -target_probability.log()
            else:  # on a GPU always: asking for the smallest would wait for it
                log_sums = logits.logsumexp(dim=-1, keepdim=True)
                losses = log_sums - logits.gather(1, target)
            if z_loss:
                z += (log_sums.square() * weight).sum()
            total += (losses * weight).sum()
            if d_hidden is not None and d_head is not None:
                if z_loss:
                    probabilities *= 1 + 2 * z_loss * log_sums
                    target_probability = probabilities.gather(1, target)
                d_logits = probabilities.scatter_(1, target, target_probability - 1).to(hidden.dtype)
                torch.mm(d_logits, head, out=d_hidden[rows])
                if not late:
                    d_hidden[rows] *= weight
                d_head += d_logits.T @ (hidden * (weight / largest if late else weight)).to(hidden.dtype)
        if late and d_head is not None:
            d_head *= largest
        ctx.save_for_backward(d_hidden, d_head, weights_N if late else None)
        ctx.mark_non_differentiable(z)
        return total + z_loss * z, z

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        d_total = grad_outputs[0]
        d_hidden, d_head, late_weights_N = ctx.saved_tensors
        if late_weights_N is None:
            return d_hidden * d_total.to(d_hidden.dtype), d_head * d_total, None, None, None, None
        d_hidden = (d_hidden.float() * (late_weights_N * d_total)[:, None]).to(d_hidden.dtype)
        return d_hidden, d_head * d_total, None, None, None, None


def _chunk(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor, z_loss: float) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, squared log-normalisers and gradient by the logits; compiled, it is three passes over them."""
    target, weight = targets_N[:, None], weights_N[:, None]
    logits = logits_NV.float()
    largest = logits.amax(dim=-1, keepdim=True)
    sums = (logits - largest).exp().sum(dim=-1, keepdim=True)
    log_sums = sums.log() + largest
    squares = (log_sums.square() * weight).sum() if z_loss else torch.zeros((), device=logits.device)
    losses = log_sums - logits.gather(1, target)
    scale = weight * (1 + 2 * z_loss * log_sums) / sums
    is_target = torch.arange(logits.shape[1], device=logits.device)[None] == target
    d_logits = (logits - largest).exp() * scale - is_target.float() * weight
    return (losses * weight).sum(), squares, d_logits.to(logits_NV.dtype)


@cache
def _compiled_chunk() -> Compiled:
    return Compiled(_chunk, "the cross-entropy")


class _TokenLogProbabilities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
        head = head_VD.to(hidden_ND.dtype)
        log_probabilities = torch.empty(targets_N.shape, device=hidden_ND.device)
        log_sums = torch.empty_like(log_probabilities)
        for rows in _chunks(hidden_ND, len(head_VD)):
            logits = (hidden_ND[rows] @ head.T).float()
            log_sums[rows] = logits.logsumexp(dim=-1)
            log_probabilities[rows] = logits.gather(1, targets_N[rows, None])[:, 0] - log_sums[rows]
        ctx.save_for_backward(hidden_ND, head_VD, targets_N, log_sums)
        return log_probabilities

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (d_log_probabilities,) = grad_outputs
        hidden_ND, head_VD, targets_N, log_sums = ctx.saved_tensors
        head = head_VD.to(hidden_ND.dtype)
        d_hidden, d_head = torch.empty_like(hidden_ND), torch.zeros_like(head_VD, dtype=torch.float32)
        for rows in _chunks(hidden_ND, len(head_VD)):
            weight = d_log_probabilities[rows, None]
            logits = (hidden_ND[rows] @ head.T).float()
            d_logits = logits.sub_(log_sums[rows, None]).exp_().mul_(-weight)
            d_logits = d_logits.scatter_add_(1, targets_N[rows, None], weight).to(hidden_ND.dtype)
            torch.mm(d_logits, head, out=d_hidden[rows])
            d_head += d_logits.T @ hidden_ND[rows]
        return d_hidden, d_head.to(head_VD.dtype), None


def _chunks(hidden_ND: Tensor, vocab_size: int, processor_bytes: int | None = None) -> Iterator[slice]:
    chunk_bytes = processor_bytes or CHUNK_BYTES if hidden_ND.device.type == "cpu" else CHUNK_BYTES_GPU
    size = max(32, chunk_bytes // (4 * vocab_size))
    for start in range(0, len(hidden_ND), size):
        yield slice(start, start + size)
