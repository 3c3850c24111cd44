"""The study of data: nested subsets, one held-out set for all, intervals, and a killed study that goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.core.chat_endpoint import Answer, Endpoint
from athanor.core.config import ConfigError
from athanor.posttrain import reward_model, sft_study, study_judge
from athanor.posttrain.config import RewardModel, Sft, SftStudy
from athanor.posttrain.messages import Conversation

from .conftest import NAMES, conversation, folder_bytes
from .test_steps import Killed, killed_after

TRAINING = Sft(
    num_steps=3,
    batch_size=4,
    max_epochs=100,
    evaluate_every=2,
    num_held_out=8,
    max_new_tokens=4,
    lr_peak=1e-2,
    precision="float32",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SftStudy:
    folder = tmp_path_factory.mktemp("study")
    write_jsonl(folder / "plain.jsonl", [conversation(name, "p") for name in NAMES])
    write_jsonl(folder / "best.jsonl", [conversation(name, "q") for name in NAMES[:5]])
    unseen = [{"instruction": f"Tell of {name}.", "output": f"It is a {name}."} for name in NAMES]
    write_jsonl(folder / "test.jsonl", [conversation("join", "p"), *unseen])
    return SftStudy(
        files=(str(folder / "plain.jsonl"), str(folder / "best.jsonl")),
        test_files=(str(folder / "test.jsonl"),),
        sizes=(4, 8),
        seeds=(0, 1),
        sft=TRAINING,
        num_answers=2,
    )


def test_every_source_size_and_seed_is_measured_on_the_same_unseen_rows(
    config: SftStudy, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sft_study, "fine_tune", killed_after(3, sft_study.fine_tune))
        with pytest.raises(Killed):
            sft_study.run(config, {"model": base}, tmp_path / "killed")
    sft_study.run(config, {"model": base}, tmp_path / "killed")
    metrics = sft_study.run(config, {"model": base}, tmp_path / "whole")
    assert folder_bytes(tmp_path / "killed") == folder_bytes(tmp_path / "whole")
    assert metrics["held_out_also_in_training"] == 1
    assert metrics["held_out_conversations"] == 8
    runs = list(read_jsonl(tmp_path / "whole" / "runs.jsonl"))
    assert [(row["source"], row["size"], row["seed"]) for row in runs] == [
        ("best", 4, 0), ("best", 4, 1), ("plain", 4, 0), ("plain", 4, 1), ("plain", 8, 0), ("plain", 8, 1),
    ]  # fmt: skip
    assert [row["epochs"] for row in runs] == [3, 3, 3, 3, 1.5, 1.5]
    curve = list(read_jsonl(tmp_path / "whole" / "curve.jsonl"))
    first = [row["held_out_loss"] for row in runs[:2]]
    assert curve[0]["held_out_loss"] == pytest.approx(sum(first) / 2)
    low, high = curve[0]["interval"]
    assert high - low == pytest.approx(12.706 * abs(first[0] - first[1]), rel=1e-3)  # t of one degree of freedom
    assert all(row["best_held_out_loss"] <= row["held_out_loss"] + 1e-6 for row in curve)
    assert (tmp_path / "whole" / "figure.svg").read_text().startswith("<svg")
    assert not list((tmp_path / "whole").rglob("*.safetensors"))


def test_smaller_sets_lie_in_larger_ones_of_the_same_seed() -> None:
    rows = [Conversation([i], [True]) for i in range(50)]
    drawn = {
        (size, seed): {row.tokens[0] for row in sft_study._chosen(rows, size, seed)}
        for size in (5, 20)
        for seed in (0, 1)
    }
    assert drawn[5, 0] < drawn[20, 0]
    assert drawn[5, 0] != drawn[5, 1]
    assert {len(drawn[5, 0]), len(drawn[20, 1])} == {5, 20}


def test_a_reward_model_or_an_endpoint_judges_the_answers(
    config: SftStudy, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(config, files=config.files[:1], sizes=(4,), seeds=(0,), win_rate=True)
    with pytest.raises(ConfigError, match="give one judge"):
        sft_study.run(one, {"model": base}, tmp_path / "none")
    data = tmp_path / "preferences"
    data.mkdir()
    pairs = [
        {"prompt": conversation(n, "p")["messages"][:1], "chosen": n, "rejected": "no", "rejected_kind": "x"}
        for n in NAMES
    ]
    write_jsonl(data / "proxy.jsonl", pairs[:-2])
    write_jsonl(data / "held_out.jsonl", pairs[-2:])
    reward_model.run(RewardModel(num_steps=1), {"model": base, "preferences": data}, tmp_path / "rm")
    metrics = sft_study.run(one, {"model": base, "reward_model": tmp_path / "rm"}, tmp_path / "scored")
    assert 0 <= metrics["curve"][0]["win_rate"] <= 1
    assert metrics["judge"] == "reward model rm"
    assert metrics["curve"][0]["interval_over"] == "held-out rows"

    said = {"A first": "A", "B first": "B"}
    monkeypatch.setattr(study_judge.ChatClient, "ask", lambda *a, **k: Answer(said["A first"], "stop", 1, 1, 1))
    asked = replace(one, endpoint=Endpoint(model="judge"))
    metrics = sft_study.run(asked, {"model": base}, tmp_path / "asked")
    assert metrics["curve"][0]["win_rate"] == 0.5  # always the first: a tie in both orders
    assert [study_judge._letter(text) for text in ("A", " **B**", "(a)", "Answer A", "")] == ["A", "B", "A", None, None]
