"""Which token sees which.

The model holds no masks: it turns queries and keys by `layout.positions_BT` and hands them to
`layout.attend`. Three layouts for training are here; the one with a cache, for generation, is in
`athanor.inference.kv_cache`.

    causal          B rows of equal length, each token sees itself and what is before it
    segments        sequences laid end to end in one row, none sees another
    shared_prompt   a prompt and its completions laid end to end: all of them see the prompt, which
                    is computed once, and not each other (Wang et al. 2024, "prefix grouper")

The last two waste nothing on padding in the matrix products; only attention itself is padded. Every layout takes a
sliding window: the last positions that a token sees (Beltagy et al. 2020; Jiang et al. 2023, "Mistral").
"""

# B batch, T positions, H query heads, G key-value heads, K head width, N sequences, L longest sequence
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST_PLAIN = 1024  # positions up to which writing out all scores is affordable


class Layout(Protocol):
    """Positions of the tokens of one forward pass, and what each of them sees."""

    @property
    def positions_BT(self) -> Tensor:
        """Rotary position of every token, int64, [B, T] or [1, T] for all rows alike."""

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        """The attention output BHTK of layer number `layer`; queries and keys are already rotated.

        With a `window` a token sees the last `window` positions, its own included.
        """


State = tuple[Tensor, Tensor]  # of a recurrent layer: output and memory, [1, B, D] each
Cell = Callable[[Tensor, State | None], tuple[Tensor, State]]  # inputs [B, T, D], first state -> outputs, last state


class RecurrentLayout(Protocol):
    """Where the sequences of one forward pass begin, for layers that read them from left to right."""

    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        """The outputs BTD of layer number `layer`, whose `cell` starts anew with every sequence."""


class TrainingLayout(Layout, RecurrentLayout, Protocol):
    """A layout for models of either kind."""


def causal(num_rows: int, length: int, device: torch.device | str = "cpu") -> TrainingLayout:
    """`num_rows` sequences of `length` tokens, all starting at position 0."""
    return _Causal(torch.arange(length, device=device)[None])


def segments(lengths: Sequence[int], device: torch.device | str = "cpu") -> TrainingLayout:
    """Sequences of these lengths end to end in one row; the input is tokens [1, sum(lengths)].

    >>> segments([3, 2]).positions_BT.tolist()
    [[0, 1, 2, 0, 1]]
    """
    _check_lengths(lengths)
    rows, start = [], 0
    for length in lengths:
        rows.append(range(start, start + length))
        start += length
    positions = torch.cat([torch.arange(length) for length in lengths])
    return _Gathered(rows, [0] * len(rows), positions, device)


def shared_prompt(groups: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> TrainingLayout:
    """Groups of lengths, a prompt's and those of its completions, end to end in one row: a pair's are three.

    Every completion is computed as if it followed the prompt directly: its positions continue those of the
    prompt and it sees no other completion.

    >>> shared_prompt([(2, 3, 1)]).positions_BT.tolist()
    [[0, 1, 2, 3, 4, 2]]
    """
    _check_lengths([length for group in groups for length in group])
    rows: list[Sequence[int]] = []
    owned_from, positions, start = [], [], 0
    for prompt, *completions in groups:
        end = start + prompt
        positions.append(torch.arange(prompt))
        for number, completion in enumerate(completions or [0]):  # a prompt may stand alone
            rows.append([*range(start, start + prompt), *range(end, end + completion)])
            owned_from.append(prompt if number else 0)  # the prompt's own output is taken from the first of its rows
            positions.append(torch.arange(prompt, prompt + completion))
            end += completion
        start = end
    return _Gathered(rows, owned_from, torch.cat(positions), device)


def scaled_dot_product(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
    """Causal attention over rows of equal length, [B, H, T, K], to at most the last `window` positions."""
    T = q_BHTK.shape[2]
    if window is not None and window >= T:
        window = None
    if window is not None and 2 * window < T:
        return _blockwise(q_BHTK, k_BGTK, v_BGTK, window)
    if q_BHTK.device.type == "cpu" and q_BHTK.dtype == torch.bfloat16 and T <= LONGEST_PLAIN:
        return _plain(q_BHTK, k_BGTK, v_BGTK, window)
    seen_TT = None if window is None else _seen(T, T, window, q_BHTK.device)
    grouped = q_BHTK.shape[1] != k_BGTK.shape[1]
    return F.scaled_dot_product_attention(
        q_BHTK, k_BGTK, v_BGTK, attn_mask=seen_TT, is_causal=window is None, enable_gqa=grouped
    )


def _plain(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None) -> Tensor:
    """Attention in three products with the scores written out.

    On processors torch's fused kernel is no faster in bfloat16 than in float32, and batched products are:
    at 256 positions this takes a third of its time. The query heads of a group stand in line under their
    common key head, so that keys and values are never copied.
    """
    B, H, T, K = q_BHTK.shape
    G = k_BGTK.shape[1]
    hidden_TT = torch.full((T, T), float("-inf"), dtype=q_BHTK.dtype).triu(1)
    if window is not None:
        hidden_TT.masked_fill_(_seen(T, T, window, hidden_TT.device).logical_not_(), float("-inf"))
    q = q_BHTK.reshape(B * G, H // G * T, K)
    k, v = k_BGTK.reshape(B * G, T, K), v_BGTK.reshape(B * G, T, K)
    attended: Tensor = _Products.apply(hidden_TT.repeat(H // G, 1), q, k, v, K**-0.5)  # type: ignore[no-untyped-call]
    return attended.view(B, H, T, K)


class _Products(torch.autograd.Function):
    """Softmax of `mask + scale q k'`, times v, for rows [N, T, K]; the gradients written out.

    They are torch's own, but that of the keys comes as [T, K]. Torch takes it of the transposed keys, and the code
    that torch 2.13 compiles to turn it back reads uninitialised memory on some processors in bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, mask: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        weights = torch.baddbmm(mask, q, k.mT, alpha=scale).softmax(dim=-1)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale = scale
        return torch.bmm(weights, v)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = grad_outputs
        q, k, v, weights = ctx.saved_tensors
        d_v = torch.bmm(weights.mT, d_out)
        d_weights = torch.bmm(d_out, v.mT)
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        return None, torch.bmm(d_scores, k) * ctx.scale, torch.bmm(d_scores.mT, q) * ctx.scale, d_v, None


def _blockwise(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int) -> Tensor:
    """Attention to a window much shorter than the row: blocks of W queries meet their own block and the one before.

    The work grows with T * 2W instead of T * T, in products that every device has.
    """
    B, H, T, K = q_BHTK.shape
    G, W, num_blocks = k_BGTK.shape[1], window, -(-T // window)

    def blocks(x_BHTK: Tensor) -> Tensor:
        """[B, blocks, heads, W, K]; the last block is filled up with zeros, which no real query sees."""
        padded = F.pad(x_BHTK, (0, 0, 0, num_blocks * W - T))
        return padded.reshape(B, -1, num_blocks, W, K).transpose(1, 2)

    def with_previous(x_BHTK: Tensor) -> Tensor:
        x = blocks(x_BHTK)
        return torch.cat([F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1], x], dim=3).flatten(0, 1)

    # the first block has none before it: a zero key would take weight, so it is masked there
    seen = _seen(W, 2 * W, W, q_BHTK.device).expand(num_blocks, W, 2 * W).clone()
    seen[0, :, :W] = False
    seen_N1TT = seen.repeat(B, 1, 1)[:, None]
    out = F.scaled_dot_product_attention(
        blocks(q_BHTK).flatten(0, 1),
        with_previous(k_BGTK),
        with_previous(v_BGTK),
        attn_mask=seen_N1TT,
        enable_gqa=G != H,
    )
    return out.view(B, num_blocks, H, W, K).transpose(1, 2).reshape(B, H, num_blocks * W, K)[:, :, :T]


def _seen(num_queries: int, num_keys: int, window: int, device: torch.device) -> Tensor:
    """Which key every query sees [queries, keys], where the last query stands at the last key."""
    query = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
    key = torch.arange(num_keys, device=device)
    return (key <= query) & (key > query - window)


class _Causal:
    def __init__(self, positions_BT: Tensor) -> None:
        self.positions_BT = positions_BT

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        return scaled_dot_product(q_BHTK, k_BGTK, v_BGTK, window)

    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        return cell(x_BTD, None)[0]


class _Gathered:
    """Flat tokens regrouped into padded rows for attention, and back.

    `rows[n]` lists the flat places that row n sees, in order; the outputs of its places from
    `owned_from[n]` on belong to it. Padding repeats the row's last place: it comes after every real
    token, so that no real token sees it. Rows of similar length share one call.
    """

    GRAIN = 32  # rows whose lengths round up to the same multiple of this are attended together

    def __init__(
        self, rows: Sequence[Sequence[int]], owned_from: Sequence[int], positions: Tensor, device: torch.device | str
    ) -> None:
        self.positions_BT = positions.to(device)[None]
        grouped: dict[int, list[int]] = {}
        for n, row in enumerate(rows):
            grouped.setdefault(-(-len(row) // self.GRAIN), []).append(n)
        self._groups = []  # of flat places [N, L]
        home_of = torch.empty(len(positions), dtype=torch.int64)  # flat place -> place in the grouped outputs
        offset = 0
        for _, members in sorted(grouped.items()):
            longest = max(len(rows[n]) for n in members)
            place_NL = torch.empty(len(members), longest, dtype=torch.int64)
            for i, n in enumerate(members):
                place_L = torch.as_tensor(rows[n], dtype=torch.int64)
                place_NL[i, : len(place_L)] = place_L
                place_NL[i, len(place_L) :] = place_L[-1]
                owned = torch.arange(owned_from[n], len(place_L))
                home_of[place_L[owned]] = offset + i * longest + owned
            offset += place_NL.numel()
            self._groups.append(place_NL.to(device))
        self._home_of = home_of.to(device)

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        q_THK, k_TGK, v_TGK = (x[0].transpose(0, 1) for x in (q_BHTK, k_BGTK, v_BGTK))
        outputs = []
        for place_NL in self._groups:
            q, k, v = (x[place_NL].transpose(1, 2) for x in (q_THK, k_TGK, v_TGK))
            outputs.append(scaled_dot_product(q, k, v, window).transpose(1, 2).flatten(0, 1))  # [N * L, H, K]
        return torch.cat(outputs)[self._home_of].transpose(0, 1)[None]

    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        outputs = [cell(x_BTD[0][place_NL], None)[0].flatten(0, 1) for place_NL in self._groups]  # [N * L, D]
        return torch.cat(outputs)[self._home_of][None]


def _check_lengths(lengths: Sequence[int]) -> None:
    if not lengths or min(lengths) < 1:
        raise ValueError(f"lengths of sequences must all be at least 1, found {list(lengths)}")
