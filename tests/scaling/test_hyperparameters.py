"""Best settings of small runs carry to larger ones, with what they may cost; batches trade steps for tokens."""

from dataclasses import replace

import numpy as np
import pytest

from athanor.scaling.hyperparameters import critical_batch, too_far, transfer
from athanor.scaling.runs import Runs, runs_from_arrays


def truth(n: float, d: float) -> float:
    return 0.3 * n**-0.25 * (d / 1e8) ** 0.05


def sweep(ratios: tuple[float, ...] = (20, 80), noise: float = 0.0005, seed: int = 0, off: float = 1.2) -> Runs:
    random = np.random.default_rng(seed)
    rows = [
        (n, n * ratio, truth(n, n * ratio) * f, 3 + 0.05 * np.log(f) ** 2 + random.normal(0, noise))
        for n in (1e6, 3e6, 1e7, 3e7)
        for ratio in ratios
        for f in off * np.array([0.25, 0.5, 1, 2, 4])
    ]
    n, d, lr, loss = np.array(rows).T
    return replace(runs_from_arrays(n, d, loss, convention="all"), more={"lr": lr})


def test_the_power_law_of_the_best_rate_is_found_in_parameters_and_tokens() -> None:
    found = transfer(sweep(), "lr")
    assert len(found.bests) == 8 and not found.skipped and not found.warnings
    assert found.exponents == pytest.approx({"parameters": -0.25, "tokens": 0.05}, abs=0.03)
    low, high = found.interval(1e9, 2e10, 0.9)
    assert low < truth(1e9, 2e10) < high and low < found.at(1e9, 2e10) < high


def test_the_regret_is_what_the_error_costs_and_falls_with_the_noise() -> None:
    loud, quiet = (transfer(sweep(noise=noise), "lr").regret(1e8, 2e9, 0.9) for noise in (0.003, 0.0001))
    assert 0 < quiet[0] < loud[0] and quiet[0] < quiet[1]
    costs = []
    for seed in range(30):
        chosen = transfer(sweep(noise=0.003, seed=seed), "lr").at(1e8, 2e9)
        costs.append(0.05 * np.log(chosen / truth(1e8, 2e9)) ** 2)
    assert np.mean(costs) < 3 * loud[0]


def test_sizes_that_do_not_vary_apart_and_edges_are_said() -> None:
    found = transfer(sweep(ratios=(20,)), "lr")
    assert list(found.exponents) == ["parameters"] and "did not vary" in found.warnings[0]
    assert any("edge" in text for text in transfer(sweep(off=4.2), "lr").warnings)


def test_a_recommendation_a_hundred_times_beyond_what_was_tuned_is_warned_of() -> None:
    found = transfer(sweep(), "lr")  # up to 3e7 parameters and 2.4e9 tokens
    assert too_far(found, 2.9e9, 2.3e11) is None
    assert "4e+09 parameters are 133 times" in (too_far(found, 4e9, 1e9) or "")
    assert "5e+11 tokens are 208 times" in (too_far(found, 1e7, 5e11) or "")
    assert "1e+03 parameters are 1,000 times" in (too_far(found, 1e3, 1e8) or "")


def test_too_few_values_are_refused_with_what_to_run() -> None:
    runs = sweep()
    with pytest.raises(ValueError, match="0 sizes with a best lr"):
        transfer(runs.subset(np.arange(0, len(runs), 5)), "lr")
    with pytest.raises(ValueError, match="no column 'batch_tokens'"):
        transfer(runs, "batch_tokens")


def test_the_critical_batch_is_found_and_bounded_by_what_was_run() -> None:
    batches = np.array([1e3, 1e4, 1e5, 1e6])
    found = critical_batch(batches, 500 * (1 + 3e4 / batches))
    assert found.batch_tokens == pytest.approx(3e4) and found.min_steps == pytest.approx(500)
    assert found.steps(found.batch_tokens) == pytest.approx(1000)
    with pytest.raises(ValueError, match="3 or more"):
        critical_batch([1e3, 1e4], [10, 5])
    with pytest.raises(ValueError, match="outside the batches"):
        critical_batch(batches, np.array([100.0, 100.0, 100.0, 100.0]))
