"""Power laws y = k x^a by weighted least squares on logarithms, with intervals of the exponent and of predictions.

What the three panels of loss against compute, data and parameters show, and how optima grow with compute. Weights
multiply the residuals (1 / the standard deviation of log y), as in Porian et al. 2024.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(intercept) * x^exponent."""

    exponent: float
    intercept: float
    exponent_error: float
    """Standard error; NaN with two points."""
    residual_scale: float
    """Weighted standard deviation of the residuals in log y, for a weight of 1; NaN with two points."""
    centre: float
    """Weighted mean of log x."""
    spread: float
    """Weighted sum of squares of log x about it."""
    total_weight: float
    num_points: int

    def at(self, x: ArrayLike) -> Floats:
        """y at x."""
        result: Floats = np.exp(self.intercept + self.exponent * np.log(np.asarray(x, np.float64)))
        return result

    def band(self, x: ArrayLike, coverage: float) -> tuple[Floats, Floats]:
        """The interval of the law (not of a new point) at x; NaN with two points."""
        log_x = np.log(np.asarray(x, np.float64))
        wide = self.residual_scale * np.sqrt(1 / self.total_weight + (log_x - self.centre) ** 2 / self.spread)
        half = student_quantile((1 + coverage) / 2, self.num_points - 2) * wide
        middle = self.intercept + self.exponent * log_x
        return np.exp(middle - half), np.exp(middle + half)

    def exponent_interval(self, coverage: float) -> tuple[float, float]:
        """The interval of the exponent."""
        half = student_quantile((1 + coverage) / 2, self.num_points - 2) * self.exponent_error
        return self.exponent - half, self.exponent + half


def power_law(x: ArrayLike, y: ArrayLike, scale: ArrayLike | None = None) -> PowerLaw:
    """The power law through points with x and y above 0; `scale`: standard deviations of log y, one for each.

    Points whose scale is missing or not above 0 are left out. Raises ValueError with fewer than two different x.
    """
    log_x, log_y = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    sizes = np.ones_like(log_x) if scale is None else np.asarray(scale, np.float64)
    kept = np.isfinite(sizes) & (sizes > 0) & np.isfinite(log_x) & np.isfinite(log_y)
    log_x, log_y, w = log_x[kept], log_y[kept], 1.0 / sizes[kept] ** 2
    if len(np.unique(log_x)) < 2:
        raise ValueError(f"a power law needs points at two or more sizes; found {len(np.unique(log_x))}")
    total = float(w.sum())
    centre = float((w * log_x).sum() / total)
    spread = float((w * (log_x - centre) ** 2).sum())
    exponent = float((w * (log_x - centre) * log_y).sum() / spread)
    intercept = float((w * log_y).sum() / total - exponent * centre)
    residuals = log_y - intercept - exponent * log_x
    freedom = len(log_x) - 2
    residual_scale = math.sqrt(float((w * residuals**2).sum()) / freedom) if freedom > 0 else math.nan
    return PowerLaw(
        exponent, intercept, residual_scale / math.sqrt(spread), residual_scale, centre, spread, total, len(log_x)
    )


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution (SciPy's); NaN without a degree of freedom."""
    if freedom < 1:
        return math.nan
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
