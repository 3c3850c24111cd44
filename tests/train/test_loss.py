"""The chunked losses equal the plain ones, in value and in gradient."""

import pytest
import torch
import torch.nn.functional as F

from athanor.train import loss


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_BYTES", 32 * 4 * 50)  # 32 positions at a time: several chunks in every test


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(101, 16, generator=generator).requires_grad_()
    head = torch.randn(50, 16, generator=generator).requires_grad_()
    return hidden, head, torch.randint(50, (101,), generator=generator)


def test_cross_entropy_equals_the_plain_one() -> None:
    hidden, head, targets = inputs()
    plain = F.cross_entropy(hidden @ head.T, targets)
    ours = loss.cross_entropy(hidden, head, targets)
    torch.testing.assert_close(ours, plain)
    for mine, expected in zip(
        torch.autograd.grad(ours * 3, [hidden, head]), torch.autograd.grad(plain * 3, [hidden, head]), strict=True
    ):
        torch.testing.assert_close(mine, expected)


def test_weights_choose_the_positions_that_count() -> None:
    hidden, head, targets = inputs()
    weights = torch.zeros(101)
    weights[[3, 77]] = torch.tensor([0.25, 2.0])
    each = F.cross_entropy(hidden @ head.T, targets, reduction="none")
    ours = loss.cross_entropy(hidden, head, targets, weights)
    torch.testing.assert_close(ours, 0.25 * each[3] + 2.0 * each[77])
    (gradient,) = torch.autograd.grad(ours, [hidden])
    assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == [3, 77]


def test_a_batch_with_every_label_masked_is_an_error() -> None:
    hidden, head, targets = inputs()
    with pytest.raises(ValueError, match="every label"):
        loss.cross_entropy(hidden, head, targets, torch.zeros(101))
    with pytest.raises(ValueError, match="every label"):
        loss.cross_entropy(hidden[:0], head, targets[:0])


def test_token_log_probabilities_equal_log_softmax() -> None:
    hidden, head, targets = inputs()
    upstream = torch.randn(101, generator=torch.Generator().manual_seed(1))
    plain = (hidden @ head.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    ours = loss.token_log_probabilities(hidden, head, targets)
    torch.testing.assert_close(ours, plain)
    for mine, expected in zip(
        torch.autograd.grad(ours, [hidden, head], upstream),
        torch.autograd.grad(plain, [hidden, head], upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


def test_bfloat16_hidden_states_stay_close_to_float32() -> None:
    hidden, head, targets = inputs()
    exact = loss.cross_entropy(hidden, head, targets)
    rough = loss.cross_entropy(hidden.bfloat16(), head, targets)
    assert rough.dtype == torch.float32
    assert abs(float(rough.detach() - exact.detach())) < 0.02


def test_evaluation_without_gradients_gives_the_same_number() -> None:
    hidden, head, targets = inputs()
    with torch.no_grad():
        quiet = loss.cross_entropy(hidden, head, targets)
    torch.testing.assert_close(quiet, loss.cross_entropy(hidden, head, targets).detach(), rtol=0, atol=0)


def test_the_z_loss_equals_the_plain_one() -> None:
    hidden, head, targets = inputs()
    weights = torch.rand(101, generator=torch.Generator().manual_seed(2))
    logits = hidden @ head.T
    z = (logits.logsumexp(-1).square() * weights).sum()
    plain = (F.cross_entropy(logits, targets, reduction="none") * weights).sum() + 0.01 * z
    ours, logged = loss.cross_entropy_and_z(hidden, head, targets, weights, z_loss=0.01)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(logged, z.detach())
    for mine, expected in zip(
        torch.autograd.grad(ours, [hidden, head]), torch.autograd.grad(plain, [hidden, head]), strict=True
    ):
        torch.testing.assert_close(mine, expected)


def test_no_tensor_is_as_large_as_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor that an operation gives is seen: the largest holds 32 positions, not 4,096, of the vocabulary."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            found = function(*arguments, **(keywords or {}))
            largest = max(
                largest, *(t.numel() for t in torch.utils._pytree.tree_leaves(found) if torch.is_tensor(t)), 0
            )
            return found

    hidden, head = torch.randn(4096, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    with Sizes():
        loss.cross_entropy(hidden, head, torch.zeros(4096, dtype=torch.long)).backward()
    assert largest <= hidden.numel() < 4096 * 50
