"""Tables of runs: published ones from the reference data, and simulated ladders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from athanor.scaling.config import Table
from athanor.scaling.laws import Law, law
from athanor.scaling.runs import Runs, read_runs, runs_from_arrays


@pytest.fixture(scope="session")
def scaling(fidelity: Path) -> Path:
    """The folder of published tables of runs."""
    return fidelity / "scaling"


@pytest.fixture(scope="session")
def chinchilla_runs(scaling: Path) -> Runs:
    """The 234 runs of Hoffmann et al. 2022 as published by Besiroglu et al. 2024 and Takano."""
    columns = {"parameters": "N", "tokens": "D", "flops": "C"}
    return read_runs(scaling / "chinchilla_runs_234.csv", Table(columns=columns, convention="all"))


@pytest.fixture(scope="session")
def overtraining_runs(scaling: Path) -> dict[str, Runs]:
    """The runs of Gadre et al. 2024 up to 2e20 FLOPs, by training set; loss on C4."""
    columns = {"parameters": "N", "tokens": "D", "loss": "loss_c4_val"}
    return {
        name: read_runs(
            scaling / "overtraining_dev.csv", Table(columns=columns, convention="all", where={"dataset_name": name})
        )
        for name in ("c4_original", "rpj", "rw_original")
    }


@pytest.fixture(scope="session")
def truth() -> Law:
    """The law that simulated ladders follow."""
    return law("chinchilla", A=482.01, B=2085.43, E=1.8172, alpha=0.3478, beta=0.3658)


@pytest.fixture(scope="session")
def ladder(truth: Law) -> Callable[..., Runs]:
    """Makes isoFLOP ladders: (noise, seed, budgets, sizes per budget) -> runs."""

    def made(noise: float = 0.003, seed: int = 0, budgets: int = 5, sizes: int = 7) -> Runs:
        random = np.random.default_rng(seed)
        parameters, tokens = [], []
        for compute in np.geomspace(1e17, 1e19, budgets):
            best = truth.optimum(float(compute)).parameters
            for n in best * np.geomspace(1 / 4, 4, sizes):
                parameters.append(n)
                tokens.append(compute / 6 / n)
        n, d = np.array(parameters), np.array(tokens)
        loss = truth.loss(n, d) * np.exp(random.normal(0, noise, len(n)))
        return runs_from_arrays(n, d, loss, convention="all")

    return made
