"""What a person sees: short numbers and plain lines where there is no terminal."""

import pytest

from athanor.core import console


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (950, "950"), (0.123, "0.12"), (1234, "1.2k"), (123_456, "123k"), (34_000_000, "34.0M"), (2e9, "2.0G")],
)
def test_numbers_are_short(value, shown):
    assert console.short_number(value) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(8.2, "8s"), (125, "2m05s"), (3725, "1h02m")])
def test_times_are_short(seconds, shown):
    assert console.short_time(seconds) == shown


def test_progress_without_a_terminal_is_a_line_with_rate_and_remaining_time(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.progress("crawl", 100, "pages") as shown:
        clock[0] = 20.0
        shown.note("depth 2")
        shown.update(40)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("  crawl: 40 of 100 pages")
    assert "left" in lines[0]
    assert "depth 2" in lines[0]
    assert len(lines) == 2


def test_a_continued_run_does_not_count_old_work_as_speed(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.progress("train", 1000, "steps", done=900) as shown:
        clock[0] = 10.0
        shown.update(910)
    assert "1/s" in capfd.readouterr().err
