"""The recipe of post-training's effects: one start, three seeds of everything, careless labels where they are meant."""

from pathlib import Path

import pytest

from athanor.core.artifact import write_json
from athanor.pipeline.recipe import load_recipe

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "posttrain-effects.yaml"
FILES = (
    "train.txt",
    "random_9k.json",
    "claude_t45.json",
    "alpaca_en_demo.json",
    "harmless-base.test.jsonl.gz",
    "pandalm.json",
)


def test_methods_are_compared_from_one_start_with_and_without_careless_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for name in FILES:
        write_json(tmp_path / "data" / name, [])
    monkeypatch.chdir(tmp_path)
    recipe, _ = load_recipe(RECIPE)
    for name, proxy in (("compare", "reward_model"), ("careless_compare", "careless_reward_model")):
        inputs = recipe.step_named(name).inputs
        assert inputs["reward_model"].name == proxy and inputs["gold_reward_model"].name == "gold_reward_model"
        policies = {key: step for key, step in inputs.items() if "__" in key}
        methods = ("dpo", "own_dpo", "ppo") if name == "compare" else ("dpo", "ppo")
        assert sorted(policies) == [f"{method}__{seed}" for method in methods for seed in range(3)]
        for key, step in policies.items():
            assert step.inputs["model"].name == inputs["sft"].name
            assert step.config.seed == int(key[-1])
            if key.startswith("own"):  # pairs of the start's own answers, ranked by the reward model
                assert step.inputs["preferences"].inputs["model"].name == inputs["sft"].name
                assert step.inputs["preferences"].inputs["reward_model"].name == proxy
                continue
            learned_from = step.inputs["preferences"] if key.startswith("dpo") else step.inputs["reward_model"]
            assert learned_from.name.startswith("careless") == name.startswith("careless")
    careful, careless = (recipe.step_named(name).config for name in ("pairs", "careless"))
    assert (careful.flip_share, careless.flip_share) == (0.0, 0.25)
    further, tuned = recipe.step_named("further"), recipe.step_named("sft__0")
    assert further.config.fit.num_steps == tuned.config.num_steps
