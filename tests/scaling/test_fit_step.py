"""`athanor scaling fit` from a CSV to a folder with a manifest."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from athanor import cli
from athanor.core.artifact import read_manifest
from athanor.scaling.runs import Runs


def write(path: Path, runs: Runs) -> Path:
    lines = ["parameters,tokens,loss,convention"]
    lines += [
        f"{n!r},{d!r},{y!r},all"
        for n, d, y in zip(*(v.tolist() for v in (runs.parameters, runs.tokens, runs.loss)), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_becomes_a_folder_with_law_intervals_and_predictions(
    tmp_path: Path, ladder: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = write(tmp_path / "runs.csv", ladder()), tmp_path / "fit"
    words = ["scaling", "fit", str(table), "--out", str(out), "--resamples", "200", "--predict", "1e9,2e10"]
    assert cli.main(words) == 0
    found = json.loads((out / "fit.json").read_text())
    assert found["coefficients"]["E"]["value"] == pytest.approx(1.8172, rel=0.1)
    assert found["exponents"]["parameters"] == pytest.approx(0.5126, abs=0.05)
    assert len(found["isoflop"]["bottoms"]) == 5 and len(found["optima"]) == 3
    predicted = found["predictions"][0]
    assert predicted["interval"][0] < predicted["loss"] < predicted["interval"][1]
    drawn = {path.stem for path in out.glob("*.svg")}
    assert drawn >= {"loss_against_flops", "isoflop", "optima", "contours", "residuals"}
    manifest = read_manifest(out)
    assert manifest is not None and manifest.kind == "scaling.fit" and manifest.metrics["runs"] == 35
    assert len((out / "residuals.csv").read_text().splitlines()) == 36
    assert "90% bootstrap" in capsys.readouterr().err
    assert cli.main(words) == 0  # finished: kept


def test_a_table_that_cannot_be_fitted_ends_in_one_clear_line(
    tmp_path: Path, ladder: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "runs.csv", ladder(budgets=1))
    assert cli.main(["scaling", "fit", str(table), "--out", str(tmp_path / "fit")]) == 2
    assert "about one budget" in capsys.readouterr().err
    assert read_manifest(tmp_path / "fit") is None


def test_backtest_compare_and_hyperparameters_leave_findings_and_figures(
    tmp_path: Path, ladder: Callable[..., Runs]
) -> None:
    runs = ladder(budgets=7)
    lines = ["parameters,tokens,loss,convention,architecture,lr"]
    for i, (n, d, y) in enumerate(zip(runs.parameters, runs.tokens, runs.loss, strict=True)):
        for name, worse in (("transformer", 1.0), ("lstm", 1.07)):
            lines.append(f"{n!r},{d!r},{y * worse!r},all,{name},{0.01 * 2 ** (i % 3)}")
    table = tmp_path / "runs.csv"
    table.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    where = ["--where", "architecture", "transformer"]
    assert cli.main(["scaling", "backtest", str(table), *where, "--out", str(tmp_path / "b"), "--resamples", "50"]) == 0
    assert (
        cli.main(["scaling", "compare", "lstm", "transformer", "--runs", str(table), "--out", str(tmp_path / "c")]) == 0
    )
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert [side["name"] for side in found["sides"]] == ["lstm", "transformer"] and found["compute_factor"][0] > 1
    assert (tmp_path / "b" / "backtest.svg").exists() and (tmp_path / "c" / "compare.svg").exists()
    rates = ["parameters,tokens,loss,convention,lr"]
    for n in (1e6, 1e7, 1e8):
        best = 3 * n**-0.4
        rates += [
            f"{n},{20 * n},{4 - 0.1 * (n > 1e6) + 0.1 * (k - 1.2) ** 2},all,{best * 2.0 ** (k - 1.2)}" for k in range(4)
        ]
    (tmp_path / "lr.csv").write_text("\n".join(rates))
    words = [
        "scaling",
        "hyperparameters",
        str(tmp_path / "lr.csv"),
        "--predict",
        "1e9,2e10",
        "--out",
        str(tmp_path / "h"),
    ]
    assert cli.main(words) == 0
    found = json.loads((tmp_path / "h" / "hyperparameters.json").read_text())
    assert found["exponents"]["parameters"] == pytest.approx(-0.4, abs=0.01)
    assert found["recommendations"][0]["value"] == pytest.approx(3 * 1e9**-0.4, rel=0.05)


def test_the_critical_batch_is_found_from_runs_at_one_loss(tmp_path: Path) -> None:
    rows = ["parameters,tokens,loss,convention,batch_tokens"]
    for batch in (1e3, 1e4, 1e5, 1e6):
        rows.append(f"1e6,{500 * (1 + 3e4 / batch) * batch},3.2,all,{batch}")
    (tmp_path / "b.csv").write_text("\n".join(rows))
    words = ["scaling", "hyperparameters", str(tmp_path / "b.csv"), "--to-loss", "3.2", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    found = json.loads((tmp_path / "out" / "hyperparameters.json").read_text())
    assert found["critical_batch_tokens"] == pytest.approx(3e4, rel=1e-3)
