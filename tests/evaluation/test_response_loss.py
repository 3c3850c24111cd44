"""Response loss is the mean over completion tokens that a slow computation gives."""

import math
from pathlib import Path

import pytest
import torch

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.evaluation.config import ResponseLoss
from athanor.evaluation.response_loss import run
from athanor.model import convert
from athanor.model.attention import causal
from athanor.tokenizer.chat_template import encode_conversation
from athanor.tokenizer.tokenizer import Tokenizer

CONFIG = ResponseLoss(num_generations=4, max_new_tokens=5, resamples=50)


def slow_loss(folder: Path, rows: list[dict]) -> float:
    model, tokenizer = convert.load(folder), Tokenizer.load(folder)
    nats, tokens = 0.0, 0
    for row in rows:
        encoded = encode_conversation(tokenizer, row["messages"])
        read = torch.tensor([encoded.tokens])
        scores = model.logits(model(read, causal(1, len(encoded.tokens))))[0].detach().double().log_softmax(-1)
        for i, counted in enumerate(encoded.loss_mask):
            if counted:
                nats -= float(scores[i - 1, encoded.tokens[i]])
                tokens += 1
    return nats / tokens


def test_loss_equals_a_slow_computation_for_every_model(
    model_folder: Path, other_model_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    inputs = {"base": model_folder, "sft": other_model_folder, "conversations": conversations}
    metrics = run(CONFIG, inputs, tmp_path)
    fitting = [row for row in read_jsonl(conversations / "test.jsonl") if row["name"] != "long"]
    for name in ("base", "sft"):
        assert metrics["response_loss"][name] == pytest.approx(slow_loss(inputs[name], fitting), rel=1e-5)
        assert metrics["perplexity"][name] == pytest.approx(math.exp(metrics["response_loss"][name]))
        low, high = metrics["interval"][name]
        assert low <= metrics["response_loss"][name] <= high
        assert 0 <= metrics["ends"][name] <= 1
    assert metrics["response_loss"]["base"] != metrics["response_loss"]["sft"]
    assert (metrics["conversations"], metrics["skipped"], metrics["pages"]) == (6, 1, 2)
    assert [row["name"] for row in read_jsonl(tmp_path / "skipped.jsonl")] == ["long"]


def test_samples_stand_side_by_side(
    model_folder: Path, other_model_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    run(CONFIG, {"base": model_folder, "sft": other_model_folder, "conversations": conversations}, tmp_path)
    samples = list(read_jsonl(tmp_path / "samples.jsonl"))
    assert len(samples) == 4
    assert samples[0]["prompt"] == [{"role": "user", "content": "What is name0?"}]
    assert samples[0]["documented"] == "It does 0."
    assert {"base", "sft"} <= samples[0].keys()


def test_a_second_start_keeps_the_models_already_measured(
    model_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    inputs = {"base": model_folder, "conversations": conversations}
    first = run(CONFIG, inputs, tmp_path)
    assert run(CONFIG, inputs | {"base": tmp_path / "gone"}, tmp_path) == first


def test_what_cannot_be_measured_is_named(model_folder: Path, conversations: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one model"):
        run(CONFIG, {"conversations": conversations}, tmp_path)
    write_jsonl(tmp_path / "empty" / "test.jsonl", [])
    with pytest.raises(ValueError, match="no held-out conversation"):
        run(CONFIG, {"base": model_folder, "conversations": tmp_path / "empty"}, tmp_path)
    long = [row for row in read_jsonl(conversations / "test.jsonl") if row["name"] == "long"]
    write_jsonl(tmp_path / "long" / "test.jsonl", long)
    with pytest.raises(ValueError, match="longer than a model's context"):
        run(CONFIG, {"base": model_folder, "conversations": tmp_path / "long"}, tmp_path / "out")
