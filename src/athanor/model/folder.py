"""Model folders of any architecture: a Hugging Face folder where there is one for it, else our own.

Our own folder has the same files, config.json and model.safetensors, under our own names for the tensors and with
a model_type that begins with "athanor_"; other programs do not know it. It holds LSTMs, and Transformers with
parts that no architecture of transformers has (`families.reasons_against_export`).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core.artifact import read_json, write_json
from athanor.core.config import from_dict, to_dict
from athanor.model import convert
from athanor.model.config import LstmConfig, ModelConfig
from athanor.model.families import reasons_against_export
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.stored_tensors import SHARD_BYTES, StoredTensors, write_tensors
from athanor.model.transformer import Transformer

OWN: dict[str, tuple[type[LstmConfig | ModelConfig], type[LanguageModel], str]] = {
    "athanor_lstm": (LstmConfig, Lstm, "AthanorLstm"),
    "athanor_transformer": (ModelConfig, Transformer, "AthanorTransformer"),
}
OWN_SCORER = "AthanorTransformerForSequenceClassification"


def save(model: LanguageModel, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write weights and config of `model` to `folder`."""
    if isinstance(model, Transformer) and not reasons_against_export(model.config):
        convert.save(model, folder, shard_bytes)
        return
    model_type, (_, _, architecture) = next(item for item in OWN.items() if isinstance(model, item[1][1]))
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}
    write_tensors(folder, tensors, shard_bytes)
    write_json(
        folder / "config.json", {"architectures": [architecture], "model_type": model_type, **to_dict(model.config)}
    )


def load(folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LanguageModel:
    """The language model in `folder`, with weights and products in `dtype`; errors are those of `convert.load`."""
    path = folder / "config.json"
    described = read_json(path) if path.exists() else {}
    if described.get("model_type") not in OWN:
        return convert.load(folder, dtype, device)
    return _own(folder, dtype, device, used=set())


def save_scorer(model: Transformer, score_1D: Tensor, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write the trunk of `model` and the score weight [1, D] of a reward model to `folder`."""
    if not reasons_against_export(model.config):
        convert.save_scorer(model, score_1D, folder, shard_bytes)
        return
    tensors = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if not name.startswith("head.")  # a reward model predicts no tokens
    }
    write_tensors(folder, {**tensors, convert.SCORE: score_1D.detach().cpu().contiguous()}, shard_bytes)
    described = {"architectures": [OWN_SCORER], "model_type": "athanor_transformer", **to_dict(model.config)}
    write_json(folder / "config.json", described | {"tied_embeddings": True})


def load_scorer(
    folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Transformer, Tensor]:
    """The trunk and the score weight [1, D] of the reward model in `folder`; errors are those of `convert`."""
    path = folder / "config.json"
    if not path.exists() or read_json(path).get("model_type") not in OWN:
        return convert.load_scorer(folder, dtype, device)
    tensors = StoredTensors(folder)
    if convert.SCORE not in tensors:
        raise ValueError(f"{folder}: no tensor {convert.SCORE!r}; this folder holds no reward model")
    model = _own(folder, dtype, device, used={convert.SCORE})
    assert isinstance(model, Transformer), "only Transformers are trained as reward models"
    return model, tensors[convert.SCORE].to(device=device, dtype=dtype)


def _own(folder: Path, dtype: torch.dtype, device: torch.device | str, used: set[str]) -> LanguageModel:
    """The model of a folder of our own, of whose tensors `used` serve elsewhere."""
    described = read_json(folder / "config.json")
    kind_of_config, kind_of_model, _ = OWN[described["model_type"]]
    raw = {key: value for key, value in described.items() if key not in ("architectures", "model_type")}
    construct: Any = kind_of_model
    with torch.device("meta"):
        model: LanguageModel = construct(from_dict(kind_of_config, raw, str(folder / "config.json")))
    tensors = StoredTensors(folder)
    state = {}
    for name, parameter in model.named_parameters():
        found = list(tensors[name].shape) if name in tensors else None
        if found != list(parameter.shape):
            raise ValueError(f"{folder}: {name} has shape {found}, expected {list(parameter.shape)}")
        state[name] = tensors[name].to(device=device, dtype=dtype)
    left_over = sorted(set(tensors) - set(state) - used)
    if left_over:
        raise ValueError(f"{folder}: tensors this architecture does not have: {', '.join(left_over[:5])}")
    model.load_state_dict(state, assign=True)
    model.compute_dtype = dtype
    return model
