"""The best of n answers, averaged over every draw."""

from itertools import combinations

import pytest
import torch

from athanor.posttrain.best_of_n import kl_of_best, of_the_best, probability_of_being_best


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_all_draws_are_averaged(n):
    generator = torch.Generator().manual_seed(n)
    proxy, gold = (torch.randn(3, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    for prompt in range(3):
        draws = list(combinations(range(6), n))
        best = [max(draw, key=lambda i: float(proxy[prompt, i])) for draw in draws]
        expected = sum(float(gold[prompt, i]) for i in best) / len(draws)
        assert float(of_the_best(proxy, gold, n)[prompt]) == pytest.approx(expected)


def test_probabilities_add_up_to_one_and_the_lowest_is_never_best_of_two():
    shares = probability_of_being_best(10, 2)
    assert float(shares.sum()) == pytest.approx(1.0)
    assert float(shares[0]) == 0.0
    with pytest.raises(ValueError, match="best of 11 of 10"):
        probability_of_being_best(10, 11)


def test_kl_is_that_of_the_distribution_of_the_best():
    """Uniform answers in a fixed order: the best of n has density n u^(n-1), whose KL is the formula."""
    u = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    for n in (2, 5):
        density = n * u ** (n - 1)
        assert float((density * density.log()).mean()) == pytest.approx(kl_of_best(n), abs=1e-5)
