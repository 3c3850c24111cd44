"""Context parallelism: every process of a group has a share of the positions of each sequence (ring attention).

All layers but attention see single positions, so only attention needs the others: keys and values go round the ring of
processes, and the attention over each part is merged into the whole by the logarithms of the softmax's normalisers,
exactly (Liu et al. 2023; Milakov & Gimelshein 2018). In the backward pass they go round again, with their gradients.

Of 2R stretches of a sequence, process r of R has number r and number 2R - 1 - r: then every process does half
of each part it is sent, and none waits for another's longer share.

The attention over one part is torch's flash attention, on processors or (in 16 bits) on NVIDIA GPUs.
"""

# B batch, T positions of this process, H query heads, G key-value heads, K head width
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Handle = Callable[[], Tensor]


def columns_of(group: dist.ProcessGroup, length: int) -> Tensor:
    """The positions, of `length` in all, that this process has, in order."""
    ways, place = group.size(), group.rank()
    if length % (2 * ways):
        raise ValueError(
            f"sequences of {length} tokens cannot be cut into {2 * ways} equal stretches: choose a context_length that "
            "is a multiple of twice fit.parallel.context"
        )
    stretches = torch.arange(length).chunk(2 * ways)
    return torch.cat([stretches[place], stretches[2 * ways - 1 - place]])


class RingCausal:
    """The layout of rows whose positions a group shares: each token sees itself and what is before it."""

    def __init__(self, group: dist.ProcessGroup, columns_T: Tensor) -> None:
        self.group = group
        self.positions_BT = columns_T[None]

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        """The attention output BHTK over the positions of all processes; raises ValueError for a window."""
        if window is not None:
            raise ValueError("the ring of context parallelism knows no sliding windows: set fit.parallel.context to 1")
        result: Tensor = _Ring.apply(q_BHTK, k_BGTK, v_BGTK, self.group)  # type: ignore[no-untyped-call]
        return result


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, group: dist.ProcessGroup) -> Tensor:
        ways, place = group.size(), group.rank()
        out = torch.zeros_like(q, dtype=torch.float32)
        log_sums = torch.full(q.shape[:3], float("-inf"), device=q.device, dtype=torch.float32)
        pair = torch.stack([k, v])
        for step in range(ways):
            following = _send_on(pair, group) if step < ways - 1 else None
            queries, keys = _seen(step, (place - step) % ways, place, q.shape[2] // 2)
            q_part, (k_part, v_part) = q[:, :, queries], pair[:, :, :, keys]
            out_part, log_part = _attend(q_part, _heads(k_part, q), _heads(v_part, q), causal=step == 0)
            merged = torch.logaddexp(log_sums[:, :, queries], log_part)
            kept = (log_sums[:, :, queries] - merged).exp()[..., None]
            out[:, :, queries] = out[:, :, queries] * kept + out_part.float() * (log_part - merged).exp()[..., None]
            log_sums[:, :, queries] = merged
            pair = pair if following is None else following()
        result = out.to(q.dtype)
        ctx.group = group
        ctx.save_for_backward(q, k, v, result, log_sums)
        return result

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sums = ctx.saved_tensors
        d_out = grad_outputs[0].contiguous()
        ways, place = ctx.group.size(), ctx.group.rank()
        d_q = torch.zeros_like(q, dtype=torch.float32)
        pair = torch.stack([k, v])
        d_pair = torch.zeros_like(pair, dtype=torch.float32)
        for step in range(ways):
            following = _send_on(pair, ctx.group) if step < ways - 1 else None
            queries, keys = _seen(step, (place - step) % ways, place, q.shape[2] // 2)
            k_part, v_part = pair[:, :, :, keys]
            d_parts = _attend_backward(
                d_out[:, :, queries],
                q[:, :, queries],
                _heads(k_part, q),
                _heads(v_part, q),
                out[:, :, queries],
                log_sums[:, :, queries],
                causal=step == 0,
            )
            d_q[:, :, queries] += d_parts[0]
            for which in (0, 1):
                d_pair[which][:, :, keys] += _add_heads(d_parts[1 + which], k.shape[1])
            pair = pair if following is None else following()
            d_pair = _send_on(d_pair, ctx.group)()  # with their keys and values, and home after the last
        return d_q.to(q.dtype), d_pair[0].to(k.dtype), d_pair[1].to(v.dtype), None


def _seen(step: int, source: int, place: int, half: int) -> tuple[slice, slice]:
    """Which of this process's positions see which of those of `source`, all of them, or causally in step 0."""
    if step == 0:
        return slice(None), slice(None)
    return (slice(None), slice(0, half)) if source < place else (slice(half, None), slice(None))


def _send_on(tensor: Tensor, group: dist.ProcessGroup) -> Handle:
    """Begin to send to the next process of the ring; the result waits for what the one before has sent."""
    received = torch.empty_like(tensor)
    after, before = ((group.rank() + step) % group.size() for step in (1, -1))
    sends = [
        dist.P2POp(dist.isend, tensor.contiguous(), dist.get_global_rank(group, after), group),
        dist.P2POp(dist.irecv, received, dist.get_global_rank(group, before), group),
    ]
    works = dist.batch_isend_irecv(sends)

    def wait() -> Tensor:
        for work in works:
            work.wait()
        return received

    return wait


def _heads(k_BGTK: Tensor, q_BHTK: Tensor) -> Tensor:
    """Keys or values once for every query head."""
    return k_BGTK.repeat_interleave(q_BHTK.shape[1] // k_BGTK.shape[1], dim=1)


def _add_heads(d_k_BHTK: Tensor, num_kv_heads: int) -> Tensor:
    """Gradients of `_heads`, in float32."""
    batch, _, positions, width = d_k_BHTK.shape
    return d_k_BHTK.float().reshape(batch, num_kv_heads, -1, positions, width).sum(dim=2)


def _attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention BHTK and the logarithm of its normaliser BHT over these keys."""
    if q.device.type == "cpu":
        out, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
        return out, log_sums
    found = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal)
    return found[0], found[1]


def _attend_backward(
    d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values of one part, given output and normaliser of the whole."""
    if q.device.type == "cpu":
        given = [tensor.contiguous() for tensor in (d_out, q, k, v, out, log_sums)]
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        d_q, d_k, d_v = backward(*given, 0.0, causal)
        return d_q, d_k, d_v
    seed = torch.zeros(2, dtype=torch.uint64, device=q.device)  # of dropout, of which there is none
    lengths = (None, None, q.shape[2], k.shape[2])
    d_q, d_k, d_v = torch.ops.aten._scaled_dot_product_flash_attention_backward(
        d_out, q, k, v, out, log_sums.contiguous(), *lengths, 0.0, causal, seed, seed[0]
    )
    return d_q, d_k, d_v
