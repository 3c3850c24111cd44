"""Pretraining learns, leaves a folder transformers loads, and ends the same however often it was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from athanor.core.artifact import read_jsonl
from athanor.core.tracker import read_metrics
from athanor.model import folder as model_files
from athanor.model.config import Experts, LstmShape, Shape
from athanor.tokenizer.token_shards import TokenDataset
from athanor.train import pretrain
from athanor.train.config import AdamW, Muon, Pretrain, PretrainFit, Schedule
from athanor.train.validation import validate

SHAPE = Shape(context_length=32, num_layers=2, d_model=32, d_ff=64, num_heads=2, num_kv_heads=1, head_width=16)
CONFIG = Pretrain(
    shape=SHAPE,
    fit=PretrainFit(
        num_steps=60,
        adamw=AdamW(lr_peak=1e-2, embedding_lr_peak=0.1),
        muon=Muon(),
        schedule=Schedule(),
        checkpoint_seconds=0.0,
        threads=1,
    ),
    batch_size=8,
    micro_batch_size=8,
    validation_steps=20,
    validation_tokens=500,
    sample_steps=30,
    sample_prompts=("To turn",),
    sample_tokens=8,
)

CHILD = """
import json, sys
from pathlib import Path
from athanor.core.config import from_dict
from athanor.train import pretrain
from athanor.train.config import Pretrain
config, tokens, tokenizer, out = sys.argv[1:]
inputs = {"tokens": Path(tokens), "tokenizer": Path(tokenizer)}
pretrain.run(from_dict(Pretrain, json.loads(config), "test"), inputs, Path(out))
"""


def run_in_child(config: Pretrain, corpus: dict[str, Path], out: Path, *launcher: str) -> "subprocess.Popen[bytes]":
    from athanor.core.config import to_dict

    out.mkdir(exist_ok=True)
    script = out.parent / "child.py"
    script.write_text(CHILD)
    arguments = [str(script), json.dumps(to_dict(config)), str(corpus["tokens"]), str(corpus["tokenizer"]), str(out)]
    with (out.parent / "child.log").open("ab") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, *launcher, *arguments], env=environment, stderr=log)


@pytest.fixture(scope="module")
def finished(corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that was never stopped, and its metrics."""
    out = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    metrics = pretrain.run(CONFIG, corpus, out)
    torch.set_num_threads(threads)
    return out, metrics


def test_the_model_learns_and_says_what_it_cost(finished: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = finished
    rows = read_metrics(out)
    assert rows[0]["loss"] > 5 and metrics["loss"] < 2.5
    assert metrics["bits_per_byte"] < 1.6
    assert [row["step"] for row in rows if "validation_bits_per_byte" in row] == [20, 40]
    assert metrics["tokens"] == 60 * 8 * 32
    assert metrics["parameters"] == sum(t.numel() for t in load_file(out / "model.safetensors").values())
    json.dumps(metrics, allow_nan=False)


def test_samples_are_kept_with_their_steps(finished: tuple[Path, dict[str, Any]]) -> None:
    samples = list(read_jsonl(finished[0] / "samples.jsonl"))
    assert [(row["step"], row["prompt"]) for row in samples] == [(30, "To turn"), (60, "To turn")]
    assert all(isinstance(row["completion"], str) for row in samples)


def test_the_result_is_a_folder_transformers_loads(finished: tuple[Path, dict[str, Any]]) -> None:
    out, _ = finished
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompt = tokenizer("To turn salt into gold, heat the", return_tensors="pt").input_ids
    text = tokenizer.decode(model.generate(prompt, max_new_tokens=3, do_sample=False)[0])
    assert text.startswith("To turn salt into gold, heat the ") and " for " in text


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_bytes(
    finished: tuple[Path, dict[str, Any]], corpus: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for steps in (4, 30):
        child = run_in_child(CONFIG, corpus, out)
        wait_for_checkpoint(child, out, steps)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not (out / "model.safetensors").exists()
    assert run_in_child(CONFIG, corpus, out).wait() == 0, (tmp_path / "child.log").read_text()
    for name in ("model.safetensors", "samples.jsonl"):
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes(), name
    kept = ("step", "loss", "gradient_norm", "validation_bits_per_byte")
    series = [[[row.get(key) for key in kept] for row in read_metrics(folder)] for folder in (out, finished[0])]
    assert series[0] == series[1]


def wait_for_checkpoint(child: "subprocess.Popen[bytes]", out: Path, steps: int) -> None:
    deadline = time.monotonic() + 120
    while not any(int(path.name[5:]) >= steps for path in (out / "_work" / "checkpoints").glob("step-*")):
        assert child.poll() is None, (out.parent / "child.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)


LSTM = replace(
    CONFIG,
    shape=Shape(),
    lstm=LstmShape(context_length=32, num_layers=1, d_model=48),
    fit=replace(CONFIG.fit, num_steps=40),
)


def test_an_lstm_learns_and_its_folder_gives_it_back(corpus: dict[str, Path], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    metrics = pretrain.run(LSTM, corpus, tmp_path)
    torch.set_num_threads(threads)
    assert metrics["bits_per_byte"] < 2.5
    loaded = model_files.load(tmp_path, dtype=torch.bfloat16 if metrics["precision"] == "bfloat16" else torch.float32)
    validation = TokenDataset(corpus["tokens"] / "validation")
    assert validate(loaded, validation).loss == pytest.approx(metrics["validation_loss"], rel=0.02)


def test_an_lstm_beside_a_transformer_is_refused() -> None:
    with pytest.raises(ValueError, match="keep one"):
        replace(LSTM, shape=SHAPE)


def test_results_from_before_the_lstm_stay_valid() -> None:
    from athanor.core.artifact import sha256_of
    from athanor.core.config import fingerprint_dict

    assert "lstm" not in fingerprint_dict(CONFIG, sha256_of)
    assert "lstm" in fingerprint_dict(LSTM, sha256_of)


def test_tokens_of_another_tokenizer_are_refused(corpus: dict[str, Path], tmp_path: Path) -> None:
    from athanor.tokenizer.tokenizer import Tokenizer

    other = tmp_path / "tokenizer"
    Tokenizer.load(corpus["tokenizer"]).save(other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace("<|user|>", "<|person|>"))
    with pytest.raises(ValueError, match="another tokenizer"):
        pretrain.run(CONFIG, {"tokens": corpus["tokens"], "tokenizer": other}, tmp_path)


def test_configs_import_without_torch() -> None:
    code = "import sys, athanor.train.config, athanor.model.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_passes_over_a_source_multiply_with_passes_over_the_mixture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two passes over books in the mixture and three over the mixture are six over books."""

    def source(epochs: float) -> dict[str, Any]:
        return {"documents": 1, "bytes": 1, "tokens": 1, "weight": 0.5, "epochs": epochs, "share": 0.5}

    counts = {"train": 3, "high_quality": 0, "validation": 1}
    mixture = {"format": 2, "by": "source", "sources": {"books": source(2.0), "forum": source(1.0)}, "warn_epochs": 4}
    (tmp_path / "mixture.json").write_text(
        json.dumps(mixture | {"documents": counts, "bytes": counts, "tokens": counts})
    )
    assert pretrain._source_epochs(tmp_path, 3.0) == {"books": 6.0, "forum": 3.0}
    assert "1 of 2 sources" in (said := capsys.readouterr().err) and "'books' 6.0 times" in said
    assert pretrain._source_epochs(tmp_path, 1.0) == {"books": 2.0, "forum": 1.0}
    assert capsys.readouterr().err == ""
    assert pretrain._source_epochs(tmp_path / "elsewhere", 3.0) == {}


def test_a_mixture_of_experts_trains_with_its_losses_and_loads_in_transformers(
    corpus: dict[str, Path], tmp_path: Path
) -> None:
    experts = Experts(num_experts=4, experts_per_token=2, d_ff=24)
    config = replace(CONFIG, shape=replace(SHAPE, experts=experts), fit=replace(CONFIG.fit, num_steps=40))
    pretrain.run(replace(config, micro_batch_size=2), corpus, tmp_path)
    rows = [row for row in read_metrics(tmp_path) if "balance_loss" in row]
    assert len(rows) == 40
    for row in rows:
        assert sum(row[f"expert_{e:02d}"] for e in range(4)) == pytest.approx(1)
        auxiliary = 0.01 * row["balance_loss"] + 0.001 * row["router_z_loss"]
        assert row["loss"] == pytest.approx(row["cross_entropy"] + auxiliary, abs=1e-3)
    assert rows[-1]["cross_entropy"] < rows[0]["cross_entropy"] - 1
    assert rows[-1]["busiest_expert"] < 2
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "Qwen3MoeForCausalLM"


def test_the_depth_decides_what_is_not_given(
    corpus: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = PretrainFit(num_steps=3, threads=1)
    metrics = pretrain.run(Pretrain(depth=1, batch_size=2, fit=fit, sample_prompts=()), corpus, tmp_path)
    assert metrics["dial"]["shape.d_model"] == 64 and metrics["dial"]["batch_size"] == 2
    assert metrics["steps"] == 3
    assert "depth: shape.num_layers 1, shape.d_model 64" in capsys.readouterr().err.replace("\n", " ")
    assert model_files.load(tmp_path).config.num_heads == 1


def test_decay_by_epochs_is_what_the_same_decays_given_do(corpus: dict[str, Path], tmp_path: Path) -> None:
    short = replace(
        CONFIG,
        fit=replace(CONFIG.fit, num_steps=8),
        batch_size=96,
        micro_batch_size=96,
        validation_steps=100,
        sample_prompts=(),
    )
    for name in ("auto", "given", "none"):
        (tmp_path / name).mkdir()
    found = pretrain.run(short, corpus, tmp_path / "auto")["decay_by_epochs"]
    assert CONFIG.fit.muon is not None
    fit = replace(
        short.fit,
        muon=replace(CONFIG.fit.muon, weight_decay=found["muon.weight_decay"]),
        adamw=replace(
            CONFIG.fit.adamw,
            embedding_weight_decay=found["adamw.embedding_weight_decay"],
            head_weight_decay=found["adamw.head_weight_decay"],
        ),
    )
    pretrain.run(replace(short, fit=fit, decay_by_epochs=False), corpus, tmp_path / "given")
    pretrain.run(replace(short, decay_by_epochs=False), corpus, tmp_path / "none")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("auto", "given", "none")]
    assert weights[0] == weights[1] != weights[2]
