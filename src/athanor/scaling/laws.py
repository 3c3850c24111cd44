"""The laws of scaling: loss as a function of parameters N and tokens D, and what each says is optimal.

Every law here is one expression with some coefficients held, tied or named differently,

    L(N, D) = (E + A N^-alpha + B D^-beta)^s

| form | held | coefficients as published |
|---|---|---|
| chinchilla | s = 1 | A, B, E, alpha, beta (Hoffmann et al. 2022, eq. 2) |
| tied | s = 1, alpha = beta | A, B, E, alpha (Muennighoff et al. 2023, app. A) |
| overtrained | the same law | E, a, b, eta in L = E + (a M^eta + b M^-eta) C^-eta, M = D/N, C = 6ND (Gadre et al.
2024) |
| kaplan | E = 0, beta = 1 | Nc, Dc, alpha_N, alpha_D in ((Nc/N)^(alpha_N/alpha_D) + Dc/D)^alpha_D (Kaplan et al.
2020, 1.5) |

Losses are nats per token, sizes are counts; the convention of the count of parameters goes with the numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FormName = Literal["chinchilla", "tied", "overtrained", "kaplan"]

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0  # forward 2, backward 4 (Kaplan et al. 2020, section 2.1)
NOTHING = -1e30  # the logarithm of a coefficient that is 0
A, B, E, ALPHA, BETA, POWER = range(6)


@dataclass(frozen=True)
class Form:
    """Which coefficients of the common expression are free, and what they are called."""

    name: str
    formula: str
    coefficients: tuple[str, ...]
    offset: Floats
    """Of log A, log B, log E, alpha, beta, s where the free ones are 0."""
    spread: Floats
    """[6, free]: how each free one enters."""


def _form(name: str, formula: str, coefficients: tuple[str, ...], held: Mapping[int, float], tied: bool) -> Form:
    free = [i for i in range(6) if i not in held]
    offset, spread = np.zeros(6), np.zeros((6, len(free)))
    for i, value in held.items():
        offset[i] = value
    for column, i in enumerate(free):
        spread[i, column] = 1.0
    if tied:
        spread[BETA, free.index(ALPHA)] = 1.0
    return Form(name, formula, coefficients, offset, spread)


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        _form(
            "chinchilla",
            "L = E + A N^-alpha + B D^-beta",
            ("A", "B", "E", "alpha", "beta"),
            {POWER: 1.0},
            False,
        ),
        _form("tied", "L = E + A N^-alpha + B D^-alpha", ("A", "B", "E", "alpha"), {POWER: 1.0, BETA: 0.0}, True),
        _form(
            "overtrained",
            "L = E + (a M^eta + b M^-eta) C^-eta, M = D/N, C = 6ND",
            ("a", "b", "E", "eta"),
            {POWER: 1.0, BETA: 0.0},
            True,
        ),
        _form(
            "kaplan",
            "L = ((Nc/N)^(alpha_N/alpha_D) + Dc/D)^alpha_D",
            ("Nc", "Dc", "alpha_N", "alpha_D"),
            {E: NOTHING, BETA: 1.0},
            False,
        ),
        # loss against one size; the second term is absent
        _form(
            "power_with_floor", "L = E + A X^-alpha", ("A", "E", "alpha"), {B: NOTHING, BETA: 0.0, POWER: 1.0}, False
        ),
        _form("power", "L = A X^-alpha", ("A", "alpha"), {B: NOTHING, E: NOTHING, BETA: 0.0, POWER: 1.0}, False),
    )
}


@dataclass(frozen=True)
class Optimum:
    """How a budget is best spent, according to a law."""

    compute: float
    parameters: float
    tokens: float
    loss: float

    @property
    def tokens_per_parameter(self) -> float:
        """D / N."""
        return self.tokens / self.parameters


@dataclass(frozen=True)
class Law:
    """A form with its coefficients."""

    form: str
    theta: Floats = field(repr=False)
    """log A, log B, log E, alpha, beta, s."""

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> Floats:
        """L(N, D), nats per token; arrays are paired."""
        n, d = np.asarray(parameters, np.float64), np.asarray(tokens, np.float64)
        return np.exp(log_loss(self.theta, n, d))

    def coefficients(self) -> dict[str, float]:
        """The coefficients under their published names."""
        return dict(zip(FORMS[self.form].coefficients, named(self.form, self.theta[None])[0].tolist(), strict=True))

    def optimum(self, compute: float) -> Optimum:
        """The best N and D with 6 N D = `compute` (Hoffmann et al. 2022, eq. 4).

        Raises ValueError where the law has no optimum inside: an exponent that is not above 0.
        """
        parameters = float(optimal_parameters(self.theta[None], compute)[0])
        tokens = compute / FLOPS_PER_PARAMETER_AND_TOKEN / parameters
        if not (math.isfinite(parameters) and parameters > 0):
            raise ValueError(f"the {self.form} law {self.coefficients()} has no optimum: an exponent is not above 0")
        return Optimum(compute, parameters, tokens, float(self.loss(parameters, tokens)))

    @property
    def exponent_of_parameters(self) -> float:
        """a of N* ~ C^a; the exponent b of D* ~ C^b is 1 - a."""
        return float(self.theta[BETA] / (self.theta[ALPHA] + self.theta[BETA]))

    def tokens_for_loss(self, parameters: float, loss: float) -> float:
        """The D at which a model of `parameters` reaches `loss`; infinite where it never does."""
        inner = loss ** (1.0 / self.theta[POWER])
        rest = inner - math.exp(self.theta[E]) - math.exp(self.theta[A]) * parameters ** -self.theta[ALPHA]
        if rest <= 0:
            return math.inf
        return float((math.exp(self.theta[B]) / rest) ** (1.0 / self.theta[BETA]))


def law(form: FormName, **coefficients: float) -> Law:
    """A law from its published coefficients, such as law("chinchilla", A=406.4, B=410.7, E=1.69, alpha=.34, beta=.28).

    Raises ValueError for coefficients that the form does not have, lacks or cannot have.
    """
    wanted = FORMS[form].coefficients
    if set(coefficients) != set(wanted):
        raise ValueError(f"the {form} law has the coefficients {', '.join(wanted)}; found {', '.join(coefficients)}")
    if not all(value > 0 for value in coefficients.values()):
        raise ValueError(f"coefficients of a law are above 0; found {coefficients}")
    c = coefficients
    if form == "kaplan":
        ratio = c["alpha_N"] / c["alpha_D"]
        theta = [ratio * math.log(c["Nc"]), math.log(c["Dc"]), NOTHING, ratio, 1.0, c["alpha_D"]]
    elif form == "overtrained":
        shift = c["eta"] * math.log(FLOPS_PER_PARAMETER_AND_TOKEN)
        theta = [math.log(c["a"]) - shift, math.log(c["b"]) - shift, math.log(c["E"]), 2 * c["eta"], 2 * c["eta"], 1.0]
    else:
        theta = [math.log(c["A"]), math.log(c["B"]), math.log(c["E"]), c["alpha"], c.get("beta", c["alpha"]), 1.0]
    return Law(form, np.array(theta))


def named(form: str, theta: Floats) -> Floats:
    """Coefficients [draws, 6] under the published names of `form`: [draws, names]."""
    alpha, beta, power = theta[:, ALPHA], theta[:, BETA], theta[:, POWER]
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        scale = np.exp(theta[:, :ALPHA])
        columns = {"A": scale[:, A], "B": scale[:, B], "E": scale[:, E], "alpha": alpha, "beta": beta}
        if form == "overtrained":
            lifted = FLOPS_PER_PARAMETER_AND_TOKEN ** (alpha / 2)
            columns |= {"a": scale[:, A] * lifted, "b": scale[:, B] * lifted, "eta": alpha / 2}
        if form == "kaplan":
            columns |= {"Nc": np.exp(theta[:, A] / alpha), "Dc": scale[:, B], "alpha_N": alpha * power}
            columns |= {"alpha_D": power}
    return np.stack([columns[name] for name in FORMS[form].coefficients], axis=1)


def log_loss(theta: Floats, parameters: Floats, tokens: Floats) -> Floats:
    """log L for coefficients [..., 6] and sizes of any one shape that broadcasts against [...]."""
    a, b, e, alpha, beta, power = np.moveaxis(theta, -1, 0)
    first, second = a - alpha * np.log(parameters), b - beta * np.log(tokens)
    result: Floats = power * np.logaddexp(np.logaddexp(first, second), e)
    return result


def optimal_parameters(theta: Floats, compute: ArrayLike) -> Floats:
    """N* for coefficients [draws, 6] at budgets that broadcast against [draws]: G (C / 6)^(beta / (alpha + beta))."""
    a, b, alpha, beta = theta[:, A], theta[:, B], theta[:, ALPHA], theta[:, BETA]
    with np.errstate(all="ignore"):
        log_g = (np.log(alpha) + a - np.log(beta) - b) / (alpha + beta)
        share = beta / (alpha + beta)
        found = np.exp(log_g + share * np.log(np.asarray(compute, np.float64) / FLOPS_PER_PARAMETER_AND_TOKEN))
    result: Floats = np.where((alpha > 0) & (beta > 0), found, np.nan)
    return result
