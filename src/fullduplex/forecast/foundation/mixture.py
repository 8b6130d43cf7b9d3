"""Mixtures of Student-t distributions: likelihood, distribution function, draws.

Axes: any axes, then K components.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = ["StudentMixture", "mixture_of", "student_cdf"]

_SCALE_FLOOR = 1e-3  # of the context's deviation; without a floor a constant series has a likelihood without bound
_FRACTION_STEPS = 200  # of the continued fraction below; it ends long before for the usual arguments


@dataclass(frozen=True, slots=True)
class StudentMixture:
    """Shapes (..., K) each.

    Args:
        logits: unnormalised logarithms of the weights.
        df: degrees of freedom, above 2, so that the variance exists.
        loc: places.
        scale: scales, above 0.
    """

    logits: Tensor
    df: Tensor
    loc: Tensor
    scale: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Logarithm of the density at x; shape (...)."""
        z = (x.unsqueeze(-1) - self.loc) / self.scale
        half = self.df / 2
        log_density = (
            torch.lgamma(half + 0.5)
            - torch.lgamma(half)
            - 0.5 * torch.log(math.pi * self.df)
            - torch.log(self.scale)
            - (half + 0.5) * torch.log1p(z * z / self.df)
        )
        return torch.logsumexp(F.log_softmax(self.logits, dim=-1) + log_density, dim=-1)

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of at most x, computed in float64; shape (...). The weights lie on the axis of the components."""
        z = (x.double().unsqueeze(-1) - self.loc.double()) / self.scale.double()
        return (F.softmax(self.logits.double(), dim=-1) * student_cdf(z, self.df.double())).sum(-1)

    def sample(self, count: int, rng: np.random.Generator) -> Float64Array:
        """Independent draws of every position; shape (..., count)."""
        if count < 1:
            raise InputError(f"{count} draws; expected 1 or more")
        weights = F.softmax(self.logits.double(), dim=-1).cumsum(-1).detach().numpy()
        shape = (*weights.shape[:-1], count)
        chosen = (rng.random(shape)[..., None] > weights[..., None, :-1]).sum(axis=-1)
        df, loc, scale = (
            np.take_along_axis(part.detach().double().numpy(), chosen, axis=-1)
            for part in (self.df, self.loc, self.scale)
        )
        return loc + scale * rng.standard_t(df)

    def mean(self) -> Tensor:
        """Expectation; it exists, because every df is above 2."""
        return (F.softmax(self.logits, dim=-1) * self.loc).sum(-1)


def mixture_of(raw: Tensor, num_components: int) -> StudentMixture:
    """The mixture that raw outputs of shape (..., 4 K) stand for: df = 2 + softplus, scale = softplus + a floor."""
    logits, df, loc, scale = raw.unflatten(-1, (4, num_components)).unbind(-2)
    return StudentMixture(logits, 2 + F.softplus(df), loc, F.softplus(scale) + _SCALE_FLOOR)


def student_cdf(z: Tensor, df: Tensor) -> Tensor:
    """Distribution function of Student's t in float64: 1 - I(df / (df + z^2); df / 2, 1 / 2) / 2 for z above 0."""
    z, df = torch.broadcast_tensors(z.double(), df.double())
    square = z * z
    # Both x and 1 - x are formed without a difference: with many degrees of freedom x is 1 but for a last digit.
    tail = _regularised_beta(df / (df + square), square / (df + square), df / 2, torch.full_like(df, 0.5)) / 2
    return torch.where(z > 0, 1 - tail, tail)


def _regularised_beta(x: Tensor, rest: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """I(x; a, b) by its continued fraction (Abramowitz and Stegun 26.5.8), on the side that converges; `rest` is 1 - x."""
    swap = x > (a + 1) / (a + b + 2)
    x, rest = torch.where(swap, rest, x), torch.where(swap, x, rest)
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    log_front = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    log_front = log_front + torch.xlogy(a, x) + torch.xlogy(b, rest)
    part = torch.exp(log_front) / a * _fraction(x, a, b)
    return torch.where(swap, 1 - part, part)


def _fraction(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The continued fraction, by Lentz's method."""
    tiny = 1e-300
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    c, value = torch.ones_like(x), d
    for m in range(1, _FRACTION_STEPS + 1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = torch.ones_like(x)
        for step in (even, odd):
            d = 1 / _away_from_zero(1 + step * d, tiny)
            c = _away_from_zero(1 + step / c, tiny)
            change = change * c * d
        value = value * change
        if bool(((change - 1).abs() < 1e-14).all()):
            break
    return value


def _away_from_zero(x: Tensor, tiny: float) -> Tensor:
    return torch.where(x.abs() < tiny, torch.full_like(x, tiny), x)
