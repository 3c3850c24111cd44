"""KTO: its loss against the published formula, its reference point, and the step end to end."""

import math
from pathlib import Path

import pytest
import torch

from athanor.core.artifact import write_jsonl
from athanor.model import convert
from athanor.posttrain import kto
from athanor.posttrain.config import Kto
from athanor.posttrain.kto import Labelled, kto_loss, reference_point, with_other_answers
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train import checkpoint

from .conftest import NAMES, conversation, folder_bytes
from .test_steps import Killed, killed_after

KTO = Kto(num_steps=6, batch_size=4, max_epochs=10, lr_peak=1e-2, checkpoint_seconds=0.0)


def test_the_loss_is_that_of_the_paper_answer_by_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    ratios = torch.randn(7, generator=generator, dtype=torch.float64) * 5
    good = torch.tensor([True, False, True, True, False, False, True])
    for borrowed in (torch.tensor([1.0, 2.0, -0.5]), torch.tensor([-3.0, 1.0])):
        point = reference_point(borrowed)
        assert float(point) == max(0.0, float(borrowed.mean()))
        found = kto_loss(ratios, good, point, beta=0.3, weights=(1.5, 0.5))
        for value, ratio, is_good in zip(found.tolist(), ratios.tolist(), good.tolist(), strict=True):
            inside = 0.3 * (ratio - float(point)) if is_good else 0.3 * (float(point) - ratio)
            assert value == pytest.approx((1.5 if is_good else 0.5) * (1 - 1 / (1 + math.exp(-inside))), abs=1e-7)


def test_the_reference_point_has_no_gradient() -> None:
    ratios = torch.tensor([1.0, 2.0], requires_grad=True)
    kto_loss(ratios, torch.tensor([True, False]), reference_point(ratios), 0.1).sum().backward()
    sigmoid = torch.sigmoid(0.1 * (ratios.detach() - 1.5))
    expected = 0.1 * sigmoid * (1 - sigmoid) * torch.tensor([-1.0, 1.0])
    assert torch.allclose(ratios.grad, expected)


def test_every_prompt_borrows_the_answer_of_another_and_every_answer_is_lent_once() -> None:
    rows = [Labelled([i], [100 + i] * (i + 1), bool(i % 2)) for i in range(6)]
    borrowed = with_other_answers(rows, seed=0, context_length=5)
    assert [row.prompt for row in borrowed] == [row.prompt for row in rows]
    assert sorted(row.completion[0] for row in borrowed) == [100 + i for i in range(6)]
    assert all(mine.completion[0] != row.completion[0] for mine, row in zip(borrowed, rows, strict=True))
    assert max(len(row.completion) for row in borrowed) == 4


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Single answers with labels, and pairs."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = [
        {"prompt": f"What is {name}?", "completion": f"It can {name}." if good else "Zzz zzz", "label": good}
        for name in NAMES[:6]
        for good in (True, False)
    ]
    write_jsonl(folder / "proxy.jsonl", rows)
    pairs = [{"prompt": conversation(n, "p")["messages"][:1], "chosen": n, "rejected": "Zzz"} for n in NAMES[6:]]
    write_jsonl(folder / "held_out.jsonl", pairs)
    return folder


def test_learning_from_single_answers_resumes_to_the_same_bytes(
    base: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"model": base, "preferences": labelled}
    metrics = kto.run(KTO, inputs, tmp_path / "whole")
    assert (metrics["answers"], metrics["desirable"], metrics["undesirable"]) == (12, 6, 6)
    assert metrics["held_out_rewards"]["desirable"] > metrics["held_out_rewards"]["undesirable"]
    assert metrics["held_out_accuracy"] > 0.5
    assert metrics["weight_ratio"] == 1.0
    convert.load(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed_after(3, checkpoint.save))
        with pytest.raises(Killed):
            kto.run(KTO, inputs, tmp_path / "killed")
    kto.run(KTO, inputs, tmp_path / "killed")
    assert folder_bytes(tmp_path / "killed") == folder_bytes(tmp_path / "whole")


def test_rows_without_a_label_are_refused_with_their_place(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "proxy.jsonl"
    write_jsonl(path, [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "b"}])
    with pytest.raises(ValueError, match=r"proxy.jsonl: row 2 has neither completion with a label"):
        kto.read_labelled(path, tokenizer, 100)
