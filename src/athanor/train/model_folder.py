"""A model with its tokenizer in one folder: this package loads it, transformers and vLLM do if it is a Transformer."""

import shutil
from pathlib import Path

from athanor.core.artifact import atomic_path, write_json
from athanor.model import folder as model_files
from athanor.model.language_model import LanguageModel
from athanor.tokenizer.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_model_folder(model: LanguageModel, folder: Path, tokenizer: Path) -> None:
    """Write weights, config and generation config to `folder`, and the files of the tokenizer in `tokenizer`."""
    model_files.save(model, folder)
    copy_tokenizer(tokenizer, folder)


def copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Copy the tokenizer's files to `folder` and write the generation config that follows from them."""
    for name in TOKENIZER_FILES:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(tokenizer / name, temporary)
    loaded = Tokenizer.load(tokenizer)
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": loaded.bos_id,
            "eos_token_id": [loaded.eos_id, loaded.end_of_turn_id],
            "pad_token_id": loaded.eos_id,
            "do_sample": True,
        },
    )
