"""A mixture of experts in place of the feed-forward layer.

A router scores all experts for every token; the best few compute it, and their outputs are added with the
router's weights (Shazeer et al. 2017; Jiang et al. 2024, "Mixtral"). No expert has a capacity, so that no token
is ever dropped (Gale et al. 2023, "MegaBlocks"): tokens are sorted by expert, each expert takes its slice, and
the products of all experts are one grouped product where the device has it, else one product per expert.

Two losses keep routers in order. Whoever trains hands a `Routing` to the forward pass and adds `routing.loss()`:

    balance   E * sum over experts of (share of the choices) * (mean probability); 1 where all are used alike
              (Fedus et al. 2022, eq. 4). Taken over every row of the batch by itself and then averaged
              (DeepSeek-AI 2024, eq. 17), so that it is the same however the batch is cut over processes.
    z         the mean square of the log-partition of the router, which keeps scores small (Zoph et al. 2022, eq. 5)

Left out: shared experts, capacity, noise, routers that choose tokens: none has a place in Qwen3-MoE or Mixtral.
"""

# B rows, T positions, N = B * T tokens, D model width, E experts, S chosen per token, M = N * S, F width inside
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from athanor.model.config import Experts, ModelConfig
from athanor.model.layers import Linear


class Routing:  # no dataclass: FSDP2 hands copies of those to the layers, and what they note there is lost
    """What the routers of one forward pass chose; empty until the model has run with it."""

    def __init__(self, experts: Experts, num_layers: int) -> None:
        """`num_layers`: of the whole model, over which losses are averaged; a pipeline's stage sees only its own."""
        self.experts, self.num_layers = experts, num_layers
        self.balance: list[Tensor] = []
        """Per layer the balance loss: a scalar with its graph."""
        self.z: list[Tensor] = []
        """Per layer the z-loss, likewise."""
        self.chosen_E: list[Tensor] = []
        """Per layer how many tokens every expert computed."""

    @classmethod
    def of(cls, config: object) -> "Routing | None":
        """An empty one for a model with experts; None for any other."""
        if not isinstance(config, ModelConfig) or config.experts is None:
            return None
        return cls(config.experts, config.num_layers)

    def loss(self) -> Tensor:
        """Both losses with their weights, averaged over the layers."""
        balance, z = torch.stack(self.balance).sum(), torch.stack(self.z).sum()
        return (self.experts.balance_loss * balance + self.experts.z_loss * z) / self.num_layers

    def numbers(self, share: float = 1.0) -> dict[str, float]:
        """What to log, times the share of this pass in its batch: such numbers add up over the passes.

        Losses are without their weights. `expert_07` is the share of the choices, over all layers, that fell on
        expert 7; `busiest_expert` is the largest such share of a layer times the number of experts, averaged over
        layers: 1 is even. Dropped tokens are not among them: there are none.
        """
        chosen_LE = torch.stack(self.chosen_E).double()
        shares_LE = chosen_LE / chosen_LE.sum(dim=1, keepdim=True)
        busiest = shares_LE.amax(dim=1).sum() * shares_LE.shape[1]
        found = {
            "balance_loss": float(torch.stack(self.balance).detach().sum()),
            "router_z_loss": float(torch.stack(self.z).detach().sum()),
            "busiest_expert": float(busiest),
        }
        found |= {f"expert_{e:02d}": value for e, value in enumerate(shares_LE.sum(dim=0).tolist())}
        return {name: value * share / self.num_layers for name, value in found.items()}


class MixtureOfExperts(nn.Module):
    """The router and its experts; see the head of the file."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.settings = config.experts
        self.router = Linear(config.d_model, self.settings.num_experts)
        self.experts = ExpertStack(self.settings.num_experts, config.d_model, self.settings.d_ff)

    def forward(self, x_BTD: Tensor, routing: Routing | None = None) -> Tensor:
        """The outputs [B, T, D]; what was chosen is added to `routing`."""
        x_ND = x_BTD.flatten(0, 1)
        weight_NS, chosen_NS = self._choose(x_BTD, routing)
        place_M = chosen_NS.flatten().argsort(stable=True)  # the choices, sorted by expert
        counts_E = torch.bincount(chosen_NS.flatten(), minlength=self.settings.num_experts)
        y_MD: Tensor = self.experts(x_ND[place_M // chosen_NS.shape[1]], counts_E)
        back_M = torch.empty_like(place_M)
        back_M[place_M] = torch.arange(len(place_M), device=place_M.device)
        y_NSD = y_MD[back_M].view(*chosen_NS.shape, -1)
        y_ND: Tensor = (y_NSD * weight_NS.to(y_NSD.dtype)[..., None]).sum(dim=1)
        return y_ND.view_as(x_BTD)

    def _choose(self, x_BTD: Tensor, routing: Routing | None) -> tuple[Tensor, Tensor]:
        """The weights and numbers [N, S] of the experts of every token; scores are computed in float32."""
        scores_BTE = F.linear(x_BTD.float(), self.router.weight.float())
        probability_BTE = scores_BTE.softmax(dim=-1)
        weight_BTS, chosen_BTS = probability_BTE.topk(self.settings.experts_per_token, dim=-1)
        if self.settings.renormalize:
            weight_BTS = weight_BTS / weight_BTS.sum(dim=-1, keepdim=True)
        if routing is not None:
            chosen_BM = chosen_BTS.flatten(1)
            counts_BE = torch.zeros_like(probability_BTE[:, 0]).scatter_add_(
                1, chosen_BM, torch.ones_like(chosen_BM, dtype=torch.float32)
            )
            products_BE = counts_BE / chosen_BM.shape[1] * probability_BTE.mean(dim=1)
            routing.balance.append(products_BE.sum(dim=1).mean() * self.settings.num_experts)
            routing.z.append(scores_BTE.logsumexp(dim=-1).square().mean())
            routing.chosen_E.append(counts_BE.sum(dim=0))
        return weight_BTS.flatten(0, 1), chosen_BTS.flatten(0, 1)


class ExpertStack(nn.Module):
    """SwiGLU layers of one shape, their weights stacked along the first dimension.

    `exchange` is where expert parallelism steps in: given the stack, tokens [M, D] sorted by expert and their
    counts over all experts [E], it sends them where the experts live, calls `compute` there and brings the outputs
    back in the same order.
    """

    exchange: "Callable[[ExpertStack, Tensor, Tensor], Tensor] | None" = None

    def __init__(self, num_experts: int, width: int, width_inside: int) -> None:
        super().__init__()
        self.gate_up = StackedLinear(num_experts, width, width_inside, width_inside)
        self.down = StackedLinear(num_experts, width_inside, width)

    def forward(self, x_MD: Tensor, counts_E: Tensor) -> Tensor:
        """The outputs [M, D] for tokens sorted by expert, of which the first `counts_E[0]` are the first one's."""
        if self.exchange is not None:
            exchanged: Tensor = self.exchange(self, x_MD, counts_E)
            return exchanged
        return self.compute(x_MD, counts_E)

    def compute(self, x_MD: Tensor, counts_E: Tensor) -> Tensor:
        """The same with the experts whose weights are here; `counts_E` counts theirs alone."""
        gate_up, down = self.gate_up.weight.to(x_MD.dtype), self.down.weight.to(x_MD.dtype)
        aligned = gate_up.shape[2] % 8 == 0 and down.shape[2] % 8 == 0  # rows begin at multiples of 16 bytes
        if aligned and has_grouped_product(x_MD.device.type, x_MD.dtype):
            return _grouped(x_MD, counts_E, gate_up, down)
        y_MD: Tensor = _one_by_one(x_MD, counts_E.tolist(), gate_up, down)
        return y_MD


class StackedLinear(nn.Module):
    """Matrix products without bias, one per expert: `weight` [E, sum of widths_out, width_in]."""

    def __init__(self, num_experts: int, width_in: int, *widths_out: int) -> None:
        super().__init__()
        self.parts = widths_out
        self.weight = nn.Parameter(torch.empty(num_experts, sum(widths_out), width_in))


@cache
def has_grouped_product(device_type: str, dtype: torch.dtype) -> bool:
    """Whether the device multiplies the slices of all experts in one call, forward and backward.

    On processors torch has the call as well, but no faster than one product after another.
    """
    if device_type == "cpu" or not hasattr(F, "grouped_mm"):
        return False
    try:
        x = torch.zeros(16, 16, device=device_type, dtype=dtype, requires_grad=True)
        weight = torch.zeros(2, 16, 16, device=device_type, dtype=dtype, requires_grad=True)
        ends = torch.tensor([8, 16], device=device_type, dtype=torch.int32)
        torch.autograd.grad(F.grouped_mm(x, weight.mT, offs=ends).square().sum(), [x, weight])
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _grouped(x_MD: Tensor, counts_E: Tensor, gate_up_EFD: Tensor, down_EDF: Tensor) -> Tensor:
    ends_E = counts_E.cumsum(0).to(torch.int32)
    gate, up = F.grouped_mm(x_MD, gate_up_EFD.mT, offs=ends_E).chunk(2, dim=-1)
    return F.grouped_mm(F.silu(gate) * up, down_EDF.mT, offs=ends_E)


# not compiled: the slices differ in every pass, and code would be made anew each time
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _one_by_one(x_MD: Tensor, counts: Sequence[int], gate_up_EFD: Tensor, down_EDF: Tensor) -> Tensor:
    outputs = []
    # unbind, not indexing: the gradient of an index is a full stack of zeros per expert
    slices = zip(torch.split(x_MD, list(counts)), gate_up_EFD.unbind(), down_EDF.unbind(), strict=True)
    for x, gate_up, down in slices:
        if len(x):
            gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
            outputs.append(F.linear(F.silu(gate) * up, down))
    return torch.cat(outputs) if outputs else x_MD
