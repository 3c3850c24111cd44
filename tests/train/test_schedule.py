"""The learning rate climbs, stays, falls, and never leaves (0, 1]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.train.config import Schedule
from athanor.train.schedule import first_decay_step, rate


def test_ten_steps_by_hand() -> None:
    schedule = Schedule(warmup_share=0.2, decay_share=0.4, floor=0.2)
    rates = [rate(step, 10, schedule) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert first_decay_step(10, schedule) == 6


@given(
    st.integers(1, 500),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 1),
    st.sampled_from(["linear", "cosine", "inverse_sqrt"]),
)
def test_one_rise_then_one_fall_down_to_the_floor(
    num_steps: int, warmup: float, decay: float, floor: float, form: str
) -> None:
    schedule = Schedule(warmup_share=warmup, decay_share=decay, floor=floor, decay=form)  # type: ignore[arg-type]
    rates = [rate(step, num_steps, schedule) for step in range(num_steps)]
    assert all(0 <= r <= 1 for r in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert all(a >= b - 1e-12 for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    if first_decay_step(num_steps, schedule) < num_steps:
        assert rates[-1] == pytest.approx(floor)


def test_phases_longer_than_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        Schedule(warmup_share=0.6, decay_share=0.6)
