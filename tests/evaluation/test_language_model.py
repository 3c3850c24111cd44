"""Bits per byte are what a slow computation token by token gives, and the step keeps its word on resuming."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.artifact import read_jsonl
from athanor.core.documents import read_documents
from athanor.evaluation import language_model, ngram
from athanor.evaluation.config import LanguageModel
from athanor.evaluation.language_model import run, training_texts, windows
from athanor.model import convert
from athanor.model.attention import causal
from athanor.tokenizer.tokenizer import Tokenizer


@given(st.integers(1, 80), st.integers(2, 20), st.floats(0, 0.99))
def test_every_token_after_the_first_is_scored_once(num_tokens: int, context_length: int, overlap: float) -> None:
    scored = []
    for start, end, first in windows(num_tokens, context_length, overlap):
        assert end - start <= context_length
        assert start < first
        scored += range(first, end)
    assert scored == list(range(1, num_tokens))


@given(st.integers(2, 80), st.integers(4, 20))
def test_later_windows_see_half_a_window_of_context(num_tokens: int, context_length: int) -> None:
    for start, end, first in windows(num_tokens, context_length, overlap=0.5)[1:]:
        assert end - start == context_length
        assert first - start >= context_length // 2 - 1


def slow_nats(folder: Path, text: str, overlap: float) -> float:
    """The same protocol with one forward pass for every token."""
    model, tokenizer = convert.load(folder), Tokenizer.load(folder)
    tokens = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
    total = 0.0
    for start, end, first in windows(len(tokens), model.config.context_length, overlap):
        for i in range(first, end):
            read = torch.tensor([tokens[start:i]])
            logits = model.logits(model(read, causal(1, i - start)))[0, -1].detach().double()
            total -= float(logits.log_softmax(-1)[tokens[i]])
    return total


def test_bits_per_byte_equal_a_slow_computation(model_folder: Path, documents: Path, tmp_path: Path) -> None:
    metrics = run(LanguageModel(), {"model": model_folder, "documents": documents}, tmp_path)
    texts = [d.text for d in read_documents(documents / "validation") if d.text]
    num_bytes = sum(len(text.encode()) for text in texts)
    expected = sum(slow_nats(model_folder, text, 0.5) for text in texts)
    assert metrics["bits_per_byte"]["model"] == pytest.approx(expected / math.log(2) / num_bytes, rel=1e-5)
    assert metrics["loss"] == pytest.approx(expected / metrics["tokens"], rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    assert metrics["documents"] == 2
    assert metrics["bytes"] == num_bytes
    assert metrics["tokens"] == sum(len(text.encode()) + 1 for text in texts)  # a byte tokenizer, and the end


def test_baselines_learn_from_train_and_are_said_to_be_beaten_or_not(
    model_folder: Path, documents: Path, tmp_path: Path
) -> None:
    metrics = run(LanguageModel(), {"model": model_folder, "documents": documents}, tmp_path)
    bits = metrics["bits_per_byte"]
    assert bits["ngram"] < 3  # the held-out text is much like the training text, and the model is random
    assert bits["model"] > 6
    assert metrics["beaten"] == {"ngram": False, "xz": False}
    low, high = metrics["interval"]
    assert low <= bits["model"] <= high
    rows = list(read_jsonl(tmp_path / "documents.jsonl"))
    assert {row["url"] for row in rows} == {"http://x/validation/0", "http://x/validation/1"}
    weighted = sum(row["ngram_bits_per_byte"] * row["bytes"] for row in rows) / sum(row["bytes"] for row in rows)
    assert weighted == pytest.approx(bits["ngram"])
    assert metrics["worst"][0]["model_bits_per_byte"] > metrics["best"][0]["model_bits_per_byte"]
    assert not {row["id"] for row in metrics["worst"]} & {row["id"] for row in metrics["best"]}


def test_a_run_killed_between_two_parts_ends_the_same(
    model_folder: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"model": model_folder, "documents": documents}
    whole = run(LanguageModel(), inputs, tmp_path / "whole")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ngram, "train", killed)
        run(LanguageModel(), inputs, tmp_path / "killed")
    with monkeypatch.context() as patched:
        patched.setattr(language_model, "_model_nats", killed)  # already done: must not be asked for again
        assert run(LanguageModel(), inputs, tmp_path / "killed") == whole
    name = "documents.jsonl"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_no_held_out_text_and_no_training_text_are_named(model_folder: Path, documents: Path, tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    with pytest.raises(ValueError, match="hold out at least one page"):
        run(LanguageModel(), {"model": model_folder, "documents": tmp_path}, tmp_path / "out")
    with pytest.raises(ValueError, match="no training document"):
        training_texts(tmp_path / "validation", 1000)
    assert len(training_texts(documents / "train", max_bytes=1)) == 1  # the first, however long


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        LanguageModel(overlap=1.0)
    with pytest.raises(ValueError, match="ngram_order"):
        LanguageModel(ngram_order=9)
