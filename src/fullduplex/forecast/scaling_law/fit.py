"""Fit a law to runs: robustly, with intervals, in the shape that the data can tell, or not at all.

Axes: N points, R bootstrap copies, K parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.forecast.scaling_law.forms import FORMS, Form, additive, linear_offset, starts
from fullduplex.forecast.scaling_law.robust import Curve, huber_cost, minimise, robust_scale

__all__ = ["FitConfig", "FormFit", "HopelessRunsError", "Law", "compare_forms", "fit_law"]

_FEWEST_SIZES = 4
_LEAST_SPAN = 3.0  # largest x over smallest
_LARGEST_EXPONENT = 10.0


class HopelessRunsError(InputError):
    """No law can be read from these runs; the message says why and what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How to fit.

    Args:
        nats: the loss is a likelihood in nats of the data's own unit: fitted as it is, with an offset, so that another
            unit of the data does not change the exponent. False: a positive loss without unit, fitted as its logarithm.
        form: take this one instead of the one that the information criterion prefers.
        level: of the intervals.
        num_copies: bootstrap copies.
        seed: of the copies.
    """

    nats: bool = False
    form: Literal["constant", "power", "offset"] | None = None
    level: float = 0.95
    num_copies: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or self.num_copies < 20:
            raise InputError(f"level {self.level}, num_copies {self.num_copies}; expected 0 to 1, 20 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFit:
    """One shape, fitted.

    Args:
        form: which.
        theta_K: log E or E, then b and a.
        criterion: Akaike's, corrected for few points, of Huber's cost; infinite where there are too few points for it.
        scale: of the residuals: relative for a logarithm, else in nats.
    """

    form: Form
    theta_K: Float64Array
    criterion: float
    scale: float

    @property
    def exponent(self) -> float:
        """a; 0 of a constant."""
        return float(self.theta_K[-1]) if self.form.powers else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A fitted law and the shapes it was chosen from.

    Args:
        fits: all shapes, for the table.
        chosen: the one that is meant; the constant where the losses do not surely fall.
        copies_RK: its parameters from every bootstrap copy.
        slope_interval: of a straight line through the losses (or their logarithms) over log x.
        centre: mean of log x; parameters are relative to it.
        span: smallest and largest x.
        config: how it was fitted.
    """

    fits: tuple[FormFit, ...]
    chosen: FormFit
    copies_RK: Float64Array
    slope_interval: tuple[float, float]
    centre: float
    span: tuple[float, float]
    config: FitConfig

    @property
    def exponent(self) -> float:
        """a of the law."""
        return self.chosen.exponent

    @property
    def exponent_interval(self) -> tuple[float, float]:
        """Of a, at the level of the configuration."""
        return _between(self.copies_RK[:, -1], self.config.level)

    @property
    def floor(self) -> float | None:
        """E, the loss that no size gets below; None where the law has none."""
        if not self.chosen.form.offset:
            return None
        return float(self.chosen.theta_K[0]) if self.config.nats else math.exp(self.chosen.theta_K[0])

    @property
    def floor_interval(self) -> tuple[float, float] | None:
        """Of E."""
        if not self.chosen.form.offset:
            return None
        low, high = _between(self.copies_RK[:, 0], self.config.level)
        return (low, high) if self.config.nats else (math.exp(low), math.exp(high))

    @property
    def reference(self) -> float | None:
        """x0 of (x0 / x)^a, as the paper writes a law without offset; None for other shapes."""
        if self.chosen.form.name != "power":
            return None
        b, a = self.chosen.theta_K
        exponent = b / a + self.centre
        return math.exp(exponent) if exponent < 700 else math.inf

    def at(self, x: float) -> tuple[float, float, float]:
        """The loss to expect at x, and the interval of the *law* there (runs scatter around it).

        Raises:
            InputError: x is not a number above 0.
        """
        if not 0 < x < math.inf:
            raise InputError(f"x is {x}; expected a finite number above 0")
        u = np.array([math.log(x) - self.centre])
        made = float(self._value(self.chosen.theta_K[None], u)[0, 0])
        low, high = _between(self._value(self.copies_RK, u)[:, 0], self.config.level)
        return made, low, high

    def needed_for(self, loss: float) -> tuple[float, float, float]:
        """The x at which the law reaches `loss`, with its interval; infinite where a bootstrap copy never does.

        Raises:
            HopelessRunsError: the law never gets there.
        """
        found = self._inverse(self.chosen.theta_K[None], loss)[0]
        if not math.isfinite(found):
            raise HopelessRunsError(f"a loss of {loss:g} is below what this law ever reaches, {self.floor}")
        low, high = _between(self._inverse(self.copies_RK, loss), self.config.level)
        return float(found), low, high

    def _value(self, theta_RK: Float64Array, u_N: Float64Array) -> Float64Array:
        made = _curve(self.chosen.form, u_N, self.config.nats)(theta_RK)[0]
        return made if self.config.nats else np.exp(made)

    def _inverse(self, theta_RK: Float64Array, loss: float) -> Float64Array:
        floor_R = np.zeros(len(theta_RK))
        if self.chosen.form.offset:
            floor_R = theta_RK[:, 0] if self.config.nats else np.exp(theta_RK[:, 0])
        rest_R, b_R, a_R = loss - floor_R, theta_RK[:, -2], theta_RK[:, -1]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x_R = np.exp((b_R - np.log(rest_R)) / a_R + self.centre)
        return np.where((rest_R > 0) & (a_R > 0), x_R, np.inf)


def compare_forms(
    x_N: Sequence[float] | Float64Array, loss_N: Sequence[float] | Float64Array, config: FitConfig
) -> Law:
    """Fit every shape and choose one; `fit_law` refuses where the choice is that there is no law.

    Whether there is one is asked of a straight line: does the interval of its slope stay below 0? That is Student's test,
    and fair with four points, where an information criterion is not. Which shape it has, the criterion says.

    Intervals come from residuals drawn anew, their size itself drawn as uncertain as so few points leave it
    (chi-squared): for a straight line these are Student's intervals. That one shape was preferred to another is not in
    them.

    Raises:
        HopelessRunsError: too few sizes, too close together, or losses that this kind of fit cannot take.
    """
    x_N, loss_N = np.asarray(x_N, np.float64), np.asarray(loss_N, np.float64)
    _refuse_hopeless(x_N, loss_N, config)
    log_x_N = np.log(x_N)
    centre = float(log_x_N.mean())
    u_N, y_N = log_x_N - centre, loss_N if config.nats else np.log(loss_N)
    forms = _possible(config, y_N.size)
    best = {form.name: _best(form, u_N, y_N, config.nats, math.inf) for form in forms}
    # One threshold for all shapes, from the richest that leaves some points over: only then do their costs compare.
    richest = max(forms, key=lambda form: form.num_parameters if y_N.size > form.num_parameters + 2 else 0)
    residual_N = y_N - _curve(richest, u_N, config.nats)(best[richest.name][None])[0][0]
    _, threshold = robust_scale(residual_N, richest.num_parameters)
    fits = tuple(_fitted(form, u_N, y_N, threshold, config.nats) for form in forms)
    allowed = [fit for fit in fits if fit.form.powers and config.form in (None, fit.form.name)]
    chosen = min(allowed, key=lambda fit: fit.criterion)
    slope = _slope_interval(u_N, y_N, threshold, config)
    if slope[1] >= 0:
        chosen = next(fit for fit in fits if not fit.form.powers)
    span = (float(x_N.min()), float(x_N.max()))
    copies_RK = _bootstrap(chosen, u_N, y_N, threshold, config)
    return Law(
        fits=fits, chosen=chosen, copies_RK=copies_RK, slope_interval=slope, centre=centre, span=span, config=config
    )


def fit_law(x_N: Sequence[float] | Float64Array, loss_N: Sequence[float] | Float64Array, config: FitConfig) -> Law:
    """The law of loss over x.

    Args:
        x_N: parameters, data or compute of every run, above 0.
        loss_N: its loss. For a compute law, the lower envelope (`envelope`).
        config: how to fit.

    Raises:
        HopelessRunsError: as `compare_forms`; or the losses do not surely fall, or the interval of the exponent reaches 0:
            there is no law here to be confident of.
    """
    law = compare_forms(x_N, loss_N, config)
    if not law.chosen.form.powers:
        low, high = law.slope_interval
        raise HopelessRunsError(
            f"the losses do not surely fall: their slope over log x lies between {low:.3g} and {high:.3g}; a constant "
            "explains them as well; add sizes or seeds"
        )
    low, high = law.exponent_interval
    if low <= 0:
        raise HopelessRunsError(
            f"the losses fall, but how fast is unknown: the exponent lies between {low:.3g} and {high:.3g}; add sizes"
        )
    return law


def _refuse_hopeless(x_N: Float64Array, loss_N: Float64Array, config: FitConfig) -> None:
    if x_N.shape != loss_N.shape or x_N.ndim != 1:
        raise InputError(f"{x_N.shape} sizes, {loss_N.shape} losses; expected one loss for each")
    if not (np.isfinite(x_N).all() and np.isfinite(loss_N).all()) or not (x_N > 0).all():
        raise HopelessRunsError("a size or a loss is missing, infinite, or a size is not above 0; leave that run out")
    sizes = np.unique(x_N)
    if sizes.size < _FEWEST_SIZES:
        raise HopelessRunsError(f"{x_N.size} runs of {sizes.size} different sizes; a law needs {_FEWEST_SIZES} or more")
    if sizes[-1] < _LEAST_SPAN * sizes[0]:
        raise HopelessRunsError(
            f"sizes from {sizes[0]:.4g} to {sizes[-1]:.4g}; a law needs a span of {_LEAST_SPAN:g} times or more"
        )
    if not config.nats and not (loss_N > 0).all():
        raise HopelessRunsError(
            f"the loss goes down to {loss_N.min():.4g} and has no logarithm; if it is a likelihood in nats, say nats "
            "(--nats); better, fit a loss without unit such as CRPS or MASE"
        )


def _possible(config: FitConfig, num_points: int) -> tuple[Form, ...]:
    """A power without offset of a loss in nats depends on the unit of the data: only where it is asked for by name."""
    forms = [form for form in FORMS if not (config.nats and form.name == "power")]
    # With an error of unknown size, a shape of k parameters leaves two points to judge it by where there are k + 2.
    forms = [form for form in forms if num_points >= form.num_parameters + 2]
    if config.form is not None and config.form not in [form.name for form in forms]:
        raise HopelessRunsError(
            f"the form {config.form!r} cannot be fitted to {num_points} runs"
            + (" in nats: without an offset its exponent is that of the unit of the data" if config.nats else "")
        )
    if all(not form.powers for form in forms):
        raise HopelessRunsError(f"{num_points} runs; a law with an offset needs 5 or more")
    return tuple(forms)


def _curve(form: Form, u_N: Float64Array, nats: bool) -> Curve:
    if nats:
        return linear_offset(u_N, powers=form.powers)
    return additive(np.repeat(u_N[:, None], form.powers, axis=1), offset=form.offset)


def _best(form: Form, u_N: Float64Array, y_N: Float64Array, nats: bool, threshold: float) -> Float64Array:
    start_RK = starts(form, y_N, logarithmic=not nats)
    return _least(_bounded(_curve(form, u_N, nats), form), y_N, start_RK, threshold)


def _least(curve: Curve, y_N: Float64Array, start_RK: Float64Array, threshold: float) -> Float64Array:
    found_RK = minimise(curve, np.repeat(y_N[None], len(start_RK), axis=0), start_RK, threshold)
    cost_R = huber_cost(y_N - curve(found_RK)[0], threshold)
    return found_RK[int(np.nanargmin(cost_R))]


def _bounded(curve: Curve, form: Form) -> Curve:
    """An exponent beyond every sense costs infinitely much, so no step goes there."""
    if not form.powers:
        return curve

    def inside(theta_RK: Float64Array) -> tuple[Float64Array, Float64Array]:
        made_RN, slope_RNK = curve(theta_RK)
        wild_R = np.abs(theta_RK[:, -1]) > _LARGEST_EXPONENT
        return np.where(wild_R[:, None], 1e150, made_RN), slope_RNK

    return inside


def _fitted(form: Form, u_N: Float64Array, y_N: Float64Array, threshold: float, nats: bool) -> FormFit:
    theta_K = _best(form, u_N, y_N, nats, threshold)
    residual_N = y_N - _curve(form, u_N, nats)(theta_K[None])[0][0]
    count, spare = y_N.size, y_N.size - form.num_parameters
    cost = float(huber_cost(residual_N, threshold)) / count
    k = form.num_parameters + 1  # the size of the errors is a parameter too
    judged = count * math.log(max(cost, 1e-30)) + 2 * k + 2 * k * (k + 1) / max(count - k - 1, 1)
    return FormFit(
        form=form,
        theta_K=theta_K,
        criterion=judged if count > k + 1 else math.inf,
        scale=float(np.sqrt((residual_N**2).sum() / spare)),
    )


def _bootstrap(fit: FormFit, u_N: Float64Array, y_N: Float64Array, threshold: float, config: FitConfig) -> Float64Array:
    """The parameters from every bootstrap copy, shape (R, K)."""
    curve = _bounded(_curve(fit.form, u_N, config.nats), fit.form)
    made_N = curve(fit.theta_K[None])[0][0]
    spare = y_N.size - fit.form.num_parameters
    copies_RN = _copies(made_N, y_N - made_N, spare, config.num_copies, np.random.default_rng(config.seed))
    return minimise(curve, copies_RN, np.repeat(fit.theta_K[None], config.num_copies, axis=0), threshold)


def _slope_interval(u_N: Float64Array, y_N: Float64Array, threshold: float, config: FitConfig) -> tuple[float, float]:
    """Of the straight line of y over u."""

    def line(theta_RK: Float64Array) -> tuple[Float64Array, Float64Array]:
        design_NK = np.stack([np.ones_like(u_N), u_N], axis=1)
        return theta_RK @ design_NK.T, np.broadcast_to(design_NK, (len(theta_RK), *design_NK.shape))

    start_RK = np.array([[float(np.median(y_N)), 0.0]])
    spread = robust_scale(y_N - line(minimise(line, y_N[None], start_RK, math.inf))[0][0], 2)[1]
    theta_RK = minimise(line, y_N[None], start_RK, max(threshold, spread))
    made_N = line(theta_RK)[0][0]
    rng = np.random.default_rng(config.seed)
    copies_RN = _copies(made_N, y_N - made_N, y_N.size - 2, config.num_copies, rng)
    found_RK = minimise(line, copies_RN, np.repeat(theta_RK, config.num_copies, axis=0), max(threshold, spread))
    return _between(found_RK[:, 1], config.level)


def _between(values_R: Float64Array, level: float) -> tuple[float, float]:
    """The middle `level` of the copies."""
    ordered, count = np.sort(values_R), len(values_R)
    first = round((1 - level) / 2 * (count - 1))
    return float(ordered[first]), float(ordered[count - 1 - first])


def _copies(
    made_N: Float64Array, residual_N: Float64Array, spare: int, num_copies: int, rng: np.random.Generator
) -> Float64Array:
    """Bootstrap copies of the observations, shape (R, N)."""
    pool_N = (residual_N - residual_N.mean()) * math.sqrt(residual_N.size / spare)
    drawn_RN = rng.choice(pool_N, (num_copies, residual_N.size))
    size_R1 = np.sqrt(spare / rng.chisquare(spare, (num_copies, 1)))
    return made_N + drawn_RN * size_R1
