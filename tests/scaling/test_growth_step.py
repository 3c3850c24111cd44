"""`athanor scaling growth` gives published exponents from published optima."""

import json
from pathlib import Path

import pytest

from athanor import cli


def test_a_published_exponent_comes_out_of_the_command(tmp_path: Path, scaling: Path) -> None:
    words = ["scaling", "growth", str(scaling / "porian_optimal_pairs.csv"), "--of", "n", "--scale", "n_star_std"]
    step = {"dataset": "rw", "hparams": "tuned", "warmup": "short", "decay": "const", "param_count": "standard"}
    words += ["--where", *(word for pair in (step | {"val": "val"}).items() for word in pair)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "growth.json").read_text())
    assert found["exponents"]["n"] == pytest.approx(0.4969, abs=1e-3)
    assert (tmp_path / "out" / "growth.svg").exists()


def test_columns_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "o.csv").write_text("flops,n\n1e18,1e8\n1e19,3e8\n")
    words = ["scaling", "growth", str(tmp_path / "o.csv"), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 2 and "no column 'parameters'" in capsys.readouterr().err
    assert cli.main([*words, "--of", "n", "--budgets", "1e20"]) == 0
    found = json.loads((tmp_path / "out" / "growth.json").read_text())
    assert found["growth"]["n"]["predictions"][0]["value"] == pytest.approx(9e8)


def test_several_optima_of_a_budget_are_not_fitted_in_silence(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("flops,n\n1e18,1e8\n1e19,3e8\n1e18,2e8\n1e19,6e8\n")
    assert cli.main(["scaling", "growth", str(tmp_path / "o.csv"), "--of", "n", "--out", str(tmp_path / "out")]) == 0
    assert "4 optima at 2 budgets" in json.loads((tmp_path / "out" / "growth.json").read_text())["notes"][0]
