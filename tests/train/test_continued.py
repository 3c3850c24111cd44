"""Pretraining goes on: with a model trained before, in its data, and after being killed, with every option on."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from athanor.core.artifact import read_json, read_jsonl
from athanor.core.tracker import read_metrics
from athanor.model.attention import causal
from athanor.model.config import Shape
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train import pretrain, watch
from athanor.train.beginning import start_model
from athanor.train.config import AdamW, Phase, Pretrain, PretrainFit, Schedule

SHAPE = Shape(context_length=32, num_layers=1, d_model=16, d_ff=32, num_heads=2, num_kv_heads=1, head_width=8)
CONFIG = Pretrain(
    shape=SHAPE,
    fit=PretrainFit(
        num_steps=6,
        adamw=AdamW(lr_peak=1e-2),
        schedule=Schedule(warmup_share=0.2, decay_share=0.0),
        checkpoint_seconds=0.0,
        threads=1,
    ),
    batch_size=4,
    micro_batch_size=2,
    validation_steps=100,
    validation_tokens=100,
    sample_steps=3,
    sample_prompts=("To turn",),
    sample_tokens=2,
)


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def first(corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first")
    metrics = pretrain.run(CONFIG, corpus, out)
    assert metrics["mfu"] > 0 and metrics["peak_memory_bytes"] > 10**7 and metrics["rows_drawn"] == {"train": 24}
    assert all(row["mfu"] > 0 for row in read_metrics(out))
    return out


def test_a_continued_model_starts_as_it_was_and_goes_on_in_its_data(
    corpus: dict[str, Path], first: Path, tmp_path: Path
) -> None:
    inputs = corpus | {"init_from": first, "replay": corpus["tokens"]}
    config = replace(CONFIG, shape=Shape(), batch_size=8, continue_data=True, replay_share=0.25)
    model = start_model(config, inputs, Tokenizer.load(corpus["tokenizer"]))
    weights = load_file(first / "model.safetensors")
    assert torch.equal(model.embedding.weight, weights["model.embed_tokens.weight"])
    metrics = pretrain.run(config, inputs, tmp_path)
    state = read_json(tmp_path / "data.json")
    assert metrics["rows_drawn"] == {"train": 36, "replay": 12}
    assert state["rows_drawn"]["train"] == 24 + 36 and state["samples"] == 48
    assert read_metrics(tmp_path)[0]["loss"] < read_metrics(first)[0]["loss"] - 0.5


def test_a_model_of_transformers_is_gone_on_with(
    corpus: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer.load(corpus["tokenizer"])
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=tokenizer.vocab_size + 8,  # tables are often longer than the vocabulary
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
        )
    )
    llama.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(corpus["tokenizer"] / name, tmp_path / name)
    config = replace(CONFIG, shape=Shape(context_length=32))
    model = start_model(config, corpus | {"init_from": tmp_path}, tokenizer)
    assert model.config.context_length == 32
    tokens = torch.arange(20)[None]
    torch.testing.assert_close(model.logits(model(tokens, causal(1, 20))), llama(tokens).logits, atol=1e-4, rtol=1e-4)
    for rate, told in ((0.2, True), (2e-4, False)):
        fit = replace(config.fit, adamw=replace(config.fit.adamw, embedding_lr_peak=rate))
        capsys.readouterr()
        start_model(replace(config, fit=fit), corpus | {"init_from": tmp_path}, tokenizer)
        said = " ".join(capsys.readouterr().err.split())
        assert ("embedding_lr_peak 0.2 is more than the entries of that table, about 0.02" in said) == told


def test_another_tokenizer_or_shape_is_refused(corpus: dict[str, Path], first: Path, tmp_path: Path) -> None:
    shutil.copytree(first, tmp_path / "model")
    text = (tmp_path / "model" / "tokenizer.json").read_text()
    (tmp_path / "model" / "tokenizer.json").write_text(text.replace("<|user|>", "<|person|>"))
    tokenizer = Tokenizer.load(corpus["tokenizer"])
    with pytest.raises(ValueError, match="its tokenizer is not the one"):
        start_model(CONFIG, corpus | {"init_from": tmp_path / "model"}, tokenizer)
    with pytest.raises(ValueError, match=r"another shape .*d_model 64"):
        start_model(replace(CONFIG, shape=Shape(d_model=64)), corpus | {"init_from": first}, tokenizer)


def test_changed_data_is_refused_by_its_content(corpus: dict[str, Path], first: Path, tmp_path: Path) -> None:
    changed = tmp_path / "tokens"
    shutil.copytree(corpus["tokens"], changed)
    shutil.rmtree(changed / "train")
    shutil.copytree(changed / "high_quality", changed / "train")
    inputs = corpus | {"tokens": changed}
    with pytest.raises(ValueError, match="the content of 'train' is not what"):
        pretrain.run(replace(CONFIG, shape=Shape(), continue_data=True), inputs | {"init_from": first}, tmp_path / "a")
    shutil.copytree(first, tmp_path / "stopped")
    with pytest.raises(ValueError, match="the content of train has changed"):
        pretrain.run(CONFIG, inputs, tmp_path / "stopped")


def test_a_dataset_that_is_not_there_is_an_error_that_names_those_that_are(
    corpus: dict[str, Path], tmp_path: Path
) -> None:
    config = replace(CONFIG, mixture={"train": 1.0, "code": 0.5})
    with pytest.raises(ValueError, match=r"no dataset 'code'.*high_quality, train, validation; further inputs: none"):
        pretrain.run(config, corpus, tmp_path)
    with pytest.raises(ValueError, match="replay_share: give the data that the model was trained on before"):
        pretrain.run(replace(CONFIG, replay_share=0.2), corpus, tmp_path)
    with pytest.raises(ValueError, match="continue_data: give init_from"):
        pretrain.run(replace(CONFIG, continue_data=True), corpus, tmp_path)


def test_further_inputs_are_datasets_of_a_mixture(corpus: dict[str, Path], tmp_path: Path) -> None:
    inputs = corpus | {"code": corpus["tokens"] / "high_quality"}
    phases = (Phase({"train": 0.5, "code": 0.5}), Phase({"code": 1.0}, start_share=0.5))
    metrics = pretrain.run(replace(CONFIG, phases=phases), inputs, tmp_path)
    assert metrics["rows_drawn"] == {"train": 6, "code": 6 + 12}


class Killed(Exception):
    """Stands for kill -9 in the middle of a run."""


EVERYTHING = replace(
    CONFIG,
    z_loss=1e-4,
    mask_documents=True,
    phases=(Phase({"train": 0.7, "high_quality": 0.3}), Phase({"high_quality": 1.0}, start_share=0.5)),
    fit=replace(CONFIG.fit, ema=0.8, recompute=True),
)


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_killed_with_every_option_on_it_ends_with_the_same_bytes(
    corpus: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    config = replace(EVERYTHING, fit=replace(EVERYTHING.fit, precision=precision))
    metrics = pretrain.run(config, corpus, tmp_path / "whole")
    assert metrics["weights"] == "average with decay 0.8" and "bits_per_byte_of_last_weights" in metrics
    rows = read_metrics(tmp_path / "whole")
    assert rows[0]["z_loss"] > 0 and ("loss_scale" in rows[0]) == (precision == "float16")
    assert rows[0]["loss"] == pytest.approx(rows[0]["cross_entropy"] + 1e-4 * rows[0]["z_loss"], rel=1e-5)
    written = pretrain._write_samples

    def killed(*arguments: Any) -> None:
        if 3 in arguments:
            raise Killed
        written(*arguments)

    monkeypatch.setattr(pretrain, "_write_samples", killed)
    with pytest.raises(Killed):
        pretrain.run(config, corpus, tmp_path / "stopped")
    monkeypatch.setattr(pretrain, "_write_samples", written)
    resumed = pretrain.run(config, corpus, tmp_path / "stopped")
    assert json.dumps(resumed["rows_drawn"]) == json.dumps(metrics["rows_drawn"])
    for name in ("model.safetensors", "data.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    kept = ("step", "loss", "gradient_norm", "loss_scale")
    series = [
        [[row.get(key) for key in kept] for row in read_metrics(tmp_path / name)] for name in ("whole", "stopped")
    ]
    assert series[0] == series[1]


def test_computing_activations_again_changes_nothing(corpus: dict[str, Path], first: Path, tmp_path: Path) -> None:
    pretrain.run(replace(CONFIG, fit=replace(CONFIG.fit, recompute=True)), corpus, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def test_spikes_are_told_counted_and_traced(
    corpus: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a bound below what is usual every step from the third on stands out."""
    for name, value in (("FEWEST", 2), ("SPIKE_DEVIATIONS", -99.0), ("SPIKE_NATS", -99.0)):
        monkeypatch.setattr(watch, name, value)
    metrics = pretrain.run(CONFIG, corpus, tmp_path)
    told = list(read_jsonl(tmp_path / "spikes.jsonl"))
    assert metrics["loss_spikes"] == 4 and [row["step"] for row in told] == [3, 4, 5, 6]
    assert {piece["row"] for piece in told[0]["documents"]} == {0, 1, 2, 3}
    assert all(piece["dataset"] == "tokens/train" and piece["length"] > 0 for piece in told[0]["documents"])
    assert "the loss stood out in 4 steps (3, 4, 5, 6)" in capsys.readouterr().err
    from athanor.report.chapters.pretraining import _spikes

    shown = _spikes(told)
    assert [row["step"] for row in shown] == [3, 4, 5, 6] and shown[0]["documents"] == ["tokens/train, shard 00000"]
