"""The planner's sums are those of the published runs, and impossible wishes are refused with their numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from athanor.core.artifact import write_json
from athanor.core.config import ConfigError
from athanor.model.count import count_parameters
from athanor.scaling.budget import budget_of
from athanor.scaling.hardware import read_hardware
from athanor.scaling.inference_aware import balanced, fixed_quality, fixed_training, lifetime_flops
from athanor.scaling.laws import Optimum, law
from athanor.scaling.layout import GRADIENT, HEADROOM, KEPT, LOGITS, OPTIMIZER, WEIGHT, layout_for
from athanor.scaling.plan_command import run
from athanor.scaling.plan_page import html_of, svg_of, text_of
from athanor.scaling.planner import accelerator_hours, energy_kwh, planned
from athanor.scaling.planner_config import PUBLISHED, Plan
from athanor.scaling.shape import shape_for
from athanor.train.depth import step_law

EPOCH = law("chinchilla", **PUBLISHED["besiroglu"][0])
H100 = read_hardware().accelerator("h100")
AT_400 = replace(H100, mfu=400 / H100.peak_tflops)


def chinchilla_optimal(parameters: float) -> Optimum:
    low, high = 1e15, 1e28
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if EPOCH.optimum(middle).parameters < parameters else (low, middle)
    return EPOCH.optimum(middle)


def test_llama_3_405b_comes_out_as_published() -> None:
    plan = planned(Plan(parameters=405e9, tokens=15.6e12, gpus=16_384, mfu=AT_400.mfu))
    assert plan["model"]["flops"] == pytest.approx(3.79e25, rel=0.01)
    assert plan["time"]["gpu_hours"] == pytest.approx(26.3e6, rel=0.01)
    assert plan["time"]["days"] == pytest.approx(66.9, rel=0.01)
    assert plan["cost"]["run_dollars"] == pytest.approx(52e6, rel=0.02)  # 26M hours in the lecture's sum
    assert 26e6 * H100.dollars_per_hour == pytest.approx(52e6)
    rounded = planned(Plan(gpus=16_384, days=26e6 / 16_384 / 24, tuning_days=0, mfu=AT_400.mfu))
    assert rounded["cost"]["run_dollars"] == pytest.approx(52e6, rel=1e-6)
    assert rounded["cost"]["co2_tonnes"] == pytest.approx(4368, rel=1e-6)
    assert energy_kwh(26e6, H100.watts) * 0.24 / 1000 == pytest.approx(4368, rel=1e-9)
    assert accelerator_hours(3.79e25, AT_400) == pytest.approx(26.3e6, rel=0.01)


def test_serving_a_trillion_tokens_makes_a_7b_model_a_3b_one() -> None:
    usual = chinchilla_optimal(7e9)
    found = fixed_quality(EPOCH, usual.loss, 1e12)
    assert found.parameters == pytest.approx(3.37e9, rel=0.01)
    assert found.tokens_per_parameter == pytest.approx(116, rel=0.01)
    assert float(EPOCH.loss(found.parameters, found.tokens)) == pytest.approx(usual.loss, rel=1e-9)


def test_no_model_of_the_same_quality_is_cheaper_in_its_life() -> None:
    found = fixed_quality(EPOCH, 2.1, 3e12)
    cost = lifetime_flops(found.parameters, found.tokens, 3e12)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        tokens = EPOCH.tokens_for_loss(found.parameters * factor, 2.1)
        assert lifetime_flops(found.parameters * factor, tokens, 3e12) > cost


def test_without_serving_the_cheapest_model_is_the_compute_optimal_one() -> None:
    for compute in (1e18, 1e21, 1e25):
        best, found = EPOCH.optimum(compute), fixed_training(EPOCH, compute, 0.0)
        assert found.parameters == pytest.approx(best.parameters, rel=1e-6)
        assert fixed_quality(EPOCH, best.loss, 0.0).parameters == pytest.approx(best.parameters, rel=1e-4)
        by_differences = balanced(lambda n, d: float(EPOCH.loss(n, d)), compute, 0.0)
        assert by_differences[0] == pytest.approx(best.parameters, rel=1e-3)


def test_tokens_per_parameter_grow_with_use_as_derived() -> None:
    tied = law("chinchilla", A=400.0, B=400.0, E=1.7, alpha=0.35, beta=0.35)
    compute = 1e22
    for times in (1.0, 3.0):
        served = 0.0
        for _ in range(100):
            found = fixed_training(tied, compute, served)
            served = times * found.tokens
        usual = tied.optimum(compute).tokens_per_parameter
        assert found.tokens_per_parameter / usual == pytest.approx((1 + times / 3) ** (1 / 0.35), rel=1e-4)


def test_the_step_law_gives_the_batch_of_llama_3_405b() -> None:
    lr, batch = step_law(405e9, 15.6e12)
    assert 12e6 < batch < 24e6  # 16M there
    assert 6e-5 < lr < 1.6e-4  # 8e-5 there


@pytest.mark.parametrize("parameters", [1e8, 1e9, 7e9, 7e10, 4e11])
def test_a_shape_counts_what_was_asked_for(parameters: float) -> None:
    vocab = 32_000
    shape = shape_for(parameters, vocab, 4096)
    assert count_parameters(shape) == pytest.approx(parameters, rel=0.06)
    assert 40 < shape.d_model / shape.num_layers < 180


def test_memory_is_the_sum_of_what_is_held() -> None:
    model = shape_for(7e9, 32_000, 4096)
    layout = layout_for(model, 7_000_000_000, H100, 64, 512)
    assert layout.total_gb <= HEADROOM * H100.memory_gb
    if not layout.recompute and not layout.fully_sharded:
        share = 7 / (layout.tensor * layout.pipeline)
        activations = (KEPT * model.num_layers * model.d_model + LOGITS * model.vocab_size) * 4096 / layout.tensor / 1e9
        expected = share * (WEIGHT + GRADIENT + OPTIMIZER / layout.data) + activations
        assert layout.total_gb == pytest.approx(expected)
    assert layout.accelerators <= 64


def test_a_layout_divides_its_batch_and_its_machines() -> None:
    plan = planned(Plan(gpus=10_000, days=30))
    layout, training = plan["layout"], plan["training"]
    assert layout["data"] * layout["tensor"] * layout["pipeline"] == layout["accelerators"] <= 10_000
    assert training["batch_size"] == layout["data"] * layout["micro_batches"]
    assert plan["time"]["days"] + plan["time"]["tuning_days"] == pytest.approx(30)
    assert plan["ladder"]["gpu_hours"] <= 10_000 * 24 * plan["time"]["tuning_days"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Plan(), "no budget"),
        (Plan(gpus=100, days=10, flops=1e25), "contradiction.*29,2.. accelerators"),
        (Plan(gpus=5000, days=30, dollars=1e6), r"contradiction.*\$7,200,000"),
        (Plan(parameters=1e9, tokens=1e10, flops=1e20), "contradicts"),
        (Plan(gpus=4, parameters=70e9, tokens=1e11), "do not fit on 4 accelerators"),
        (Plan(flops=1e20, hardware="H1000"), "did you mean 'H100'"),
        (Plan(gpus=8, days=1, tuning_days=2), "leave nothing"),
        (Plan(flops=1e20, fit=Path("nowhere")), r"no fit\.json"),
        (Plan(flops=1e40), "check the units"),
        (Plan(flops=1e3), "check the units"),
        (Plan(dollars=100, days=30), "less than one accelerator"),
    ],
)
def test_what_cannot_be_is_refused(wish: Plan, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(wish)


@pytest.mark.parametrize("wrong", [{"gpus": 0}, {"mfu": 1.5}, {"pue": 0.5}, {"flops": -1.0}])
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="--"):
        Plan(**wrong)  # type: ignore[arg-type]


def test_dollars_buy_what_they_cost() -> None:
    budget = budget_of(Plan(dollars=1e6, gpus=100), H100)
    assert (budget.days + budget.tuning_days) * 24 * 100 * H100.dollars_per_hour == pytest.approx(1e6)
    for little in (Plan(dollars=100), Plan(dollars=5000), Plan(dollars=1e6)):  # one accelerator for an hour or two, too
        spent = budget_of(little, H100)
        days = spent.days + spent.tuning_days
        assert spent.gpus * days * 24 * H100.dollars_per_hour == pytest.approx(little.dollars)


def test_days_given_beside_operations_hold_the_small_runs_too() -> None:
    budget = budget_of(Plan(flops=1e24, gpus=1000, days=30), H100)  # the final run takes 29.3
    assert budget.days + budget.tuning_days == pytest.approx(30)


def test_a_shape_that_misses_its_size_says_so() -> None:
    assert any("--vocab-size" in text for text in planned(Plan(flops=1e14))["assumed"])
    assert not any("--vocab-size" in text for text in planned(Plan(flops=1e22))["assumed"])


@pytest.mark.parametrize("wish", [Plan(gpus=1000, days=30), Plan(flops=1e24, gpus=1000), Plan(dollars=1e6)])
def test_a_worse_mfu_costs_either_time_or_size_and_never_both(wish: Plan) -> None:
    plan = planned(wish)
    worse = plan["sensitivity"][0]
    flops = 6 * worse["parameters"] * worse["tokens"]
    assert worse["days"] == pytest.approx(
        flops / (0.8 * plan["time"]["tflops_per_gpu"] * 1e12 * plan["hardware"]["gpus"]) / 86_400
    )
    if wish.flops:
        assert worse["parameters"] == plan["model"]["parameters"] and worse["days"] > plan["time"]["days"]
    else:
        assert worse["parameters"] < plan["model"]["parameters"]
        assert worse["days"] == pytest.approx(plan["time"]["days"])


def test_scarce_text_is_read_again_by_a_larger_model() -> None:
    plenty, scarce = planned(Plan(flops=1e22)), planned(Plan(flops=1e22, unique_tokens=2e10))
    assert plenty["model"]["epochs"] == 1.0 < scarce["model"]["epochs"]
    assert scarce["model"]["loss"] > plenty["model"]["loss"]
    assert any("text read" in told for told in planned(Plan(flops=1e22, unique_tokens=1e8))["assumed"])
    assert not any("text read" in told for told in scarce["assumed"])
    halved = next(row for row in scarce["sensitivity"] if row["what"].startswith("0.5 x"))
    assert halved["loss"] > scarce["model"]["loss"]  # twice the tokens, and they too are read again
    both = planned(Plan(flops=1e22, unique_tokens=2e10, inference_tokens=1e11))
    assert both["model"]["parameters"] < scarce["model"]["parameters"] * 1.01


def test_text_that_runs_out_is_shown_beside_text_enough() -> None:
    plan = planned(Plan(flops=1e22, unique_tokens=2e10))
    rows = plan["alternatives"]
    enough, again, once = (rows[name] for name in ("compute_optimal", "text_read_again", "text_read_once"))
    assert once["tokens"] == 2e10 and once["epochs"] == 1 < again["epochs"]
    assert enough["loss"] < again["loss"] < once["loss"]
    assert again["parameters"] == pytest.approx(plan["model"]["parameters"])
    assert "best with the text at hand" in text_of(plan) and "for the text at hand" in svg_of(plan)
    losses = plan["sizes"]["loss"]
    lowest = losses.index(min(losses))
    assert losses[:lowest] == sorted(losses[:lowest], reverse=True) and losses[lowest:] == sorted(losses[lowest:])
    assert "text_read_again" not in planned(Plan(flops=1e22, unique_tokens=1e13))["alternatives"]


def test_the_figure_is_lowest_at_the_best_size_for_any_law(tmp_path: Path) -> None:
    plan = planned(Plan(flops=1e22))
    sizes, losses = plan["sizes"]["parameters"], plan["sizes"]["loss"]
    assert sizes[losses.index(min(losses))] == pytest.approx(plan["model"]["parameters"])
    assert "compute-optimal" in svg_of(plan)
    tied = law("overtrained", a=1000.0, b=1000.0, E=1.8, eta=0.17)
    write_json(
        tmp_path / "fit.json",
        {
            "law": "overtrained",
            "theta": tied.theta.tolist(),
            "runs": 9,
            "range": {"flops": [1e18, 1e20]},
            "convention": "all",
        },
    )
    assert "<polyline" in svg_of(planned(Plan(flops=1e21, gpus=64, fit=tmp_path)))


def test_a_plan_is_a_step_of_a_recipe_too(tmp_path: Path) -> None:
    made = run(Plan(flops=1e20), {}, tmp_path)
    assert made["model"]["flops"] == pytest.approx(1e20)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "plan.html", "plan.svg", "summary.txt"}


def test_a_users_table_changes_prices_and_adds_kinds(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "accelerators:\n  H100: {dollars_per_hour: 5}\n"
        "  Mine: {peak_tflops: 100, memory_gb: 24, watts: 300, dollars_per_hour: 1, per_node: 1, mfu: 0.3,"
        " source: me, mfu_source: me}\n"
    )
    table = read_hardware(own)
    assert table.accelerator("H100").dollars_per_hour == 5 and table.accelerator("H100").watts == 700
    assert planned(Plan(flops=1e19, hardware="mine", hardware_file=own))["hardware"]["watts"] == 300
    own.write_text("accelerators: {H100: {price: 5}}")
    with pytest.raises(ConfigError, match="unknown key 'price'"):
        read_hardware(own)


def test_a_fit_of_ones_own_is_used_with_its_interval(tmp_path: Path) -> None:
    fit = {
        "law": "chinchilla", "runs": 30, "convention": "matmul", "range": {"flops": [1e11, 1e13]},
        "warnings": ["w", "extrapolation: 1e+16 FLOPs are 1,000 times the largest run"],
        "theta": [math.log(50), math.log(300), math.log(1.5), 0.33, 0.35, 1.0],
        "optima": [
            {"compute": 1e14, "loss": 2.0, "loss_interval": [1.9, 2.1]},
            {"compute": 1e16, "loss": 1.8, "loss_interval": [1.62, 1.98]},
        ],
        "exponents": {"parameters_interval": [0.45, 0.55]},
    }  # fmt: skip
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    plan = planned(Plan(flops=1e15, fit=tmp_path, hardware="CPU", gpus=1, vocab_size=1024, context_length=128))
    low, high = plan["model"]["loss_range"]
    assert (high - low) / 2 / plan["model"]["loss"] == pytest.approx(0.075, rel=0.01)
    assert "own fit of 30 runs" in plan["law"]["source"] and plan["law"]["warnings"] == ["w"]
    small = {"hardware": "CPU", "vocab_size": 1024, "context_length": 128}
    far = planned(Plan(flops=3e15, fit=tmp_path, **small))["law"]["warnings"]  # type: ignore[arg-type]
    assert far[0] == "w" and "300 times" in far[1]  # of this run, not of the budgets that the fit asked about
    assert any("C^0.450" in row["what"] for row in plan["sensitivity"])


def test_the_pages_show_the_plan_and_escape_what_they_show() -> None:
    plan = planned(Plan(flops=1e22, inference_tokens=1e12))
    plan["law"]["warnings"] = ["<script>"]
    text, page = text_of(plan), html_of(plan)
    assert "tokens" in text and "cheapest in its life" in text
    assert "<script>" not in page and "&lt;script&gt;" in page and "<svg" in page
    json.dumps(plan, allow_nan=False)


def test_the_processor_at_hand_is_measured() -> None:
    plan = planned(Plan(flops=1e14, hardware="this-cpu", gpus=1, vocab_size=1024, context_length=128))
    assert 1e-4 < plan["hardware"]["peak_tflops"] < 1e3
    assert "measured now" in plan["hardware"]["source"]


def test_a_fit_that_counts_products_gives_a_shape_that_counts_them(tmp_path: Path) -> None:
    fit = {"law": "chinchilla", "runs": 30, "convention": "matmul", "range": {"flops": [1e11, 1e13]},
           "theta": [math.log(50), math.log(300), math.log(1.5), 0.33, 0.35, 1.0]}  # fmt: skip
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    plan = planned(Plan(flops=1e17, fit=tmp_path, vocab_size=8192, context_length=512, gpus=8))
    assert plan["shape"]["parameters_matmul"] == pytest.approx(plan["model"]["parameters"], rel=0.1)
