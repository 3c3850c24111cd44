"""Gradients computed side by side are those computed one after another, to the bit."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import nn

from athanor.train.gradients import Part, Share, add_gradients


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def parts_of(model: nn.Linear, rows: torch.Tensor, size: int) -> list[Part]:
    def share_of(part: torch.Tensor) -> Share:
        return Share(model(part).square().sum() / len(rows), len(part), {"seen": float(len(part))})

    return [partial(share_of, part) for part in rows.split(size)]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_sum_is_the_same_however_many_parts_run_at_once(threads, width):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, rows = nn.Linear(64, 64), torch.randn(37, 64)
    parameters = list(model.parameters())
    for part in parts_of(model, rows, 5):
        part().loss.backward()
    expected = [parameter.grad.clone() for parameter in parameters]
    model.zero_grad()
    torch.set_num_threads(width)
    added = add_gradients(parts_of(model, rows, 5), parameters)
    assert (added.num_tokens, added.numbers["seen"]) == (37, 37.0)
    assert torch.get_num_threads() == width
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_parameter_that_no_part_uses_keeps_no_gradient():
    model, unused = nn.Linear(4, 4), nn.Parameter(torch.ones(3))
    add_gradients(parts_of(model, torch.ones(2, 4), 1), [*model.parameters(), unused])
    assert unused.grad is None


def test_an_error_in_a_part_reaches_the_caller(threads):
    torch.set_num_threads(2)

    def broken() -> Share:
        raise ValueError("every label is masked")

    with pytest.raises(ValueError, match="every label is masked"):
        add_gradients([broken, broken], [nn.Parameter(torch.ones(1))])
