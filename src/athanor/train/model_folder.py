"""A model with its tokenizer in one folder: this package loads it, transformers and vLLM do if it is a Transformer."""

import json
import shutil
from pathlib import Path
from typing import Any

from athanor.core.artifact import atomic_path, read_json, write_json, write_text
from athanor.model import folder as model_files
from athanor.model.language_model import LanguageModel
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.tokenizer_json import added_token


def write_model_folder(model: LanguageModel, folder: Path, tokenizer: Path, changed: Tokenizer | None = None) -> None:
    """Write weights, config and generation config to `folder`, and the files of the tokenizer in `tokenizer`.

    `changed` is that tokenizer with another chat template, or with special tokens added.
    """
    model_files.save(model, folder)
    copy_tokenizer(tokenizer, folder, changed)


def copy_tokenizer(source: Path, folder: Path, changed: Tokenizer | None = None) -> None:
    """Write the tokenizer of `source`, or the `changed` one, and the generation config that follows from it.

    Files made elsewhere keep what this package does not read; the chat template comes to stand in
    tokenizer_config.json, whichever file it was in.
    """
    tokenizer = changed or Tokenizer.load(source)
    if (source / "tokenizer.json").exists():
        added = _copy_tokens(source / "tokenizer.json", folder / "tokenizer.json", tokenizer)
        path = source / "tokenizer_config.json"
        config: dict[str, Any] = read_json(path) if path.exists() else {"tokenizer_class": "PreTrainedTokenizerFast"}
        if tokenizer.has_chat_template:
            config["chat_template"] = tokenizer.chat_template
        config |= {name: token for name, token in _named(tokenizer).items() if token in added}
        write_json(folder / "tokenizer_config.json", config)
    else:
        tokenizer.save(folder)
    generation: dict[str, Any] = {"eos_token_id": tokenizer.stop_ids, "do_sample": True}
    if tokenizer.bos_token in tokenizer.special_tokens:
        generation["bos_token_id"] = tokenizer.bos_id
    if tokenizer.stop_ids:
        generation["pad_token_id"] = tokenizer.stop_ids[0]
    write_json(folder / "generation_config.json", generation)


def _copy_tokens(source: Path, target: Path, tokenizer: Tokenizer) -> list[str]:
    """Copy tokenizer.json with the special tokens that it lacks; returns those."""
    raw = read_json(source)
    listed = raw.get("added_tokens") or []
    known = {entry["content"] for entry in listed}
    added = [token for token in tokenizer.special_tokens if token not in known]
    if not added:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return []
    raw["added_tokens"] = [*listed, *(added_token(token, tokenizer.special_tokens[token]) for token in added)]
    write_text(target, json.dumps(raw, ensure_ascii=False, indent=1) + "\n")
    return added


def _named(tokenizer: Tokenizer) -> dict[str, str]:
    return {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
