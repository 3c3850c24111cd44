"""A call that hangs or crashes costs one page, never the run."""

import pytest

from athanor.data.limited import CallFailed, Limited


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
