import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from athanor.core.documents import Document, write_shard
from athanor.tokenizer import shards_step, train_step
from athanor.tokenizer.config import TokenizeDocuments, TrainTokenizer
from athanor.tokenizer.token_shards import TokenDataset, verify
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer


@pytest.fixture(scope="module")
def mixture(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    documents = [Document(id=str(i), url="", text=text) for i, text in enumerate(texts)]
    for i in range(3):
        write_shard(folder / "train" / f"{i:05d}.parquet", documents[i:60:3])
    write_shard(folder / "high_quality" / "00000.parquet", documents[:5])
    write_shard(folder / "validation" / "00000.parquet", documents[60:])
    return folder


def train(mixture, out, **settings):
    out.mkdir(parents=True)
    return train_step.run(TrainTokenizer(**{"vocab_size": 700, **settings}), {"documents": mixture}, out)


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def trained(mixture, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "tokenizer"
    return out, train(mixture, out)


def test_training_writes_a_tokenizer_and_says_how_well_it_compresses(mixture, trained, texts):
    out, metrics = trained
    tokenizer = Tokenizer.load(out)
    assert metrics["vocab_size"] == tokenizer.vocab_size == 700
    assert metrics["merges"] == 700 - 256 - 6
    assert list(tokenizer.special_tokens) == list(SPECIAL_TOKENS)
    held_out = texts[60:]
    num_tokens = sum(len(tokenizer.encode(text)) for text in held_out)
    num_bytes = sum(len(text.encode()) for text in held_out)
    assert metrics["bytes_per_token"] == pytest.approx(num_bytes / num_tokens, abs=1e-4)
    assert metrics["measured_on"] == "validation"
    assert 0.5 < metrics["vocabulary_use"] <= 1
    assert metrics["documents"] == 60
    sample = json.loads((out / "sample.json").read_text())
    assert sample["steps"][0]["tokens"] == list(sample["text"])
    assert "".join(sample["steps"][-1]["tokens"]) == sample["text"]
    json.dumps(metrics, allow_nan=False)


def test_the_number_of_workers_changes_nothing(mixture, trained, tmp_path):
    out, metrics = trained
    again = train(mixture, tmp_path / "tokenizer", workers=3)
    assert contents(tmp_path / "tokenizer") == contents(out)
    assert {**again, "seconds": 0} == {**metrics, "seconds": 0}
    for workers in (1, 2):
        inputs = {"documents": mixture, "tokenizer": out}
        folder = tmp_path / f"tokens{workers}"
        folder.mkdir()
        shards_step.run(TokenizeDocuments(workers=workers), inputs, folder)
    assert contents(tmp_path / "tokens1") == contents(tmp_path / "tokens2")


def test_more_text_than_max_bytes_is_sampled_by_the_seed(mixture, tmp_path):
    kept = [train(mixture, tmp_path / f"{seed}{i}", max_bytes=100_000, seed=seed) for i, seed in enumerate((0, 0, 1))]
    assert kept[0]["bytes_available"] > 2 * kept[0]["bytes"] > 0
    assert 50_000 < kept[0]["bytes"] < 200_000
    assert kept[0]["tokenizer_sha256"] == kept[1]["tokenizer_sha256"] != kept[2]["tokenizer_sha256"]


def test_four_tiny_documents_are_enough(tmp_path):
    write_shard(tmp_path / "train" / "00000.parquet", [Document(id=str(i), url="", text="abc") for i in range(4)])
    out = tmp_path / "tokenizer"
    metrics = train(tmp_path, out)
    assert metrics["vocab_size"] == 256 + 2 + 6
    assert metrics["measured_on"] == "train"
    (tmp_path / "tokens").mkdir()
    shards_step.run(TokenizeDocuments(), {"documents": tmp_path, "tokenizer": out}, tmp_path / "tokens")
    assert TokenDataset(tmp_path / "tokens" / "train").num_tokens == 4 * 3


def test_no_text_is_an_error_that_names_the_folder(tmp_path):
    write_shard(tmp_path / "train" / "00000.parquet", [])
    with pytest.raises(ValueError, match="no text to train a tokenizer on"):
        train(tmp_path, tmp_path / "out")


def test_token_shards_hold_the_documents_of_each_part(mixture, trained, texts, tmp_path):
    out, _ = trained
    metrics = shards_step.run(TokenizeDocuments(), {"documents": mixture, "tokenizer": out}, tmp_path)
    for part, num_documents in (("train", 60), ("high_quality", 5), ("validation", len(texts) - 60)):
        dataset = verify(tmp_path / part)
        assert dataset.num_documents == metrics[part]["documents"] == num_documents
        assert dataset.num_tokens == metrics[part]["tokens"]
        assert dataset.num_bytes == metrics[part]["bytes"]
    tokenizer = Tokenizer.load(out)
    first = TokenDataset(tmp_path / "validation").document(0)
    assert tokenizer.decode(first[1:-1]) == texts[60]


RUN_AND_DIE = """
import os, sys
from pathlib import Path
from athanor.tokenizer import shards_step
from athanor.tokenizer.config import TokenizeDocuments

write, calls = shards_step.write_token_shard, []

def dies_in_the_second_shard(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        (arguments[2] / ".00001.tok.half.part").write_bytes(b"half a shard")
        os.kill(os.getpid(), 9)
    return write(*arguments)

shards_step.write_token_shard = dies_in_the_second_shard
documents, tokenizer, out = map(Path, sys.argv[1:])
shards_step.run(TokenizeDocuments(), {"documents": documents, "tokenizer": tokenizer}, out)
"""


def test_a_killed_run_continues_to_the_same_bytes(mixture, trained, tmp_path):
    tokenizer, _ = trained
    inputs = {"documents": mixture, "tokenizer": tokenizer}
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", RUN_AND_DIE, mixture, tokenizer, tmp_path / "killed"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    assert not (tmp_path / "killed" / "train" / "tokens.json").exists()
    finished = (tmp_path / "killed" / "train" / "00000.tok").stat().st_mtime_ns

    continued = shards_step.run(TokenizeDocuments(), inputs, tmp_path / "killed")
    whole = shards_step.run(TokenizeDocuments(), inputs, tmp_path / "whole")
    assert continued == whole
    assert (tmp_path / "killed" / "train" / "00000.tok").stat().st_mtime_ns == finished
    kept = contents(tmp_path / "killed")
    assert {name: value for name, value in kept.items() if not Path(name).name.startswith(".")} == contents(
        tmp_path / "whole"
    )


@pytest.mark.parametrize("vocab_size", [261, 2**20 + 1])
def test_a_vocabulary_that_cannot_be_is_refused_before_any_work(vocab_size):
    with pytest.raises(ValueError, match=f"vocab_size is {vocab_size}; choose 262"):
        TrainTokenizer(vocab_size=vocab_size)


def test_reading_configs_imports_nothing_heavy():
    code = (
        "import sys, athanor.tokenizer.config\n"
        "heavy = {'numba', 'numpy', 'pyarrow', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_manifest_of_the_mixture_goes_on_to_training_and_a_damaged_one_is_refused(mixture, trained, tmp_path):
    copy = shutil.copytree(mixture, tmp_path / "mixture")
    counts = {"train": 1, "high_quality": 0, "validation": 1}
    source = {"documents": 1, "bytes": 1, "tokens": 1, "weight": 1.0, "epochs": 1.0, "share": 1.0}
    manifest = {"format": 2, "by": "source", "sources": {"a": source}, "warn_epochs": 4.0, "extra": [1]}
    manifest |= {"documents": counts, "bytes": counts, "tokens": counts}
    (copy / "mixture.json").write_text(json.dumps(manifest))
    inputs = {"documents": copy, "tokenizer": trained[0]}
    shards_step.run(TokenizeDocuments(), inputs, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "mixture.json").read_text()) == manifest
    (copy / "mixture.json").write_text(json.dumps(manifest | {"sources": {}}))
    with pytest.raises(ValueError, match="no sources"):
        shards_step.run(TokenizeDocuments(), inputs, tmp_path / "again")
