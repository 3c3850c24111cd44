"""Models to and from Hugging Face folders: `config.json` and `model.safetensors`.

A model with QK-norm is a Qwen3ForCausalLM, one without a LlamaForCausalLM; a reward model is the same
trunk with `score.weight` [1, D] in place of the output layer (…ForSequenceClassification with one label).
Folders made elsewhere are read too, in one file or in shards; what this architecture does not have
(biases, rope scaling, sliding windows, other activations) is refused by name, never dropped.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from athanor.core.artifact import atomic_path, read_json, write_json
from athanor.model.config import ModelConfig, width_ratio
from athanor.model.transformer import Transformer, query_scale

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# our name -> their name; {i} is the layer
OUTSIDE_BLOCKS = {
    "embedding.weight": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
IN_BLOCK = {
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
SCORE = "score.weight"


def save(model: Transformer, folder: Path) -> None:
    """Write `model` to `folder` as a Hugging Face causal language model."""
    tensors = _exported(model)
    if model.config.tied_embeddings:
        tensors.pop(OUTSIDE_BLOCKS["head.weight"], None)
    _write(folder, tensors, _hugging_face_config(model, "ForCausalLM"))


def save_scorer(model: Transformer, score_weight: Tensor, folder: Path) -> None:
    """Write the trunk of `model` and `score_weight` [1, D] to `folder` as a one-label sequence classifier."""
    if score_weight.shape != (1, model.config.d_model):
        raise ValueError(f"score weight is {list(score_weight.shape)}, expected [1, {model.config.d_model}]")
    tensors = _exported(model)
    tensors.pop(OUTSIDE_BLOCKS["head.weight"], None)
    tensors[SCORE] = score_weight.detach().cpu().contiguous()
    labels = {"num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    _write(folder, tensors, _hugging_face_config(model, "ForSequenceClassification") | labels)


def load(folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Transformer:
    """The causal language model in `folder`, with weights and products in `dtype`.

    Raises ValueError naming the folder for an architecture this package does not have, or tensors that
    are missing, left over or of another shape.
    """
    config = read_config(folder)
    return _filled(config, _read_tensors(folder), folder, dtype, device)


def load_scorer(
    folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Transformer, Tensor]:
    """The trunk and the score weight [1, D] of the reward model in `folder`.

    A reward model has no output layer: its trunk comes with tied embeddings, and its `logits` mean nothing.
    """
    tensors = _read_tensors(folder)
    if SCORE not in tensors:
        raise ValueError(f"{folder}: no tensor {SCORE!r}; this folder holds no reward model")
    score_weight = tensors.pop(SCORE)
    if score_weight.shape[0] != 1:
        raise ValueError(f"{folder}: {SCORE} has {score_weight.shape[0]} labels; a reward model has one")
    config = read_config(folder, tied_embeddings=True)
    model = _filled(config, tensors, folder, dtype, device)
    return model, score_weight.to(device=device, dtype=dtype)


def read_config(folder: Path, tied_embeddings: bool | None = None) -> ModelConfig:
    """The shape described by `folder/config.json`; `tied_embeddings` overrides what stands there."""
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder}: no config.json; expected a Hugging Face model folder")
    raw = read_json(path)
    kind = raw.get("model_type")
    if kind not in ("llama", "qwen3"):
        raise ValueError(f"{path}: model_type {kind!r} is not supported; llama and qwen3 are")
    rope = _default_rope(raw, path)
    refused = {
        "attention_bias": raw.get("attention_bias", False),
        "mlp_bias": raw.get("mlp_bias", False),
        "use_sliding_window": raw.get("use_sliding_window", False),
        "quantization_config": raw.get("quantization_config"),
    }
    for name, value in refused.items():
        if value:
            raise ValueError(f"{path}: {name} = {value!r} is not supported")
    if raw.get("hidden_act", "silu") != "silu":
        raise ValueError(f"{path}: hidden_act {raw['hidden_act']!r} is not supported; silu is")
    num_heads = raw["num_attention_heads"]
    tied = raw.get("tie_word_embeddings", False) if tied_embeddings is None else tied_embeddings
    return ModelConfig(
        vocab_size=raw["vocab_size"],
        context_length=raw["max_position_embeddings"],
        num_layers=raw["num_hidden_layers"],
        d_model=raw["hidden_size"],
        d_ff=raw["intermediate_size"],
        num_heads=num_heads,
        num_kv_heads=raw.get("num_key_value_heads") or num_heads,
        head_width=raw.get("head_dim") or raw["hidden_size"] // num_heads,
        rope_theta=float(rope),
        norm_epsilon=raw.get("rms_norm_eps", 1e-6),
        qk_norm=kind == "qwen3",
        tied_embeddings=tied,
    )


def _default_rope(raw: Mapping[str, Any], path: Path) -> float:
    """The base of unscaled rotary positions; transformers 5 and 4 keep it in different places."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(
            f"{path}: rotary positions are scaled ({kind!r}: {json.dumps(rope)}); only unscaled ones are supported, "
            "and dropping the scaling would change what the model says"
        )
    if rope.get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0)) != 1.0:
        raise ValueError(f"{path}: partial_rotary_factor is not supported")
    return float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0)))


def _hugging_face_config(model: Transformer, task: str) -> dict[str, Any]:
    config = model.config
    name, kind = ("Qwen3", "qwen3") if config.qk_norm else ("Llama", "llama")
    return {
        "architectures": [name + task],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "rope_theta": config.rope_theta,  # read by transformers 4, vLLM and llama.cpp
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied_embeddings,
        "initializer_range": 0.02,
        "dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
        "use_cache": True,
    }


def _exported(model: Transformer) -> dict[str, Tensor]:
    """The weights of `model` under their Hugging Face names."""
    rows_of = _rows(model.config)
    tensors = {}
    for name, parameter in model.named_parameters():
        theirs = _their_names(name)
        parts = torch.split(parameter, rows_of[len(theirs)]) if len(theirs) > 1 else (parameter,)
        for their_name, part in zip(theirs, parts, strict=True):
            tensors[their_name] = part.detach().cpu().contiguous()
    return tensors if model.config.mup is None else _folded(tensors, model.config)


def _folded(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """`tensors` with the multipliers of muP taken into the weights they follow: the exported model is a plain one."""
    last = OUTSIDE_BLOCKS["final_norm.weight"]
    folded = {**tensors, last: tensors[last] * width_ratio(config)}
    part = "q_norm" if config.qk_norm else "q_proj"
    for name in (name for name in tensors if name.endswith(f"{part}.weight")):
        folded[name] = tensors[name] * query_scale(config)
    return folded


def _their_names(name: str) -> list[str]:
    """The Hugging Face tensors whose rows, stacked, are our parameter `name`."""
    if name in OUTSIDE_BLOCKS:
        return [OUTSIDE_BLOCKS[name]]
    _, layer, rest = name.split(".", 2)
    return [their_name.format(i=layer) for their_name in IN_BLOCK[f"blocks.{{i}}.{rest}"]]


def _rows(config: ModelConfig) -> dict[int, list[int]]:
    """How a fused matrix splits, by the number of its parts: three for qkv, two for gate and up."""
    kv = config.num_kv_heads * config.head_width
    return {3: [config.num_heads * config.head_width, kv, kv], 2: [config.d_ff, config.d_ff]}


def _filled(
    config: ModelConfig, tensors: dict[str, Tensor], folder: Path, dtype: torch.dtype, device: torch.device | str
) -> Transformer:
    with torch.device("meta"):
        model = Transformer(config)
    state = {}
    for name, parameter in model.named_parameters():
        theirs = _their_names(name)
        missing = [their_name for their_name in theirs if their_name not in tensors]
        if missing:
            raise ValueError(f"{folder}: the weights lack {', '.join(missing)}")
        stacked = torch.cat([tensors.pop(their_name) for their_name in theirs])
        if stacked.shape != parameter.shape:
            raise ValueError(f"{folder}: {theirs} have shape {list(stacked.shape)}, expected {list(parameter.shape)}")
        state[name] = stacked.to(device=device, dtype=dtype)
    tensors.pop(OUTSIDE_BLOCKS["head.weight"], None)  # written beside tied embeddings by some tools
    left_over = [name for name in tensors if not name.endswith("rotary_emb.inv_freq")]
    if left_over:
        raise ValueError(f"{folder}: tensors this architecture does not have: {', '.join(sorted(left_over)[:5])}")
    model.load_state_dict(state, assign=True)
    model.compute_dtype = dtype
    return model


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of `folder`, from one file or from the shards its index names."""
    if (folder / WEIGHTS).exists():
        files = [WEIGHTS]
    elif (folder / INDEX).exists():
        files = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
    else:
        raise ValueError(f"{folder}: neither {WEIGHTS} nor {INDEX}; expected a Hugging Face model folder")
    tensors = {}
    for file in files:
        if not (folder / file).exists():
            raise ValueError(f"{folder}: {INDEX} names {file}, which is missing")
        with safe_open(folder / file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - not a dict
                tensors[name] = shard.get_tensor(name)
    return tensors


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(dict(sorted(tensors.items())), temporary, metadata={"format": "pt"})
    write_json(folder / "config.json", config)
