"""Time series read as if the step had never stopped."""

from athanor.core.tracker import METRICS, Tracker, read_metrics


def test_rows_past_the_checkpoint_are_dropped_on_resume(tmp_path):
    with Tracker(tmp_path) as tracker:
        for step in range(5):
            tracker.log(step, loss=1.0 / (step + 1))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 5, "lo')  # cut short by a kill
    with Tracker(tmp_path, resume_step=2) as tracker:
        tracker.log(3, loss=0.5, skipped=None)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]
    assert read_metrics(tmp_path)[-1].keys() == {"step", "seconds", "loss"}


def test_seconds_go_on_after_a_resume_and_infinity_becomes_null(tmp_path):
    with Tracker(tmp_path) as tracker:
        tracker.log(0, loss=float("inf"))
    rows = read_metrics(tmp_path)
    assert rows[0]["loss"] is None
    with Tracker(tmp_path, resume_step=0) as tracker:
        tracker.log(1, loss=1)
    assert read_metrics(tmp_path)[1]["seconds"] >= rows[0]["seconds"]


def test_a_step_that_logged_nothing_has_no_rows(tmp_path):
    assert read_metrics(tmp_path) == []
