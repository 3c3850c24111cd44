"""AdamW and Muon behind one small object, with rates by role of a parameter and a state that is named tensors.

Roles: the token embedding, the output layer (also a reward model's score), routers of experts, gains (vectors),
and matrices inside the blocks. Muon takes only the matrices: it replaces their momentum by the nearest orthogonal
matrix, found with Newton-Schulz iterations in products alone (Jordan et al. 2024; coefficients from
there). Embedding, output layer and router are tables of vectors rather than maps between spaces, and stay
with AdamW (Large et al. 2024). A matrix that stacks several maps (query, key, value; gate, up) is made
orthogonal map by map; so does one that stacks experts [E, rows, columns].
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from athanor.train.config import AdamW, Muon
from athanor.train.spread import Spread
from athanor.train.whole_matrices import Matrices, WholeMatrices

Role = Literal["embedding", "head", "router", "gain", "matrix"]

QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton-Schulz polynomial: Jordan et al. 2024


class Optimizer:
    """Steps over the named parameters of a model; gradients are read from `.grad`."""

    def __init__(
        self,
        model: nn.Module,
        adamw: AdamW,
        muon: Muon | None,
        dtype: torch.dtype = torch.float32,
        spread: Spread | None = None,
    ) -> None:
        """`dtype`: type of the products inside Muon; bfloat16 is enough where the machine has it.

        `spread`: how the parameters lie on the processes; each moves its share. Without it they are here whole.
        """
        spread = spread or Spread.whole(model)
        self.parameters = {name: spread.local[name] for name in spread.trained}
        by_muon = {name: p for name, p in self.parameters.items() if muon is not None and role_of(name, p) == "matrix"}
        self._muon = None if muon is None else _MuonSteps(by_muon, WholeMatrices(spread), muon, dtype)
        groups = []
        for role, lr_peak, weight_decay in _adamw_groups(adamw, getattr(model, "matrix_rate", 1.0)):
            members = [p for n, p in self.parameters.items() if n not in by_muon and role_of(n, p) == role]
            if members:
                groups.append({"params": members, "lr_peak": lr_peak, "weight_decay": weight_decay})
        betas = (adamw.beta1, adamw.beta2)
        self._adamw = torch.optim.AdamW(groups, betas=betas, eps=adamw.epsilon, fused=True) if groups else None

    def step(self, rate: float) -> None:
        """Move the parameters with `rate` times the peak learning rates, and forget the gradients."""
        if self._adamw is not None:
            for group in self._adamw.param_groups:
                group["lr"] = group["lr_peak"] * rate
            self._adamw.step()
        if self._muon is not None:
            self._muon.step(rate)
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Let the next gradients begin anew, as `step` does in its end."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All that a later step depends on, by name; empty before the first step."""
        found = {} if self._muon is None else self._muon.state()
        if self._adamw is not None:
            for name, parameter in self.parameters.items():
                for key, tensor in self._adamw.state.get(parameter, {}).items():
                    found[f"adamw/{name}/{key}"] = tensor
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state()` gave; raises ValueError where the names do not fit the model."""
        for full_name, tensor in state.items():
            kind, name, key = full_name.split("/")
            if name not in self.parameters or (kind == "muon" and self._muon is None):
                raise ValueError(f"the checkpoint holds optimizer state {full_name!r}, which this run has no place for")
            if kind == "muon" and self._muon is not None:
                self._muon.momenta[name].copy_(tensor)
            elif self._adamw is not None:
                device = self.parameters[name].device
                self._adamw.state[self.parameters[name]][key] = tensor.to(device).clone()


def role_of(name: str, parameter: Tensor) -> Role:
    """What kind of thing the parameter is, which decides its optimizer and rate."""
    if name.endswith("embedding.weight"):
        return "embedding"
    if name.endswith(("head.weight", "score.weight")):
        return "head"
    if name.endswith("router.weight"):
        return "router"
    return "gain" if parameter.ndim < 2 else "matrix"


def clip_gradients(
    parameters: Iterable[nn.Parameter], clip_norm: float | None, known_norm: float | None = None
) -> float:
    """The norm of all gradients together, which are scaled down where it exceeds `clip_norm`.

    `known_norm`: the norm of the whole model's gradients, where `parameters` are shares of it.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) if known_norm is None else known_norm
    if clip_norm is not None and norm > clip_norm:
        torch._foreach_mul_(gradients, clip_norm / (norm + 1e-6))
    return float(norm)


def _adamw_groups(config: AdamW, matrix_rate: float) -> list[tuple[Role, float, float]]:
    """Role, peak rate and weight decay of the groups of AdamW.

    `matrix_rate` is what muP makes of the rate of matrices; decay follows the rate, so it is divided by as much. Muon
    needs nothing of it: its updates have the same spectral norm at any width (Yang, Simon & Bernstein 2023).
    """
    return [
        ("embedding", config.embedding_lr_peak or config.lr_peak, config.embedding_weight_decay),
        ("head", config.head_lr_peak or config.lr_peak, config.head_weight_decay),
        ("router", config.lr_peak, 0.0),
        ("gain", config.lr_peak, 0.0),
        ("matrix", config.lr_peak * matrix_rate, config.weight_decay / matrix_rate),
    ]


class _MuonSteps:
    """Muon over named matrices; maps of one shape are made orthogonal together."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        whole: WholeMatrices,
        config: Muon,
        dtype: torch.dtype,
    ) -> None:
        self.config, self.dtype = config, dtype
        self.parameters = dict(parameters)
        self.momenta = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self._whole = whole
        self._stepped = False

    @torch.no_grad()
    def step(self, rate: float) -> None:
        self._stepped = True
        config = self.config
        by_shape: dict[Matrices, list[tuple[Tensor, Tensor]]] = {}  # shape -> (share of weight, of direction)
        moved = [(name, p, p.grad) for name, p in self.parameters.items() if p.grad is not None]
        if not moved:
            return
        gradients, momenta = [gradient for _, _, gradient in moved], [self.momenta[name] for name, _, _ in moved]
        torch._foreach_lerp_(momenta, gradients, 1 - config.momentum)
        directions = torch._foreach_lerp(gradients, momenta, config.momentum)
        if config.weight_decay:
            torch._foreach_mul_([p for _, p, _ in moved], 1 - rate * config.lr_peak * config.weight_decay)
        for (name, parameter, _), direction in zip(moved, directions, strict=True):
            shapes = self._whole.maps(name)
            sizes = [each.share[-2] for each in shapes]
            for shape, weight_part, direction_part in zip(
                shapes, torch.split(parameter, sizes, dim=-2), torch.split(direction, sizes, dim=-2), strict=True
            ):
                by_shape.setdefault(shape, []).append((weight_part, direction_part))
        for shape, pairs in by_shape.items():
            scale = max(1.0, shape.whole[-2] / shape.whole[-1]) ** 0.5
            stacked = torch.stack([direction for _, direction in pairs]).to(self.dtype)
            matrices = orthogonalize(self._whole.gathered(stacked, shape), config.newton_schulz_steps)
            updates = self._whole.shares(matrices, shape, len(pairs)).float()
            torch._foreach_add_([part for part, _ in pairs], updates.unbind(), alpha=-rate * config.lr_peak * scale)

    def state(self) -> dict[str, Tensor]:
        return {f"muon/{name}/momentum": m for name, m in self.momenta.items()} if self._stepped else {}


def orthogonalize(matrices: Tensor, num_steps: int) -> Tensor:
    """About the nearest (semi-)orthogonal matrix to each of `matrices` [..., rows, columns].

    The singular values come out between about 0.7 and 1.2, which serves as well as exactly one.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = matrices.mT if tall else matrices
    x = wide.reshape(-1, *wide.shape[-2:])
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_steps):  # a x + (b g + c g g) x with g = x x', in three products and no sums beside them
        gram = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    x = x.reshape(wide.shape)
    return x.mT if tall else x
