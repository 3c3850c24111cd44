"""Win rates name their judge, follow from its scores, and do not change on a second start."""

from pathlib import Path

import numpy as np
import pytest
import torch

from athanor.arena.config import WinRate
from athanor.arena.win_rate import run
from athanor.core.artifact import read_jsonl
from athanor.model import convert
from athanor.model.attention import causal
from athanor.tokenizer.tokenizer import Tokenizer

CONFIG = WinRate(num_prompts=6, max_new_tokens=6, resamples=20)


def test_rates_follow_from_the_scores_of_the_judge(folders: dict[str, Path], tmp_path: Path) -> None:
    metrics = run(CONFIG, folders, tmp_path)
    battles = list(read_jsonl(tmp_path / "battles.jsonl"))
    assert len(battles) == 6
    scores = {name: np.array([b["answers"][name]["score"] for b in battles]) for name in ("sft", "dpo", "documented")}
    for row in metrics["win_rates"]:
        preference = 1 / (1 + np.exp(scores[row["baseline"]] - scores[row["model"]]))
        assert row["win_rate"] == pytest.approx(preference.mean())
        assert row["wins"] == int((preference > 0.5).sum())
        assert row["interval"][0] <= row["win_rate"] <= row["interval"][1]
        assert 0 < row["length_controlled_win_rate"] < 1
        assert row["judge"] == "gold_reward_model"
    pairs = {(row["model"], row["baseline"]) for row in metrics["win_rates"]}
    assert pairs == {("dpo", "sft"), ("documented", "sft"), ("sft", "documented"), ("dpo", "documented")}
    assert "not people" in metrics["judge"]
    assert list(read_jsonl(tmp_path / "win_rates.jsonl")) == metrics["win_rates"]


def test_the_score_is_the_judges_at_the_end_of_the_turn(folders: dict[str, Path], tmp_path: Path) -> None:
    run(CONFIG, folders, tmp_path)
    battle = next(iter(read_jsonl(tmp_path / "battles.jsonl")))
    tokenizer = Tokenizer.load(folders["gold_reward_model"])
    trunk, score = convert.load_scorer(folders["gold_reward_model"])
    text = f"<|begin_of_text|><|user|>\n{battle['prompt'][0]['content']}<|end_of_turn|>\n<|assistant|>\n"
    tokens = tokenizer.encode_with_special(text + battle["answers"]["documented"]["text"] + "<|end_of_turn|>")
    hidden = trunk(torch.tensor([tokens]), causal(1, len(tokens)))[0, -1].detach()
    assert battle["answers"]["documented"]["score"] == pytest.approx(float(hidden @ score[0]), abs=1e-4)


def test_a_second_start_gives_the_same_table(folders: dict[str, Path], tmp_path: Path) -> None:
    first = run(CONFIG, folders, tmp_path)
    again = run(CONFIG, folders | {"sft": tmp_path / "gone", "dpo": tmp_path / "gone"}, tmp_path)
    assert again == first


def test_few_prompts_do_not_shrink_the_length_controlled_rate_to_one_half(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    metrics = run(CONFIG, folders, tmp_path)
    by_pair = {(row["model"], row["baseline"]): row for row in metrics["win_rates"]}
    there, back = by_pair["documented", "sft"], by_pair["sft", "documented"]
    assert there["length_controlled_win_rate"] != 0.5
    # Turning the battle around turns the rate around: the sides are treated alike.
    assert there["length_controlled_win_rate"] == pytest.approx(1 - back["length_controlled_win_rate"], abs=1e-4)


def test_an_unknown_baseline_is_an_error_with_a_suggestion(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'documented'"):
        run(WinRate(baselines=("documentd",)), folders, tmp_path)
    with pytest.raises(ValueError, match="baselines is empty"):
        WinRate(baselines=())
