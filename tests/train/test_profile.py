"""The profile counts what the model's own formulas count, and its page says what its numbers say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from athanor.core.artifact import read_json
from athanor.model.config import ModelConfig, Shape
from athanor.model.count import flops_per_token
from athanor.train import profile_command, switches
from athanor.train.ceilings import matrix_ceiling, memory_ceiling
from athanor.train.config import AdamW, Muon
from athanor.train.profile_config import Profile
from athanor.train.roofline import Part, parts_of

SHAPE = Shape(context_length=32, num_layers=2, d_model=32, d_ff=64, num_heads=2, num_kv_heads=1, head_width=16)
CPU = torch.device("cpu")


def test_the_products_of_the_parts_are_those_of_a_training_step() -> None:
    config = ModelConfig.of(SHAPE, 100)
    parts = {part.name: part for part in parts_of(config, 4, torch.float32, AdamW(), Muon(), 1, CPU)}
    products = ("query, key, value", "attention", "output projection", "feed-forward products", "output layer and loss")
    assert sum(parts[name].flops for name in products) == pytest.approx(flops_per_token(config) * 4 * 32)
    assert all(part.seconds > 0 and part.bytes > 0 for part in parts.values())


def test_a_part_left_of_the_ridge_cannot_reach_the_matrix_ceiling() -> None:
    left, right = Part("a", 10.0, 10.0, 2.0), Part("b", 1000.0, 10.0, 2.0)
    assert (left.attainable(100.0, 20.0), right.attainable(100.0, 20.0)) == (20.0, 100.0)
    assert (left.intensity, left.rate) == (1.0, 5.0)


def test_ceilings_are_of_this_world() -> None:
    assert 1e8 < memory_ceiling(CPU) < 1e13
    assert 1e8 < matrix_ceiling(CPU, torch.float32) < 1e15


def test_rows_hold_one_document_or_as_many_as_fit() -> None:
    lengths = np.array([3, 9, 4])
    alone = switches._rows(lengths, 4, 8, packed=False)
    assert [row.tolist() for row in alone] == [[3], [4], [4], [8]]
    packed = switches._rows(lengths, 4, 8, packed=True)  # documents end at 3, 12, 16, 19, 28, 32
    assert [row.tolist() for row in packed] == [[3, 8], [4, 8], [3, 8], [4, 8]]


def test_checkpointing_and_the_fused_loss_keep_less_for_the_backward_pass() -> None:
    config = ModelConfig.of(replace(SHAPE, num_layers=4), 500)
    table = switches.effects(config, 4, np.array([20]), AdamW(), None, 1, CPU, compiled=False)
    kept = {effect.name: effect.kept_bytes for effect in table}
    plain = kept[switches.PLAIN.name]
    assert kept["fused loss"] < plain and kept["bfloat16 products"] < plain
    assert kept["activation checkpointing"] < 0.5 * plain
    assert all(effect.tokens_per_second > 0 for effect in table)


def test_the_command_writes_a_page_that_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    options = Profile(
        shape=SHAPE, vocab_size=100, batch_size=2, repeats=1, without_compile=True, out=tmp_path / "p.html"
    )
    assert profile_command.main(options) == 0
    torch.set_num_threads(threads)
    page, numbers = (tmp_path / "p.html").read_text(), read_json(tmp_path / "p.json")
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "") and "<script" not in page
    printed = capsys.readouterr().out
    for part in numbers["parts"]:
        assert part["name"] in page and part["name"] in printed
    assert sum(part["share_of_time"] for part in numbers["parts"]) == pytest.approx(1.0)
    assert numbers["switches"][0]["speed"] == 1.0
