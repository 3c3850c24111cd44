"""The step `tokenizer.shards`: document shards -> token datasets.

In: `documents`, a folder with the parts train/, high_quality/ and validation/ (those that exist are done), and
`tokenizer`. Out: a token dataset for each part; one token shard for every document shard; and the mixture's
manifest, which training reads.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_json, write_json
from athanor.core.documents import shards
from athanor.core.mixture import MIXTURE, read_mixture
from athanor.core.workers import map_shards
from athanor.tokenizer.config import TokenizeDocuments
from athanor.tokenizer.token_shards import Shard, write_dataset_manifest, write_token_shard
from athanor.tokenizer.tokenizer import Tokenizer

PARTS = ("train", "high_quality", "validation")


def run(config: TokenizeDocuments, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write a token dataset for each part of `inputs["documents"]`; returns the counts of each."""
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    metrics: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "tokenizer_sha256": tokenizer.sha256}
    parts = [part for part in PARTS if (inputs["documents"] / part).is_dir()]
    if "train" not in parts:
        raise ValueError(
            f"{inputs['documents']}: no folder train/ of documents; parts found: {', '.join(parts) or 'none'}"
        )
    for part in parts:
        (out / part).mkdir(parents=True, exist_ok=True)
        found = map_shards(
            partial(
                _tokenize_shard,
                tokenizer_folder=inputs["tokenizer"],
                out=out / part,
                with_gigatoken=config.encoder == "gigatoken",
            ),
            shards(inputs["documents"] / part),
            workers=config.workers,
            done=out / WORK / part,
            label=f"tokenize {part}",
        )
        manifest = write_dataset_manifest(out / part, tokenizer, [Shard(**row) for row in found])
        metrics[part] = {
            "documents": manifest["num_documents"],
            "tokens": manifest["num_tokens"],
            "bytes": manifest["num_bytes"],
            "shards": len(found),
            "dataset_id": manifest["dataset_id"],
        }
    if read_mixture(inputs["documents"]):  # checked here, read by training
        write_json(out / MIXTURE, read_json(inputs["documents"] / MIXTURE))
    if metrics["train"]["documents"] == 0:
        raise ValueError(f"{inputs['documents'] / 'train'}: no documents to train on")
    for key in ("documents", "tokens", "bytes"):
        metrics[key] = metrics["train"][key]
    return metrics


def _tokenize_shard(shard: Path, tokenizer_folder: Path, out: Path, with_gigatoken: bool) -> dict[str, Any]:
    tokenizer = _loaded(tokenizer_folder, with_gigatoken)
    return asdict(write_token_shard(shard, tokenizer, out, shard.stem))


@lru_cache(maxsize=1)  # once a process, not once a shard
def _loaded(folder: Path, with_gigatoken: bool) -> Tokenizer:
    tokenizer = Tokenizer.load(folder)
    if with_gigatoken:
        tokenizer.use_gigatoken()
    return tokenizer
