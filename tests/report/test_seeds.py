"""Several seeds of one method: their means and intervals stand in the chapters, and lines are drawn once a method."""

from pathlib import Path

from fake_run import FakeRun  # beside this file; conftest.py adds its folder

from athanor.core.artifact import write_jsonl
from athanor.core.seeds import seeds_of
from athanor.report.config import Report
from athanor.report.page import run


def test_names_of_one_method_are_grouped_and_single_ones_left_out():
    assert seeds_of(["ppo__0", "base", "dpo__a", "ppo__1", "__2", "__3"]) == {"ppo": ["ppo__0", "ppo__1"]}


def test_means_over_seeds_are_told_beside_the_models(tmp_path: Path) -> None:
    made = FakeRun(tmp_path)
    losses = {"base": 6.0, "sft__0": 5.0, "sft__1": 5.2, "sft__2": 5.4}
    made.folder("responses")
    made.finish(
        "responses",
        "evaluation.response_loss",
        {
            "response_loss": losses,
            "interval": {name: [loss - 0.1, loss + 0.1] for name, loss in losses.items()},
            "ends": {"base": 0.0, "sft__0": 0.75, "sft__1": 0.9, "sft__2": 0.9},
        },
    )
    for seed, accuracy in enumerate((0.60, 0.62, 0.64)):
        name = f"harmless__{seed}"
        made.folder(name)
        floors = {"length_rule_accuracy": 0.46, "bigram_accuracy": 0.61}
        spread = {"accuracy_interval": [accuracy - 0.03, accuracy + 0.03]}
        made.finish(name, "posttrain.reward_model", {"accuracy": accuracy, "split": "proxy", **floors, **spread})
    text = page_of(made, tmp_path)
    assert "sft, mean of 3 seeds" in text
    assert "4.703 to 5.697" in text  # 5.2 and Student's 4.303 times .2 / sqrt(3)
    assert "to 100.0" in text  # a share does not go beyond 1
    assert "harmless, mean of 3 seeds" in text and "57.0 to 67.0" in text
    assert "base, mean" not in text
    assert "harmless__0 does not beat word pairs." in text
    assert "harmless__1 is ahead, but within its interval, of word pairs." in text
    assert "harmless__0 beats the rule “the shorter answer is better”." in text


def test_a_comparison_with_seeds_is_read_off_at_the_grid(tmp_path: Path) -> None:
    made = FakeRun(tmp_path)
    place = made.folder("compare")
    start = {
        "method": "sft",
        "step": 0,
        "kl": 0.0,
        "proxy_reward": 0.0,
        "gold_reward": 0.0,
        "length": 30.0,
        "ends": 0.5,
    }
    ends = [{**start, "method": f"ppo__{i}", "step": 9, "kl": 3.0, "gold_reward": 0.5 + i} for i in range(2)]
    write_jsonl(place / "curve.jsonl", [start, *ends])
    reached = {"method": "ppo", "kl": 1, "seeds": 2, "not_reached": 0, "proxy_reward": 0.31, "gold_reward": 0.62}
    reached |= {"gold_reward_interval": [0.5, 0.74], "length": 21.5, "ends": 0.75}
    beyond = {"method": "ppo", "kl": 8, "seeds": 0, "not_reached": 2}
    write_jsonl(place / "grid.jsonl", [reached, beyond])
    made.finish("compare", "posttrain.compare", {"grid": [reached, beyond]})
    text = page_of(made, tmp_path)
    assert "0.62 (0.50 to 0.74)" in text and "21.5" in text
    assert "0, 2 did not get there" in text
    assert "ppo, gold reward" in text and "ppo__0, gold reward" not in text


def page_of(made: FakeRun, tmp_path: Path) -> str:
    out = tmp_path / "report"
    out.mkdir()
    run(Report(), made.folders, out)
    return (out / "report.html").read_text()
