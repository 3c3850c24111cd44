"""Low-rank adapters: a matrix W is used as W + alpha / rank * B A, and only A and B are trained (Hu et al. 2021).

B starts at zero, so the model starts as its base, exactly. Matrices that are stacked here (query, key, value; gate, up)
have an adapter for each of the maps, under the names of Hugging Face. The result is merged into plain weights; the
adapters are kept beside it in the files of PEFT (adapter_config.json, adapter_model.safetensors).
"""

# D width of the input, O of an output, R rank
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from athanor.core.artifact import atomic_path, write_json
from athanor.model.layers import Linear
from athanor.model.transformer import Transformer
from athanor.train.lora_config import Lora, Target
from athanor.train.noise import dropout

MAPS: dict[str, tuple[Target, ...]] = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "attention_out": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
"""Our matrices, and the Hugging Face names of the maps stacked in each."""

_PARENT = {"qkv": "self_attn", "attention_out": "self_attn", "gate_up": "mlp", "down": "mlp"}


class AdaptedLinear(nn.Module):
    """A frozen `Linear` with an adapter for some of its maps."""

    def __init__(self, base: Linear, names: tuple[Target, ...], config: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.base, self.names, self.config = base, names, config
        self.parts = base.parts
        weight = base.weight.requires_grad_(False)
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        bound = 1 / math.sqrt(weight.shape[1])  # as PEFT draws it: Kaiming's uniform with a = sqrt(5)
        for name, width in zip(names, base.parts, strict=True):
            if name in config.targets:
                drawn_RD = (torch.rand(config.rank, weight.shape[1], generator=generator) * 2 - 1) * bound
                self.a[name] = nn.Parameter(drawn_RD.to(weight.device))
                self.b[name] = nn.Parameter(torch.zeros(width, config.rank, device=weight.device))

    @property
    def weight(self) -> Tensor:
        """The merged matrix."""
        changes = [
            self.b[name] @ self.a[name] * self.scale
            if name in self.a
            else torch.zeros(width, self.base.weight.shape[1], device=self.base.weight.device)
            for name, width in zip(self.names, self.parts, strict=True)
        ]
        return self.base.weight + torch.cat(changes).to(self.base.weight.dtype)

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied by."""
        return self.config.alpha / self.config.rank

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.base(x))
        dropped = dropout(x, self.config.dropout)
        changes = []
        for name, width in zip(self.names, self.parts, strict=True):
            if name in self.a:
                inner = F.linear(dropped, self.a[name].to(x.dtype))
                changes.append(F.linear(inner, self.b[name].to(x.dtype)) * self.scale)
            else:
                changes.append(x.new_zeros(*x.shape[:-1], width))
        return out + torch.cat(changes, dim=-1)


def add_adapters(model: Transformer, config: Lora, seed: int) -> None:
    """Freeze `model` and give its matrices adapters, in place; raises ValueError for a model in muP."""
    if model.config.mup is not None:
        raise ValueError("LoRA on a model in muP would not fit the exported weights; load the model from its folder")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for block in model.blocks:
        for matrix, names in MAPS.items():
            if any(name in config.targets for name in names):
                setattr(block, matrix, AdaptedLinear(getattr(block, matrix), names, config, generator))


def has_adapters(model: nn.Module) -> bool:
    """Whether the model's matrices have adapters."""
    return any(isinstance(module, AdaptedLinear) for module in model.modules())


def merged(model: Transformer) -> Transformer:
    """The model as plain weights: itself where it has no adapters, else a copy with them merged in."""
    if not has_adapters(model):
        return model
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for block in plain.blocks:
            for matrix in MAPS:
                adapted = getattr(block, matrix)
                if isinstance(adapted, AdaptedLinear):
                    adapted.base.weight = nn.Parameter(adapted.weight.detach())
                    setattr(block, matrix, adapted.base)
    return plain.requires_grad_(True)


def save_adapters(model: Transformer, folder: Path, base: str, task: str, score_1D: Tensor | None = None) -> None:
    """Write the adapters of `model` as PEFT keeps them; `base` is where their base model lies.

    `task` is CAUSAL_LM or SEQ_CLS; the latter has the score weight beside its adapters.
    """
    tensors = dict(_peft_tensors(model))
    config = next(module.config for module in model.modules() if isinstance(module, AdaptedLinear))
    described: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": list(config.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None if score_1D is None else ["score"],
    }
    if score_1D is not None:
        tensors["base_model.model.score.weight"] = score_1D.detach().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_file(dict(sorted(tensors.items())), temporary, metadata={"format": "pt"})
    write_json(folder / "adapter_config.json", described)


def _peft_tensors(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    for layer, block in enumerate(model.blocks):
        for matrix in MAPS:
            adapted = getattr(block, matrix)
            if isinstance(adapted, AdaptedLinear):
                for name in adapted.a:
                    place = f"base_model.model.model.layers.{layer}.{_PARENT[matrix]}.{name}"
                    yield f"{place}.lora_A.weight", adapted.a[name].detach().cpu().contiguous()
                    yield f"{place}.lora_B.weight", adapted.b[name].detach().cpu().contiguous()
