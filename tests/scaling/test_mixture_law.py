"""Laws of mixtures rank held-out mixtures, and the recommended one keeps within what the data allow."""

import json
from pathlib import Path

import numpy as np
import pytest

from athanor import cli
from athanor.core.mixture import read_weights
from athanor.scaling.mixture_law import fit_mixture_law, recommend, spearman
from athanor.scaling.steps import read_proxies

SOURCES = ["wiki", "books", "web", "code"]


def proxies(count: int = 60, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures and losses by an exponential law with books best and code worst."""
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.ones(4), count)
    losses = 2.0 + np.exp(weights @ np.array([0.2, -1.5, 0.5, 1.4]))
    return weights, losses + random.normal(0, noise, count)


@pytest.mark.slow
def test_boosting_ranks_the_published_test_mixtures_without_having_seen_them(scaling: Path) -> None:
    pytest.importorskip("lightgbm")
    files = [
        scaling / f"regmix_{part}_{what}_1m.csv" for part in ("train", "test") for what in ("mixture", "pile_loss")
    ]
    _, weights, targets, losses = read_proxies(files[0], files[1])
    _, unseen, _, truth = read_proxies(files[2], files[3])
    column = targets.index("metric/the_pile_pile_cc_val_loss")
    law = fit_mixture_law(weights, losses[:, column], "pile_cc")
    assert spearman(law.predict(unseen), truth[:, column]) >= 0.985
    exponential = fit_mixture_law(weights, losses[:, column], "pile_cc", "exponential")
    assert exponential.rank_correlation < law.rank_correlation


def test_the_exponential_law_behind_simulated_proxies_is_found() -> None:
    weights, losses = proxies()
    law = fit_mixture_law(weights, losses, "loss", "exponential")
    assert law.chosen["c"] == pytest.approx(2.0, abs=1e-4)
    assert law.chosen["t"] == pytest.approx([0.2, -1.5, 0.5, 1.4], abs=1e-3)
    assert law.rank_correlation == pytest.approx(1.0, abs=1e-9)


def test_boosting_is_the_same_every_time() -> None:
    pytest.importorskip("lightgbm")
    weights, losses = proxies(80, noise=0.01)
    one, two = (fit_mixture_law(weights, losses, "loss", seed=3) for _ in range(2))
    assert np.array_equal(one.predict(weights), two.predict(weights)) and one.chosen == two.chosen
    assert one.rank_correlation > 0.9


def test_the_recommended_mixture_takes_the_best_sources_as_far_as_they_reach() -> None:
    weights, losses = proxies()
    law = fit_mixture_law(weights, losses, "loss", "exponential")
    free = recommend([law], weights, SOURCES)
    assert free.weights["books"] > 0.8 and sum(free.weights.values()) == pytest.approx(1.0)
    assert free.predicted < free.natural
    capped = recommend([law], weights, SOURCES, available=[1e9, 1e8, 5e9, 1e9], total_tokens=2e9, max_epochs=4, seed=1)
    assert capped.weights["books"] <= 0.2 + 1e-9 and capped.epochs["books"] <= 4 + 1e-6
    assert "books" in capped.capped and capped.weights["wiki"] > 0.5
    with pytest.raises(ValueError, match="raise max_epochs"):
        recommend([law], weights, SOURCES, available=[1e6] * 4, total_tokens=1e9)


def test_a_command_leaves_weights_that_the_data_mixture_reads(tmp_path: Path) -> None:
    weights, losses = proxies()
    mixtures, told = tmp_path / "mixtures.csv", tmp_path / "losses.csv"
    rows = [",".join([str(i), *(repr(float(w)) for w in row)]) for i, row in enumerate(weights)]
    mixtures.write_text("\n".join(["index," + ",".join(f"train_{name}" for name in SOURCES), *rows]))
    told.write_text("\n".join(["index,val", *(f"{i},{float(y)!r}" for i, y in enumerate(losses))]))
    words = ["scaling", "mixture", "--mixtures", str(mixtures), "--losses", str(told), "--method", "exponential"]
    words += ["--held-out", str(mixtures), str(told)]
    assert cli.main([*words, "--strip", "train_", "--out", str(tmp_path / "out")]) == 0
    assert read_weights(tmp_path / "out" / "weights.json")["books"] > 0.8
    found = json.loads((tmp_path / "out" / "mixture_law.json").read_text())
    assert found["rank_correlation"] > 0.99 and found["held_out_rank_correlation"]["val"] > 0.99


@pytest.mark.parametrize(
    ("mixtures", "losses", "told"),
    [
        ("index,a,b\n1,.5,.5\n2,.1,.9\n", "index,val\n1,3\n", "1 proxy runs are in only one"),
        ("index,a,b\n1,.5,.9\n", "index,val\n1,3\n", "index 1 \\(1.4\\)"),
        ("a,b\n.5,.5\n", "index,val\n1,3\n", "expected a column `index`"),
        ("index,a,b\n1,.5,x\n", "index,val\n1,3\n", "line 2"),
        ("index,a,b\n1,.5,.5\n1,.5,.5\n", "index,val\n1,3\n", "index 1 twice"),
    ],
)
def test_tables_of_proxies_that_do_not_fit_are_refused(tmp_path: Path, mixtures: str, losses: str, told: str) -> None:
    (tmp_path / "m.csv").write_text(mixtures)
    (tmp_path / "l.csv").write_text(losses)
    with pytest.raises(ValueError, match=told):
        read_proxies(tmp_path / "m.csv", tmp_path / "l.csv")
