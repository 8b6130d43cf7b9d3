"""A law of parameters and data together, L = E + A N^-a + B D^-b, and how to spend compute by it.

Hoffmann et al., arXiv 2203.15556, approach 3: least C = 6 N D for a loss. Axes: N points, R bootstrap copies.
"""

import math
from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.forecast.scaling_law.fit import HopelessRunsError
from fullduplex.forecast.scaling_law.forms import additive, powers_starts
from fullduplex.forecast.scaling_law.robust import huber_cost, minimise, robust_scale

__all__ = ["Budget", "JointLaw", "fit_joint"]

_FEWEST_POINTS = 8
_MOST_TIED = 0.98  # correlation of log N and log D
_FLOP = 6.0  # operations a parameter and token


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How a budget of compute is best spent: value and interval of each."""

    parameters: tuple[float, float, float]
    tokens: tuple[float, float, float]
    loss: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLaw:
    """A fitted law.

    Args:
        theta_K: log E, log A, a, log B, b, for N and D as they are.
        copies_RK: the same of every bootstrap copy.
        level: of intervals.
        largest: largest N and D seen.
    """

    theta_K: Float64Array
    copies_RK: Float64Array
    level: float
    largest: tuple[float, float]

    def at(self, parameters: float, tokens: float) -> tuple[float, float, float]:
        """The loss to expect, and its interval."""
        if not (parameters > 0 and tokens > 0):
            raise InputError(f"{parameters} parameters, {tokens} tokens; expected numbers above 0")
        logs = np.log([[parameters, tokens]])
        made = np.exp(additive(logs, offset=True)(np.vstack([self.theta_K, self.copies_RK]))[0][:, 0])
        return float(made[0]), *self._between(made[1:])

    def interval(self, index: int) -> tuple[float, float]:
        """Of parameter `index`, as it is kept."""
        return self._between(self.copies_RK[:, index])

    def spend(self, compute: float) -> Budget:
        """The N and D with 6 N D = compute that the law says have the least loss.

        Raises:
            InputError: the budget is not a number above 0.
        """
        if not 0 < compute < math.inf:
            raise InputError(f"the budget is {compute}; expected a finite number of operations above 0")
        log_n_R = _best_log_n(np.vstack([self.theta_K, self.copies_RK]), compute)
        log_d_R = math.log(compute / _FLOP) - log_n_R
        terms_R = self._losses(log_n_R, log_d_R)
        n, d, loss = (
            (float(values[0]), *self._between(values[1:])) for values in (np.exp(log_n_R), np.exp(log_d_R), terms_R)
        )
        return Budget(parameters=n, tokens=d, loss=loss)

    def _losses(self, log_n_R: Float64Array, log_d_R: Float64Array) -> Float64Array:
        theta = np.vstack([self.theta_K, self.copies_RK])
        size = np.exp(theta[:, 1] - theta[:, 2] * log_n_R) + np.exp(theta[:, 3] - theta[:, 4] * log_d_R)
        return np.exp(theta[:, 0]) + size

    def _between(self, values_R: Float64Array) -> tuple[float, float]:
        tail = (1 - self.level) / 2
        low, high = np.quantile(values_R, [tail, 1 - tail])
        return float(low), float(high)


def fit_joint(
    parameters_N: Float64Array,
    tokens_N: Float64Array,
    loss_N: Float64Array,
    *,
    level: float = 0.95,
    num_copies: int = 400,
    seed: int = 0,
) -> JointLaw:
    """Fit a law of both, to positive losses without unit.

    Raises:
        HopelessRunsError: too few runs; N and D go hand in hand, so that their parts cannot be told apart; or an
            exponent's interval reaches 0.
    """
    logs_N2 = np.log(np.stack([parameters_N, tokens_N], axis=1))
    _refuse(logs_N2, loss_N)
    centre_2 = logs_N2.mean(axis=0)
    curve, y_N = additive(logs_N2 - centre_2, offset=True), np.log(loss_N)
    start_RK = powers_starts(y_N)

    def best(threshold: float) -> Float64Array:
        found_RK = minimise(curve, np.repeat(y_N[None], len(start_RK), axis=0), start_RK, threshold)
        return found_RK[int(np.argmin(huber_cost(y_N - curve(found_RK)[0], threshold)))]

    _, threshold = robust_scale(y_N - curve(best(math.inf)[None])[0][0], 5)
    theta_K = best(threshold)
    made_N = curve(theta_K[None])[0][0]
    rng, spare = np.random.default_rng(seed), y_N.size - 5
    pool_N = (y_N - made_N - (y_N - made_N).mean()) * math.sqrt(y_N.size / spare)
    drawn_RN = rng.choice(pool_N, (num_copies, y_N.size)) * np.sqrt(spare / rng.chisquare(spare, (num_copies, 1)))
    copies_RK = minimise(curve, made_N + drawn_RN, np.repeat(theta_K[None], num_copies, axis=0), threshold)
    law = JointLaw(
        theta_K=_uncentred(theta_K[None], centre_2)[0],
        copies_RK=_uncentred(copies_RK, centre_2),
        level=level,
        largest=(float(parameters_N.max()), float(tokens_N.max())),
    )
    for index, name in ((2, "parameters"), (4, "tokens")):
        low, high = law.interval(index)
        if low <= 0:
            raise HopelessRunsError(
                f"the exponent of {name} lies between {low:.3g} and {high:.3g}: these runs do not say that more {name} help; "
                "vary them more"
            )
    return law


def _uncentred(theta_RK: Float64Array, centre_2: Float64Array) -> Float64Array:
    moved = theta_RK.copy()
    moved[:, 1] += theta_RK[:, 2] * centre_2[0]
    moved[:, 3] += theta_RK[:, 4] * centre_2[1]
    return moved


def _best_log_n(theta_RK: Float64Array, compute: float) -> Float64Array:
    """Where a A N^-a = b B D^-b on 6 N D = C (arXiv 2203.15556, equation 4)."""
    _, log_a, a, log_b, b = np.maximum(theta_RK, [-np.inf, -np.inf, 1e-6, -np.inf, 1e-6]).T
    log_g = (np.log(a) + log_a - np.log(b) - log_b) / (a + b)
    return log_g + b / (a + b) * math.log(compute / _FLOP)


def _refuse(logs_N2: Float64Array, loss_N: Float64Array) -> None:
    if not (np.isfinite(logs_N2).all() and np.isfinite(loss_N).all() and (loss_N > 0).all()):
        raise HopelessRunsError(
            "a size, a token count or a loss is missing or not above 0; use a positive loss without unit"
        )
    sizes = [np.unique(column).size for column in logs_N2.T]
    if len(loss_N) < _FEWEST_POINTS or min(sizes) < 3:
        raise HopelessRunsError(
            f"{len(loss_N)} runs of {sizes[0]} sizes and {sizes[1]} token counts; a law of both needs {_FEWEST_POINTS} "
            "runs, 3 sizes and 3 token counts or more"
        )
    tied = abs(float(np.asarray(np.corrcoef(logs_N2.T))[0, 1]))
    if tied > _MOST_TIED:
        raise HopelessRunsError(
            f"parameters and tokens grow together (correlation {tied:.3f}); vary one while the other stays"
        )
