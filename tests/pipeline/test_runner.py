"""The runner: what is done once, kept, continued and reported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from athanor.core.artifact import read_json, read_manifest
from athanor.core.config import ConfigError
from athanor.pipeline import runner
from athanor.pipeline.launch import Launch
from athanor.pipeline.state import states

HERE = Path(__file__).parent


def test_a_run_ends_with_results_manifests_and_what_it_publishes(make_recipe, tmp_path):
    folder = runner.run(make_recipe(), tmp_path)
    assert read_json(folder / "total.json") == 6
    result = folder / read_json(folder / "published.json")["result"]
    manifest = read_manifest(result)
    assert manifest is not None
    assert manifest.metrics["total"] == 6
    assert manifest.inputs == {"numbers": make_recipe().steps["numbers"].fingerprint}
    assert [file.path for file in manifest.files] == ["step.json", "total.json"]
    assert manifest.peak_memory_bytes > 1_000_000
    assert manifest.libraries["python"].startswith("3.")
    assert not (result / "_work").exists()


def test_a_second_run_keeps_everything(make_recipe, tmp_path, capfd):
    runner.run(make_recipe(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "toy").rglob("*") if path.is_file()}
    capfd.readouterr()
    runner.run(make_recipe(), tmp_path)
    assert capfd.readouterr().err.count("kept") == 2
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "toy").rglob("*") if path.is_file()}


def test_changing_one_field_reruns_only_what_depends_on_it_and_names_the_field(make_recipe, tmp_path):
    folder = runner.run(make_recipe(), tmp_path)
    found = {state.step.name: state for state in states(make_recipe(add=5), folder)}
    assert found["numbers"].condition == "kept"
    assert (found["total"].condition, found["total"].because) == ("would run", "total.add 0 -> 5")
    found = {state.step.name: state for state in states(make_recipe(n=4), folder)}
    assert found["numbers"].because == "numbers.n 3 -> 4"
    assert found["total"].because == "input numbers (numbers) changes"


def test_a_failing_step_says_so_keeps_the_rest_and_continues_when_mended(make_recipe, tmp_path, capfd):
    with pytest.raises(runner.StepFailed) as failure:
        runner.run(make_recipe(fail=True), tmp_path)
    assert failure.value.status == 2
    assert "error: numbers.json: expected numbers, found words" in capfd.readouterr().err
    runner.run(make_recipe(), tmp_path)  # `fail` is a runtime field: the same result is continued
    errors = capfd.readouterr().err
    assert "numbers  kept" in errors
    assert "total    continues" in errors


def test_only_needs_finished_inputs_and_until_brings_them(make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="its inputs are not finished"):
        runner.run(make_recipe(), tmp_path, only="total")
    runner.run(make_recipe(), tmp_path, until="numbers")
    assert not (tmp_path / "toy" / "total.json").exists()
    runner.run(make_recipe(), tmp_path, only="total")
    with pytest.raises(ConfigError, match="did you mean 'total'"):
        runner.run(make_recipe(), tmp_path, only="totl")


def start_runner(tmp_path: Path, **count: object) -> "subprocess.Popen[str]":
    """A runner of the toy recipe in a process of its own."""
    program = (
        f"import sys, pathlib; sys.path.insert(0, {str(HERE)!r}); import toy_steps\n"
        "from athanor.pipeline import runner\n"
        "from athanor.pipeline.launch import Launch\n"
        "from athanor.pipeline.recipe import Recipe\n"
        "from athanor.pipeline.step import Step\n"
        f"launch = Launch(environment={{'PYTHONPATH': {str(HERE)!r}}})\n"
        f"numbers = Step('numbers', 'toy.count', 'toy_steps:count', toy_steps.Count(**{count!r}), launch=launch)\n"
        f"runner.run(Recipe('toy', {{'numbers': numbers}}), pathlib.Path({str(tmp_path)!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def finish(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[1]


def test_two_runs_at_once_do_the_work_once(tmp_path):
    log = tmp_path / "log"
    first = start_runner(tmp_path, n=4, seconds_each=0.3, log=str(log))
    wait_for(log.exists)
    second = start_runner(tmp_path, n=4, seconds_each=0.3, log=str(log))
    finish(first)
    said = finish(second)
    assert first.returncode == second.returncode == 0
    assert log.read_text().split() == ["1", "2", "3", "4"]
    assert "waits for another process" in said
    assert "kept" in said


def test_a_run_killed_at_any_moment_continues_where_it_was(tmp_path):
    log = tmp_path / "log"
    killed = start_runner(tmp_path, n=4, seconds_each=0.3, log=str(log))
    wait_for(lambda: log.exists() and "2" in log.read_text())
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    again = start_runner(tmp_path, n=4, seconds_each=0.0, log=str(log))
    said = finish(again)
    assert "continues" in said
    assert log.read_text().split().count("1") == 1
    (manifest_path,) = tmp_path.glob("toy/numbers-*/manifest.json")
    assert json.loads(manifest_path.read_text())["attempts"] == 2


def test_a_step_ends_soon_after_its_runner_was_killed(tmp_path):
    log = tmp_path / "log"
    killed = start_runner(tmp_path, n=200, seconds_each=0.1, log=str(log))
    wait_for(log.exists)
    os.kill(killed.pid, signal.SIGKILL)  # the runner alone, not the step's process
    killed.wait()
    time.sleep(2.0)
    size = log.stat().st_size
    time.sleep(0.5)
    assert log.stat().st_size == size
    killed.stderr.close()


def test_an_interruption_reaches_the_step_and_leaves_a_run_that_continues(tmp_path):
    log = tmp_path / "log"
    interrupted = start_runner(tmp_path, n=200, seconds_each=0.1, log=str(log))
    wait_for(log.exists)
    interrupted.send_signal(signal.SIGTERM)
    finish(interrupted)
    assert interrupted.returncode != 0
    size = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == size
    assert not list(tmp_path.glob("toy/numbers-*/manifest.json"))


@pytest.mark.slow
def test_torchrun_starts_several_processes_and_one_writes_the_manifest(make_recipe, tmp_path):
    launch = Launch("torchrun", processes=2, environment={"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"})
    folder = runner.run(make_recipe(launch=launch), tmp_path)
    (manifest_path,) = folder.glob("total-*/manifest.json")
    assert read_json(manifest_path)["metrics"] == {"total": 6, "rank_count": 2}
