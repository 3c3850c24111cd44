"""Model folders of either architecture: a Transformer's is a Hugging Face folder, an LSTM's is our own.

An LSTM's folder has the same files, config.json and model.safetensors, under our own names for the tensors
and with model_type "athanor_lstm"; other programs do not know it.
"""

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from athanor.core.artifact import atomic_path, read_json, write_json
from athanor.core.config import from_dict
from athanor.model import convert
from athanor.model.config import LstmConfig
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer

LSTM_TYPE = "athanor_lstm"


def save(model: LanguageModel, folder: Path) -> None:
    """Write weights and config of `model` to `folder`."""
    if isinstance(model, Transformer):
        convert.save(model, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}
    with atomic_path(folder / convert.WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    described = {"architectures": ["AthanorLstm"], "model_type": LSTM_TYPE, **dataclasses.asdict(model.config)}
    write_json(folder / "config.json", described)


def load(folder: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LanguageModel:
    """The language model in `folder`, with weights and products in `dtype`; errors are those of `convert.load`."""
    path = folder / "config.json"
    if not path.exists() or read_json(path).get("model_type") != LSTM_TYPE:
        return convert.load(folder, dtype, device)
    raw = {key: value for key, value in read_json(path).items() if key not in ("architectures", "model_type")}
    with torch.device("meta"):
        model = Lstm(from_dict(LstmConfig, raw, str(path)))
    weights = folder / convert.WEIGHTS
    if not weights.exists():
        raise ValueError(f"{folder}: no {convert.WEIGHTS}")
    tensors = load_file(weights)
    for name, parameter in model.named_parameters():
        found = list(tensors[name].shape) if name in tensors else None
        if found != list(parameter.shape):
            raise ValueError(f"{weights}: {name} has shape {found}, expected {list(parameter.shape)}")
    state = {name: tensors[name].to(device=device, dtype=dtype) for name, _ in model.named_parameters()}
    model.load_state_dict(state, assign=True)
    model.compute_dtype = dtype
    return model
