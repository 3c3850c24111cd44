"""A ladder spends what it is given, leaves out what does not fit and says so, and carries learning rates by a rule."""

import math
from pathlib import Path

import pytest

from athanor.core.config import ConfigError
from athanor.model.config import LstmConfig, ModelConfig
from athanor.model.count import flops_per_token
from athanor.scaling.config import Table
from athanor.scaling.ladder import (
    Family,
    Ladder,
    Run,
    best_factor,
    group,
    make_run,
    tuned_rule,
    tuned_rules,
    tuning_runs,
)
from athanor.scaling.runs import read_runs

VOCAB, UNIQUE = 1024, 2_000_000
LADDER = Ladder(
    families={
        "transformer": Family(sizes=((1, 16), (2, 32), (3, 64))),
        "lstm": Family(architecture="lstm", sizes=((1, 16), (1, 32), (2, 64))),
    },
    compute_budgets=(2e11, 1e12),
    target_budgets=(4e12,),
    lr_factors=(0.5, 1.0, 2.0),
)


@pytest.mark.parametrize("family", ["transformer", "lstm"])
def test_the_runs_of_a_group_spend_its_budget_to_half_a_step(family: str) -> None:
    members, _ = group(LADDER, family, 1e12, VOCAB, UNIQUE)
    assert len({run.size for run in members}) == len(members) >= 2
    for run in members:
        shape = run.config.lstm or run.config.shape
        model = LstmConfig.of(shape, VOCAB) if family == "lstm" else ModelConfig.of(shape, VOCAB)  # type: ignore[arg-type]
        step = flops_per_token(model) * run.batch_size * 128
        assert abs(flops_per_token(model) * run.tokens - 1e12) <= step / 2


def test_what_a_budget_leaves_out_is_named_with_the_reason() -> None:
    members, left_out = group(LADDER, "transformer", 1e12, VOCAB, UNIQUE)
    assert [run.size for run in members] == [(2, 32), (3, 64)]
    assert [(each.size, each.reason) for each in left_out] == [((1, 16), "355 tokens per parameter, more than 150")]
    assert "epochs" in group(LADDER, "transformer", 4e12, VOCAB, 500_000)[1][0].reason
    assert "min_steps" in group(LADDER, "transformer", 2e11, VOCAB, UNIQUE)[1][-1].reason


def test_every_run_has_a_name_of_its_own() -> None:
    runs = [run for family in LADDER.families for run in tuning_runs(LADDER, family, VOCAB, UNIQUE)]
    assert len({run.name for run in runs}) == len(runs)


def test_a_batch_may_grow_with_the_budget() -> None:
    ladder = Ladder(families=LADDER.families, compute_budgets=(1e11, 8e11), target_budgets=(), batch_exponent=1 / 3)
    sizes = [make_run(ladder, "transformer", (2, 32), budget, 1.0, 0, VOCAB).batch_size for budget in (1e11, 8e11)]
    assert sizes == [8, 16]


def test_a_factor_scales_every_learning_rate_of_a_run() -> None:
    run = make_run(LADDER, "transformer", (2, 32), 1e12, 2.0, 0, VOCAB)
    fit = run.config.fit
    assert fit.muon is not None
    assert [fit.muon.lr_peak, fit.adamw.lr_peak, fit.adamw.embedding_lr_peak, fit.adamw.head_lr_peak] == pytest.approx(
        [2 * rate for rate in (0.02, 3e-3, 0.1, 5e-3)]
    )


def test_a_family_may_have_a_weight_decay_of_its_own() -> None:
    families = {
        "lstm": Family(architecture="lstm", sizes=((1, 32),), weight_decay=0.1),
        "plain": Family(sizes=((1, 32),)),
    }
    ladder = Ladder(families=families, compute_budgets=(1e12,), target_budgets=())
    fits = [make_run(ladder, family, (1, 32), 1e12, 1.0, 0, VOCAB).config.fit for family in families]
    decays = [(fit.muon.weight_decay if fit.muon else None, fit.adamw.weight_decay) for fit in fits]
    assert decays == [(0.1, 0.1), (0.0, 0.0)]
    with pytest.raises(ValueError, match="weight_decay is -1"):
        Family(weight_decay=-1)


def test_batches_are_tuned_with_their_rates_and_carried_by_a_rule() -> None:
    ladder = Ladder(
        families={"transformer": Family(sizes=((1, 16), (2, 32)))},
        compute_budgets=(2e11,),
        target_budgets=(),
        lr_factors=(0.5, 1.0, 2.0),
        batch_factors=(1.0, 2.0, 4.0),
    )
    tried = tuning_runs(ladder, "transformer", VOCAB, UNIQUE)
    assert len(tried) == 2 * 9 == len({run.name for run in tried})
    assert {run.batch_size for run in tried} == {8, 16, 32}

    def loss(run: Run) -> float:  # the larger the batch the larger the rate; best at twice the batch, everywhere
        rate = (math.log(run.lr_factor) - 0.5 * math.log(run.batch_factor)) ** 2
        return 4 + 0.1 * rate + 0.1 * (math.log(run.batch_factor) - math.log(2)) ** 2

    found = tuned_rules({run: loss(run) for run in tried})
    assert found.batch.factor(5e4) == pytest.approx(2.0, rel=0.1)
    assert found.learning_rate.factor(5e4) == pytest.approx(2**0.5, rel=0.05)
    run = make_run(ladder, "transformer", (2, 32), 2e11, 1.0, 0, VOCAB, batch_factor=2.0)
    plain = make_run(ladder, "transformer", (2, 32), 2e11, 1.0, 0, VOCAB)
    assert run.batch_size == 2 * plain.batch_size and run.num_steps == pytest.approx(plain.num_steps / 2, abs=1)
    assert run.name.endswith("-b2-s0") and not plain.name.endswith("-b1-s0")


def test_the_rule_finds_the_power_law_behind_the_losses() -> None:
    def loss(run: Run) -> float:  # a parabola in log factor, best at 1.1 (N / 1e5)^-0.1
        best = math.log(1.1 * (run.parameters / 1e5) ** -0.1)
        return 4 + 0.1 * (math.log(run.lr_factor) - best) ** 2

    tried = tuning_runs(LADDER, "lstm", VOCAB, UNIQUE)
    rule = tuned_rule({run: loss(run) for run in tried})
    assert rule.exponent == pytest.approx(-0.1, abs=0.01)
    assert rule.factor(1e5) == pytest.approx(1.1, rel=0.01)
    assert rule.at_edge == ()
    assert rule.factor(1e12) == 0.5  # never beyond what was tried


def test_a_best_rate_at_the_edge_of_the_grid_is_said() -> None:
    tried = tuning_runs(LADDER, "lstm", VOCAB, UNIQUE)
    rule = tuned_rule({run: 4 - 0.1 * run.lr_factor for run in tried})
    assert set(rule.at_edge) == set(rule.best) and rule.factor(1e5) == 2.0
    assert best_factor([(1.0, 3.0)]) == (1.0, True)


def test_a_ladder_without_a_model_for_its_smallest_budget_is_refused() -> None:
    ladder = Ladder(families={"large": Family(sizes=((12, 512),))}, compute_budgets=(1e10,), target_budgets=())
    with pytest.raises(ConfigError, match=r"no size takes part in the smallest budget 1e\+10: 12x512 .* min_steps"):
        tuning_runs(ladder, "large", VOCAB, UNIQUE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"compute_budgets": (1e12, 1e11)}, "ascending"),
        ({"target_budgets": (1e9,)}, "ascending"),
        ({"lr_factors": (0.0,)}, "above 0"),
        ({"seeds": ()}, "at least one"),
    ],
)
def test_impossible_ladders_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ladder(**wrong)  # type: ignore[arg-type]


def test_widths_must_hold_whole_heads() -> None:
    with pytest.raises(ValueError, match="multiple of head_width"):
        Family(sizes=((2, 40),))


def test_a_table_of_both_architectures_is_accepted_though_only_one_has_attention(tmp_path: Path) -> None:
    lines = ["parameters,convention,tokens,flops,loss,architecture"]
    for family, ratio in (("lstm", 1.0), ("transformer", 1.28)):
        for n, d in ((5e4, 1e6), (1e5, 1e6), (2e5, 2e6)):
            lines.append(f"{n},matmul,{d},{6 * n * d * ratio},{4 - ratio + 1e5 / n},{family}")
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
    assert len(read_runs(tmp_path / "runs.csv", Table())) == 6
