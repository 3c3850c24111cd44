"""Where tokenizers are found and kept: folders of models and runs, and the files of three formats.

A place is a folder with tokenizer.json or GPT-2's two files, a folder of results (the newest tokenizer below it), a
`tokenizer.json` by whatever name, or `FILE.tiktoken:SPLIT`, as that format does not say how it splits.
"""

from pathlib import Path
from typing import cast, get_args

from athanor.core.config import suggestion
from athanor.tokenizer.config import Convert, Split
from athanor.tokenizer.gpt2_files import write_gpt2_files
from athanor.tokenizer.tiktoken_file import read_tiktoken, write_tiktoken
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.tokenizer_json import read_tokenizer_json


def load_tokenizer(place: str | None) -> Tokenizer:
    """The tokenizer at `place`; raises ValueError that says where it was looked for."""
    name, _, split = (place or "").partition(".tiktoken:")
    if place and (split or place.endswith(".tiktoken")):
        path = Path(f"{name}.tiktoken" if split else place)
        if split not in get_args(Split):
            raise ValueError(
                f"{path} does not say how it splits text; write {path}:SPLIT, {suggestion(split, get_args(Split))}"
            )
        return Tokenizer(read_tiktoken(path, cast(Split, split)))
    if place and Path(place).is_file():
        return Tokenizer(read_tokenizer_json(Path(place)))
    return Tokenizer.load(find_tokenizer(place))


def find_tokenizer(place: str | None) -> Path:
    """The folder that holds `tokenizer.json`: `place`, or the newest below it; without a place, below runs/."""
    root = Path(place or "runs")
    if (root / "tokenizer.json").exists() or (root / "vocab.bpe").exists():
        return root
    found = sorted(root.glob("*/tokenizer.json")) + sorted(root.glob("*/*/tokenizer.json"))
    if not found:
        where = f"{root}: no tokenizer.json there or in the folders below" if root.is_dir() else f"no folder {root}"
        raise ValueError(f"{where}; name a folder with --tokenizer, or run a recipe first")
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def convert(options: Convert) -> None:
    """The command `athanor tokenizer convert`."""
    tokenizer = load_tokenizer(options.tokenizer)
    out = options.out
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    if options.to == "huggingface":
        tokenizer.save(out)
    elif options.to == "gpt2":
        write_gpt2_files(out / "encoder.json", out / "vocab.bpe", tokenizer.vocabulary)
    else:
        write_tiktoken(out / "tokenizer.tiktoken", tokenizer.vocabulary)
    written = ", ".join(sorted(path.name for path in out.iterdir()))
    kept = tokenizer.special_tokens if options.to != "tiktoken" else {}
    tokens = f"{len(tokenizer.vocabulary.ids) + len(kept):,} tokens"
    print(f"{out}: {written} ({tokens}, split {tokenizer.vocabulary.split})")
    if left_out := [token for token in tokenizer.special_tokens if token not in kept]:
        print(f"not in that format: the split, and the special tokens {', '.join(left_out)}")
