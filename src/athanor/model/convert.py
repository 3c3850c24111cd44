"""Models to and from Hugging Face folders: `config.json` and `model.safetensors`, in one file or in shards.

Which architecture of transformers a model is follows from its config, see `families.py`: Llama, Mistral, Qwen3,
Mixtral or Qwen3-MoE. A reward model is the same trunk with `score.weight` [1, D] in place of the output layer
(…ForSequenceClassification with one label). Folders made elsewhere are read too; what this package would compute
otherwise, and tensors that are missing or left over, are refused by name, never dropped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core.artifact import read_json, write_json
from athanor.model.config import ModelConfig, width_ratio
from athanor.model.families import config_from, config_to, family_of, reasons_against_export
from athanor.model.stored_tensors import INDEX as INDEX
from athanor.model.stored_tensors import SHARD_BYTES, StoredTensors, write_tensors
from athanor.model.stored_tensors import WEIGHTS as WEIGHTS
from athanor.model.transformer import Transformer, query_scale

# our name -> their names, whose rows are stacked; {i} is the layer, {e} the expert, along our first dimension
NAMES = {
    "embedding.weight": ["model.embed_tokens.weight"],
    "final_norm.weight": ["model.norm.weight"],
    "head.weight": ["lm_head.weight"],
    "blocks.{i}.attention_norm.weight": ["model.layers.{i}.input_layernorm.weight"],
    "blocks.{i}.qkv.weight": [
        "model.layers.{i}.self_attn.q_proj.weight",
        "model.layers.{i}.self_attn.k_proj.weight",
        "model.layers.{i}.self_attn.v_proj.weight",
    ],
    "blocks.{i}.q_norm.weight": ["model.layers.{i}.self_attn.q_norm.weight"],
    "blocks.{i}.k_norm.weight": ["model.layers.{i}.self_attn.k_norm.weight"],
    "blocks.{i}.attention_out.weight": ["model.layers.{i}.self_attn.o_proj.weight"],
    "blocks.{i}.feed_forward_norm.weight": ["model.layers.{i}.post_attention_layernorm.weight"],
    "blocks.{i}.gate_up.weight": ["model.layers.{i}.mlp.gate_proj.weight", "model.layers.{i}.mlp.up_proj.weight"],
    "blocks.{i}.down.weight": ["model.layers.{i}.mlp.down_proj.weight"],
}
EXPERT_NAMES = {
    "qwen3_moe": {
        "blocks.{i}.mixture.router.weight": ["model.layers.{i}.mlp.gate.weight"],
        "blocks.{i}.mixture.experts.gate_up.weight": [
            "model.layers.{i}.mlp.experts.{e}.gate_proj.weight",
            "model.layers.{i}.mlp.experts.{e}.up_proj.weight",
        ],
        "blocks.{i}.mixture.experts.down.weight": ["model.layers.{i}.mlp.experts.{e}.down_proj.weight"],
    },
    "mixtral": {
        "blocks.{i}.mixture.router.weight": ["model.layers.{i}.block_sparse_moe.gate.weight"],
        "blocks.{i}.mixture.experts.gate_up.weight": [
            "model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
            "model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
        ],
        "blocks.{i}.mixture.experts.down.weight": ["model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight"],
    },
}
SCORE = "score.weight"
UNREAD = ("rotary_emb.inv_freq",)  # endings of tensors that hold nothing learned


def save(model: Transformer, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `model` to `folder` as a Hugging Face causal language model.

    Raises ValueError with the reasons where no architecture of transformers computes what it does.
    """
    tensors = _exported(model)
    if model.config.tied_embeddings:
        tensors.pop(NAMES["head.weight"][0], None)
    _write(folder, tensors, _hugging_face_config(model, "ForCausalLM"), shard_bytes)


def save_scorer(model: Transformer, score_weight: Tensor, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write the trunk of `model` and `score_weight` [1, D] to `folder` as a one-label sequence classifier."""
    if score_weight.shape != (1, model.config.d_model):
        raise ValueError(f"score weight is {list(score_weight.shape)}, expected [1, {model.config.d_model}]")
    tensors = _exported(model)
    tensors.pop(NAMES["head.weight"][0], None)
    tensors[SCORE] = score_weight.detach().cpu().contiguous()
    labels = {"num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    _write(folder, tensors, _hugging_face_config(model, "ForSequenceClassification") | labels, shard_bytes)


def load(folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Transformer:
    """The causal language model in `folder`, with weights and products in `dtype`.

    Raises ValueError naming the folder for an architecture this package does not have, or tensors that
    are missing, left over or of another shape.
    """
    config = read_config(folder)
    return _filled(config, StoredTensors(folder), folder, dtype, device)


def load_scorer(
    folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Transformer, Tensor]:
    """The trunk and the score weight [1, D] of the reward model in `folder`.

    A reward model has no output layer: its trunk comes with tied embeddings, and its `logits` mean nothing.
    """
    tensors = StoredTensors(folder)
    if SCORE not in tensors:
        raise ValueError(f"{folder}: no tensor {SCORE!r}; this folder holds no reward model")
    score_weight = tensors[SCORE]
    if score_weight.shape[0] != 1:
        raise ValueError(f"{folder}: {SCORE} has {score_weight.shape[0]} labels; a reward model has one")
    config = read_config(folder, tied_embeddings=True)
    model = _filled(config, tensors, folder, dtype, device, used={SCORE})
    return model, score_weight.to(device=device, dtype=dtype)


def read_config(folder: Path, tied_embeddings: bool | None = None) -> ModelConfig:
    """The shape described by `folder/config.json`; `tied_embeddings` overrides what stands there."""
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder}: no config.json; expected a Hugging Face model folder")
    return config_from(read_json(path), str(path), tied_embeddings)


def their_names(name: str, config: ModelConfig) -> list[list[str]]:
    """The Hugging Face tensors of our parameter `name`: a list per expert (one for any other), to stack by rows."""
    table = NAMES | EXPERT_NAMES.get(family_of(config).model_type, {})
    pattern, layer = name, ""
    if name.startswith("blocks."):
        _, layer, rest = name.split(".", 2)
        pattern = f"blocks.{{i}}.{rest}"
    if pattern not in table:
        raise ValueError(f"{name} has no place in a Hugging Face model")
    num_experts = config.experts.num_experts if config.experts is not None and "{e}" in table[pattern][0] else 1
    return [[their_name.format(i=layer, e=expert) for their_name in table[pattern]] for expert in range(num_experts)]


def _hugging_face_config(model: Transformer, task: str) -> dict[str, Any]:
    return {
        "architectures": [family_of(model.config).class_prefix + task],
        **config_to(model.config),
        "initializer_range": 0.02,
        "dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
        "use_cache": True,
    }


def _exported(model: Transformer) -> dict[str, Tensor]:
    """The weights of `model` under their Hugging Face names."""
    reasons = reasons_against_export(model.config)
    if reasons:
        raise ValueError(f"this model has no Hugging Face form: {'; '.join(reasons)}")
    tensors = {}
    rows_of = _row_parts(model)
    for name, parameter in model.named_parameters():
        experts = their_names(name, model.config)
        stack = parameter.detach().cpu()
        for theirs, matrix in zip(experts, stack if _is_stack(name) else [stack], strict=True):
            parts = torch.split(matrix, rows_of[name]) if len(theirs) > 1 else (matrix,)
            for their_name, part in zip(theirs, parts, strict=True):
                tensors[their_name] = part.contiguous()
    return tensors if model.config.mup is None else _folded(tensors, model.config)


def _folded(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """`tensors` with the multipliers of muP taken into the weights they follow: the exported model is a plain one."""
    last = NAMES["final_norm.weight"][0]
    folded = {**tensors, last: tensors[last] * width_ratio(config)}
    part = "q_norm" if config.qk_norm else "q_proj"
    for name in (name for name in tensors if name.endswith(f"{part}.weight")):
        folded[name] = tensors[name] * query_scale(config)
    return folded


def _is_stack(name: str) -> bool:
    """Whether our parameter stacks one matrix per expert."""
    return ".mixture.experts." in name


def _row_parts(model: Transformer) -> dict[str, list[int]]:
    """How the rows of matrices that stack several maps split, by parameter name."""
    return {
        f"{name}.weight": list(module.parts)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "parts", None), tuple)
    }


def _filled(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    folder: Path,
    dtype: torch.dtype,
    device: torch.device | str,
    used: set[str] | None = None,
) -> Transformer:
    """The model of `config` with `tensors`, of which `used` serve elsewhere."""
    with torch.device("meta"):
        model = Transformer(config)
    # beside tied embeddings some tools write the output layer all the same
    read = {NAMES["head.weight"][0], *(used or ())} if config.tied_embeddings else set(used or ())
    state = {}
    for name, parameter in model.named_parameters():
        experts = their_names(name, config)
        flat = [their_name for theirs in experts for their_name in theirs]
        missing = [their_name for their_name in flat if their_name not in tensors]
        if missing:
            raise ValueError(f"{folder}: the weights lack {', '.join(missing[:5])}")
        matrices = [torch.cat([tensors[their_name].to(dtype) for their_name in theirs]) for theirs in experts]
        found = torch.stack(matrices) if _is_stack(name) else matrices[0]
        if found.shape != parameter.shape:
            raise ValueError(f"{folder}: {flat[:3]} have shape {list(found.shape)}, expected {list(parameter.shape)}")
        state[name] = found.to(device)
        read.update(flat)
    left_over = sorted(name for name in tensors if name not in read and not name.endswith(UNREAD))
    if left_over:
        raise ValueError(f"{folder}: tensors this architecture does not have: {', '.join(left_over[:5])}")
    model.load_state_dict(state, assign=True)
    model.compute_dtype = dtype
    return model


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any], shard_bytes: int) -> None:
    write_tensors(folder, tensors, shard_bytes)
    write_json(folder / "config.json", config)
