"""The parametric scaling law side by side with SciPy's L-BFGS from the same starts, on 234 runs.

    python benchmarks/scaling.py [--fidelity ../shared/fidelity] [--threads 2] [--peer-refits 60]

4,000 bootstrap refits and the grid of 4,500 starts, warm (the kernels are compiled before the clock starts). SciPy gets
the exact gradient and does a sample of each, scaled up; the published script differentiates automatically and is slower
still. Worse: refits whose objective is above SciPy's from the same start (relative difference over 1e-9); for the grid
the best of all starts is compared.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from athanor.scaling.config import Table
from athanor.scaling.fit import bootstrap, fit, published_starts, resampled_weights
from athanor.scaling.newton import huber
from athanor.scaling.runs import Runs, read_runs

RESAMPLES, SEED, DELTA = 4000, 42, 1e-3


def objective(theta: np.ndarray, runs: Runs, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The objective and its gradient by log A, log B, log E, alpha, beta."""
    a, b, e, alpha, beta = theta
    log_n, log_d = np.log(runs.parameters), np.log(runs.tokens)
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    top = terms.max(axis=0)
    share = np.exp(terms - top)
    total = share.sum(axis=0)
    residual = np.log(runs.loss) - top - np.log(total)
    pull = weights * np.clip(residual, -DELTA, DELTA)
    first, second, third = share / total
    slopes = np.stack([first, second, third, -first * log_n, -second * log_d])
    return float((weights * huber(residual, DELTA)).sum()), -(slopes * pull).sum(axis=1)


def timed(work):  # type: ignore[no-untyped-def]
    """The result of `work`, its wall seconds and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peer(start: np.ndarray, runs: Runs, weights: np.ndarray) -> float:
    """The objective that L-BFGS reaches."""
    options = {"maxiter": 15000, "maxfun": 15000}
    return float(minimize(objective, start, (runs, weights), jac=True, method="L-BFGS-B", options=options).fun)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fidelity", type=Path, default=Path(os.environ.get("ATHANOR_FIDELITY", "../shared/fidelity")))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-refits", type=int, default=60)
    options = parser.parse_args()
    table = Table(columns={"parameters": "N", "tokens": "D", "flops": "C"}, convention="all")
    runs = read_runs(options.fidelity / "scaling" / "chinchilla_runs_234.csv", table)
    sizes = runs.parameters, runs.tokens, runs.loss
    found = fit(*sizes)
    bootstrap(*sizes, found, resamples=64, threads=options.threads)

    draws, wall, cpu = timed(lambda: bootstrap(*sizes, found, resamples=RESAMPLES, seed=SEED, threads=options.threads))
    weights = resampled_weights(len(runs), RESAMPLES, SEED)
    sample = np.linspace(0, RESAMPLES - 1, options.peer_refits).astype(int)
    theirs, _, peer_cpu = timed(lambda: [peer(found.law.theta[:5], runs, weights[i]) for i in sample])
    ours = [objective(draws[i, :5], runs, weights[i])[0] for i in sample]
    worse = sum(a > b * (1 + 1e-9) for a, b in zip(ours, theirs, strict=True))
    report("4,000 bootstrap refits", wall, cpu, peer_cpu * RESAMPLES / len(sample), worse, len(sample))

    grid, wall, cpu = timed(lambda: fit(*sizes, grid="published", threads=options.threads))
    starts = published_starts("chinchilla")
    sample = np.random.default_rng(0).choice(len(starts), options.peer_refits, replace=False)
    ones = np.ones(len(runs))
    theirs, _, peer_cpu = timed(lambda: [peer(starts[i, :5], runs, ones) for i in sample])
    report("grid of 4,500 starts", wall, cpu, peer_cpu * len(starts) / len(sample), grid.objective > min(theirs), 1)
    print(f"objective {grid.objective:.10f}, best of SciPy's sample {min(theirs):.10f}; threads {options.threads}")


def report(what: str, wall: float, cpu: float, peer_cpu: float, worse: int, of: int) -> None:
    """One line of the table."""
    ours = f"{what:24s} {wall:6.2f} s, {cpu:6.2f} CPU-s"
    print(f"{ours}   SciPy {peer_cpu:7.1f} CPU-s ({peer_cpu / cpu:5.0f}x)   worse {worse:d} of {of}")


if __name__ == "__main__":
    main()
