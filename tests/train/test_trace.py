"""A batch leads back to the documents in it, and to their pages where the documents are still there."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from athanor.core.artifact import sha256_of
from athanor.core.documents import read_shard
from athanor.tokenizer.packing import pack
from athanor.tokenizer.token_shards import TokenDataset
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train import trace
from athanor.train.watch import Spike

SPIKE = Spike(step=3, loss=9.0, usual=2.0, limit=3.0)


@pytest.fixture
def documents(corpus: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of documents, which the manifest beside the tokens names."""
    manifest = SimpleNamespace(input_folders={"documents": "documents"})
    monkeypatch.setattr(trace, "read_manifest", lambda folder: manifest)
    trace._names.cache_clear()
    return corpus["tokens"].parent / "documents"


def test_every_piece_of_a_row_is_named_with_its_page_and_its_tokens(corpus: dict[str, Path], documents: Path) -> None:
    rows = pack(TokenDataset(corpus["tokens"] / "train"), 64, seed=0)
    tokenizer = Tokenizer.load(corpus["tokenizer"])
    pages = read_shard(documents / "train" / "00000.parquet")
    asked = []
    (told,) = trace.traced([SPIKE], lambda step: asked.append(step) or [(rows, 5), (rows, 0)])
    assert asked == [2] and told["step"] == 3 and {piece["row"] for piece in told["documents"]} == {0, 1}
    for place, row in ((0, 5), (1, 0)):
        found: list[int] = []
        for piece in (piece for piece in told["documents"] if piece["row"] == place):
            page = pages[piece["document"]]
            assert (piece["id"], piece["url"]) == (page.id, page.url)
            tokens = [tokenizer.bos_id, *tokenizer.encode(page.text), tokenizer.eos_id]
            found += tokens[piece["start"] : piece["start"] + piece["length"]]
        assert np.array_equal(found, rows.row_tokens(row)[: len(found)]) and len(found) > 32
    json.dumps(told, allow_nan=False)


def test_documents_that_changed_since_are_not_named(corpus: dict[str, Path], documents: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus["tokens"], tmp_path / "tokens")
    shutil.copytree(documents, tmp_path / "documents")
    shutil.copy(documents / "validation" / "00000.parquet", tmp_path / "documents" / "train" / "00000.parquet")
    assert sha256_of(tmp_path / "documents" / "train" / "00000.parquet")
    rows = pack(TokenDataset(tmp_path / "tokens" / "train"), 64, seed=0)
    (told,) = trace.traced([SPIKE], lambda step: [(rows, 0)])
    assert all(piece["id"] is None and piece["length"] > 0 for piece in told["documents"])


def test_only_the_worst_spikes_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_SPIKES", 2)
    spikes = [Spike(step, loss, 1.0, 2.0) for step, loss in ((1, 5.0), (2, 3.0), (3, 4.0))]
    assert [told["step"] for told in trace.traced(spikes, lambda step: [])] == [1, 3]
