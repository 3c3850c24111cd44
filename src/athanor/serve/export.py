"""A model as a Hugging Face folder for other tools: transformers, vLLM, llama.cpp.

The folder is the model folder itself, checked, with a model card that tells where it comes from. It appears whole or
not at all. Left out: other weight formats; each of those tools converts from this one.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from athanor.core.artifact import MANIFEST, Manifest, read_json, read_manifest, write_json, write_text
from athanor.core.console import say
from athanor.model import convert
from athanor.model.families import ARCHITECTURES
from athanor.model.stored_tensors import weight_files
from athanor.serve.config import Export
from athanor.serve.find import find_model, model_name
from athanor.serve.loaded import load_model
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.model_folder import copy_tokenizer

CARD = "README.md"
MADE_BY_US = "Made by athanor."  # in the card; only such a folder is ever replaced


def main(options: Export) -> None:
    """The command `athanor export`."""
    destination = Path(options.to).expanduser()
    export(find_model(options.model), destination, name=model_name(options.model), overwrite=options.overwrite)
    say(f"exported to {destination}")
    say(f"  transformers   AutoModelForCausalLM.from_pretrained({str(destination)!r})")
    say(f"  vLLM           vllm serve {destination}")


def export(source: Path, destination: Path, *, name: str | None = None, overwrite: bool = False) -> None:
    """Writes the model folder `source` (see `find_model`) to `destination`, checked and with a model card.

    Raises ValueError for an incomplete or damaged model, and for a destination that holds something else.
    """
    _check_destination(destination, source, overwrite)
    name = name or source.name
    config = _checked_config(source)
    loaded = load_model(source, name)  # raises where weights, shape and tokenizer do not belong together
    _check_finite(loaded.model, source)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        index = [convert.INDEX] if (source / convert.INDEX).exists() else []
        for file in ["config.json", *index, *(path.name for path in weight_files(source))]:
            shutil.copyfile(source / file, temporary / file)
        copy_tokenizer(source, temporary)
        write_json(temporary / "generation_config.json", _generation_config(source, loaded.tokenizer))
        num_parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
        write_text(temporary / CARD, model_card(name, config, num_parameters, lineage(source)))
        temporary.chmod(0o755)
        if destination.exists():
            shutil.rmtree(destination)
        temporary.replace(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_destination(destination: Path, source: Path, overwrite: bool) -> None:
    if not destination.exists():
        return
    if not destination.is_dir():
        raise ValueError(f"{destination} is a file; choose another folder to write")
    if not any(destination.iterdir()):
        return
    card = destination / CARD
    is_ours = card.exists() and MADE_BY_US in card.read_text(encoding="utf-8", errors="replace")
    if not is_ours or destination.resolve() == source.resolve():
        raise ValueError(f"{destination} holds other files; choose a new or an empty folder")
    if not overwrite:
        raise ValueError(f"{destination} holds an earlier export; --overwrite replaces it")


def _checked_config(source: Path) -> dict[str, Any]:
    config: dict[str, Any] = read_json(source / "config.json")
    architectures = config.get("architectures") or []
    if str(config.get("model_type", "")).startswith("athanor_"):
        parts = [name for name in ("value_embeddings", "window_layers", "experts") if config.get(name)]
        raise ValueError(
            f"{source}: no architecture of Hugging Face computes this model ({', '.join(parts) or 'an LSTM'}); chat,"
            " serve and evaluation take it as it is, a model pretrained without these options can be exported"
        )
    if not set(architectures) & set(ARCHITECTURES):
        raise ValueError(
            f"{source / 'config.json'}: architecture {', '.join(architectures) or 'not named'}; "
            f"a Hugging Face folder holds one of {', '.join(ARCHITECTURES)}"
        )
    return config


def _check_finite(model: torch.nn.Module, source: Path) -> None:
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if broken:
        raise ValueError(f"{source / convert.WEIGHTS}: weights are not finite in {', '.join(broken[:5])}")


def _generation_config(source: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """The folder's own settings, or at least where generation begins and ends."""
    path = source / "generation_config.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    begins = {} if tokenizer.bos_token not in tokenizer.special_tokens else {"bos_token_id": tokenizer.bos_id}
    return {**begins, "eos_token_id": tokenizer.stop_ids, **found}


def lineage(source: Path) -> list[Manifest]:
    """The manifests of the step that made `source` and of all it rests on, in the order they were made."""
    found: dict[str, Manifest] = {}
    _gather(source, found)
    return sorted(found.values(), key=lambda manifest: (manifest.started, manifest.name))


def _gather(folder: Path, found: dict[str, Manifest]) -> None:
    if not (folder / MANIFEST).exists():
        return
    manifest = read_manifest(folder)
    if manifest is None or manifest.fingerprint in found:
        return
    found[manifest.fingerprint] = manifest
    for name in manifest.input_folders.values():
        _gather(folder.resolve().parent / name, found)


def model_card(name: str, config: dict[str, Any], num_parameters: int, steps: list[Manifest]) -> str:
    """The README.md of an exported folder."""
    return "\n".join(_card_lines(name, config, num_parameters, steps)) + "\n"


def _card_lines(name: str, config: dict[str, Any], num_parameters: int, steps: list[Manifest]) -> Iterator[str]:
    yield from ("---", "library_name: transformers", "pipeline_tag: text-generation", "tags:", "- athanor", "---", "")
    yield from (f"# {name}", "", MADE_BY_US, "")
    yield from ("| | |", "|---|---|")
    yield f"| architecture | {', '.join(config['architectures'])} |"
    yield f"| parameters | {num_parameters:,} (all) |"
    yield f"| layers | {config['num_hidden_layers']} |"
    yield f"| width | {config['hidden_size']} |"
    yield f"| heads | {config['num_attention_heads']} |"
    yield f"| vocabulary | {config['vocab_size']:,} |"
    yield f"| context | {config['max_position_embeddings']} tokens |"
    yield f"| weights | {config.get('dtype') or config.get('torch_dtype') or 'float32'} |"
    yield from ("", "## Use", "", "```python", "from transformers import AutoModelForCausalLM, AutoTokenizer", "")
    yield 'tokenizer = AutoTokenizer.from_pretrained(".")'
    yield 'model = AutoModelForCausalLM.from_pretrained(".")'
    yield 'messages = [{"role": "user", "content": "..."}]'
    yield "prompt = tokenizer.apply_chat_template("
    yield '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True'
    yield ")"
    yield "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100)[0]))"
    yield from ("```", "", "## Lineage", "")
    if not steps:
        yield "The folder that was exported has no manifest: it was not made by a step of a recipe."
        return
    yield "Each step with the fingerprint of all that decided its result."
    yield from ("", "| step | kind | fingerprint | rests on |", "|---|---|---|---|")
    for step in steps:
        yield f"| {step.name} | {step.kind} | `{step.fingerprint[:16]}` | {', '.join(sorted(step.inputs)) or '-'} |"
    numbers = _numbers(steps[-1])
    if numbers:
        yield from ("", f"## Metrics of {steps[-1].name}", "", "```json", json.dumps(numbers, indent=2), "```")


def _numbers(step: Manifest) -> dict[str, Any]:
    """The plain numbers among a step's metrics."""
    return {
        key: value
        for key, value in step.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
