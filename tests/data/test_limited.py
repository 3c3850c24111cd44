"""A call that hangs or crashes costs one page, never the run."""

import os
import signal

import pytest

from athanor.data.limited import CallFailed, Limited, _batch


@pytest.mark.slow
def test_calls_go_on_after_a_hang_a_crash_and_an_exception() -> None:
    with Limited(eval, seconds=2.0) as limited:
        helper = limited("__import__('os').getpid()")
        assert helper == limited("__import__('os').getpid()"), "one helper serves many calls"
        for call, reason in [
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("__import__('time').sleep(600)", "time limit"),
            ("__import__('os')._exit(11)", "crash"),
        ]:
            with pytest.raises(CallFailed) as failure:
                limited(call)
            assert str(failure.value) == reason
            assert limited("1 + 1") == 2
        assert limited("__import__('os').getpid()") != helper


@pytest.mark.slow
def test_in_a_batch_only_the_call_at_fault_is_lost() -> None:
    bad = {
        3: ("__import__('time').sleep(600)", "time limit"),
        4: ("__import__('os')._exit(11)", "crash"),
        9: ("1 / 0", "ZeroDivisionError: division by zero"),
        39: ("__import__('os').kill(__import__('os').getpid(), 9)", "crash"),
    }
    calls = [(n, (bad[n][0] if n in bad else f"{n} * {n}",)) for n in range(40)]
    with Limited(eval, seconds=2.0) as limited:
        answers = list(limited.each(iter(calls)))
    assert [key for key, _ in answers] == list(range(40))
    assert {key: str(answer) for key, answer in answers if isinstance(answer, CallFailed)} == {
        key: reason for key, (_, reason) in bad.items()
    }
    assert all(answer == key * key for key, answer in answers if key not in bad)


def test_batches_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("athanor.data.limited.BATCH_CALLS", 3)
    monkeypatch.setattr("athanor.data.limited.BATCH_BYTES", 100)
    sizes = [10, 10, 10, 10, 90, 10, 500, 1]
    calls = iter([(n, (b"x" * size,)) for n, size in enumerate(sizes)])
    batches = []
    while batch := _batch(calls):
        batches.append([key for key, _ in batch])
    assert batches == [[0, 1, 2], [3, 4], [5, 6], [7]]


@pytest.mark.slow
def test_ctrl_c_leaves_the_helper_to_its_caller() -> None:
    with Limited(eval, seconds=20.0) as limited:
        helper = limited("__import__('os').getpid()")
        os.kill(helper, signal.SIGINT)
        assert limited("__import__('os').getpid()") == helper
