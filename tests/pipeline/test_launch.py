"""The processes of a step get an environment that suits how many there are."""

import pytest

from athanor.core.workers import available_cores
from athanor.pipeline.launch import Launch, environment_of


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    many = available_cores() + 1
    assert environment_of(Launch("torchrun", processes=1))["OMP_NUM_THREADS"] == str(available_cores())
    assert environment_of(Launch("torchrun", processes=many))["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in environment_of(Launch())


def test_what_the_user_sets_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment_of(Launch("torchrun", processes=2))["OMP_NUM_THREADS"] == "3"
    launch = Launch("torchrun", processes=2, environment={"OMP_NUM_THREADS": "5"})
    assert environment_of(launch)["OMP_NUM_THREADS"] == "5"
