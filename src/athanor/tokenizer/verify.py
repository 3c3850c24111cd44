"""`athanor tokenizer verify FOLDER`: are the token shards what was written?"""

from pathlib import Path

from athanor.tokenizer.config import Verify
from athanor.tokenizer.token_shards import MANIFEST, verify


def main(options: Verify) -> int:
    """Compare every byte of the datasets below a folder with its SHA-256; the exit status is 1 if one is damaged."""
    folders = datasets_below(options.folder)
    if not folders:
        raise ValueError(f"{options.folder}: no token dataset ({MANIFEST}) here or below")
    damaged = 0
    for folder in folders:
        try:
            dataset = verify(folder)
        except ValueError as error:
            damaged += 1
            print(f"damaged  {error}")
            continue
        size = sum(shard.size_bytes for shard in dataset.shards)
        counts = f"{dataset.num_tokens:,} tokens, {dataset.num_documents:,} documents, {size:,} bytes"
        print(f"whole    {folder}: {len(dataset.shards)} shards, {counts}, dataset {dataset.dataset_id[:12]}")
    return 1 if damaged else 0


def datasets_below(folder: Path) -> list[Path]:
    """The folders of token datasets at or below `folder`, unfinished steps left out."""
    found = sorted(folder.rglob(MANIFEST)) if folder.is_dir() else []
    return [path.parent for path in found if "_work" not in path.parts]
