"""One link: the channels whose limits are known, as values that answer with a labelled rate.

Bounds are those of Pirandola, Laurenza, Ottaviani and Banchi, Nature Communications 8, 15043 (2017): the relative
entropy of entanglement from above, the (reverse) coherent information from below; for pure loss, the quantum-limited
amplifier, dephasing and erasure the two meet. A thermal channel is pure loss whose environment holds `mean_photons`
photons on average, h(n) = (n + 1) log2(n + 1) - n log2(n).
"""

import math
from dataclasses import dataclass
from typing import Protocol

from fullduplex.base.errors import InputError
from fullduplex.links.loss import (
    FIBRE_DB_PER_KM,
    capacity_from_db,
    checked_loss_db,
    checked_probability,
    lost_fraction,
    transmissivity_from_db,
)
from fullduplex.links.rates import Rate, Side, Strategy

__all__ = [
    "Amplifier",
    "Channel",
    "Dephasing",
    "Erasure",
    "Measured",
    "PureLoss",
    "ThermalLoss",
    "checked_limits",
    "compose",
    "entropy_of_mode",
    "fibre",
    "rate_of",
]


class Channel(Protocol):
    """A link whose limits are known, at least from one side."""

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Best known (lower, upper) bound in bits per use; an upper bound of NaN means that none is known."""
        ...


def rate_of(channel: Channel, strategy: Strategy = "two-way", side: Side = "upper") -> Rate:
    """The bound of one channel, labelled.

    Raises: InputError when no upper bound is known, or for an unknown strategy or side.
    """
    lower, upper = checked_limits(channel, strategy)
    if side not in ("upper", "lower"):
        raise InputError(f"side is {side!r}; expected 'upper' or 'lower'")
    if side == "upper" and math.isnan(upper):
        raise InputError(
            f"no upper bound is known for {channel}; ask for side='lower', or describe the physical channel"
        )
    return Rate(
        bits_per_use=upper if side == "upper" else lower,
        kind="exact" if lower == upper else side,
        strategy=strategy,
        assumes=f"{type(channel).__name__} channel, ideal ends",
    )


def checked_limits(channel: Channel, strategy: Strategy) -> tuple[float, float]:
    """`channel.limits(strategy)`.

    Raises: InputError for an unknown strategy.
    """
    if strategy not in ("two-way", "one-way"):
        raise InputError(f"strategy is {strategy!r}; expected 'two-way' or 'one-way'")
    return channel.limits(strategy)


@dataclass(frozen=True, slots=True, kw_only=True)
class PureLoss:
    """A lossy link into an empty environment: exact for both strategies."""

    loss_db: float

    def __post_init__(self) -> None:
        checked_loss_db(self.loss_db)

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Lower and upper bound, the same number."""
        bits = float(capacity_from_db(self.loss_db, strategy))
        return bits, bits


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalLoss:
    """A lossy link into an environment with `mean_photons` thermal photons: bounds with a gap.

    One-way from above: the smaller of the two-way bound and the pure-loss capacity of transmissivity eta / g,
    g = 1 + (1 - eta) mean_photons, because the channel is that pure loss followed by an amplifier of gain g.
    """

    loss_db: float
    mean_photons: float

    def __post_init__(self) -> None:
        checked_loss_db(self.loss_db)
        _checked_photons(self.mean_photons)

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Lower and upper bound; they meet when there are no thermal photons."""
        eta, lost = transmissivity_from_db(self.loss_db), lost_fraction(self.loss_db)
        photons, entropy = self.mean_photons, entropy_of_mode(self.mean_photons)
        ideal = float(capacity_from_db(self.loss_db, strategy))
        if photons == 0 or self.loss_db == 0:
            return ideal, ideal
        lower = max(0.0, ideal - entropy)
        upper = 0.0
        if photons * lost < eta:
            two_way = float(capacity_from_db(self.loss_db))
            upper = max(0.0, two_way - photons * math.log2(eta) - entropy)
        if strategy == "one-way":
            gain = 1 + lost * photons
            upper = min(upper, float(capacity_from_db(self.loss_db + 10 * math.log10(gain), "one-way")))
        return min(lower, upper), upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """A phase-insensitive amplifier of power gain `gain` >= 1; exact when `mean_photons` is 0."""

    gain: float
    mean_photons: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.gain, bool) or not isinstance(self.gain, int | float) or not 1 <= self.gain < math.inf:
            raise InputError(f"gain is {self.gain!r}; expected a finite power gain of 1 or more")
        _checked_photons(self.mean_photons)

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Lower and upper bound; classical messages back do not help a quantum-limited amplifier."""
        if self.gain == 1:
            return math.inf, math.inf
        # log2(g / (g - 1)); near 1 the difference g - 1 is exact, far from it 1 / g is the small number.
        near = self.gain < 2
        ideal = (math.log(self.gain) - math.log(self.gain - 1) if near else -math.log1p(-1 / self.gain)) / math.log(2)
        if self.mean_photons == 0:
            return ideal, ideal
        entropy = entropy_of_mode(self.mean_photons)
        upper = 0.0
        if self.mean_photons < 1 / (self.gain - 1):
            upper = max(0.0, ideal + self.mean_photons * math.log2(self.gain) - entropy)
        return min(max(0.0, ideal - entropy), upper), upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Dephasing:
    """A qubit whose phase flips with `probability`: 1 - H2(p), exact for both strategies."""

    probability: float

    def __post_init__(self) -> None:
        checked_probability(self.probability, "probability")

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Lower and upper bound, the same number."""
        p, bias = self.probability, 1 - 2 * self.probability
        if p in (0, 1):
            bits = 1.0
        elif abs(bias) > 0.1:
            bits = 1 + (p * math.log(p) + (1 - p) * math.log1p(-p)) / math.log(2)
        else:  # near one half the terms above cancel; the series in the bias does not
            bits = math.fsum(bias ** (2 * k) / (2 * k * (2 * k - 1)) for k in range(1, 9)) / math.log(2)
        return bits, bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """A qubit that is lost, and known to be lost, with `probability`: 1 - p two-way, max(0, 1 - 2p) one-way."""

    probability: float

    def __post_init__(self) -> None:
        checked_probability(self.probability, "probability")

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """Lower and upper bound, the same number."""
        bits = 1 - self.probability if strategy == "two-way" else max(0.0, 1 - 2 * self.probability)
        return bits, bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A link known only by a rate that somebody achieved on it: a lower bound, and no upper bound at all."""

    bits_per_use: float

    def __post_init__(self) -> None:
        if not 0 <= self.bits_per_use < math.inf:
            raise InputError(f"bits_per_use is {self.bits_per_use!r}; expected a finite achieved rate, 0 or more")

    def limits(self, strategy: Strategy) -> tuple[float, float]:
        """The achieved rate, and NaN for the upper bound that nobody knows."""
        return self.bits_per_use, math.nan


def fibre(length_km: float, *, db_per_km: float = FIBRE_DB_PER_KM, mean_photons: float = 0.0) -> PureLoss | ThermalLoss:
    """A fibre of `length_km` with `db_per_km` of loss.

    Raises: InputError for a negative or non-finite length or attenuation.
    """
    for name, value in (("length_km", length_km), ("db_per_km", db_per_km)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"{name} is {value!r}; expected a finite number, 0 or more")
    loss_db = length_km * db_per_km
    if mean_photons:
        return ThermalLoss(loss_db=loss_db, mean_photons=mean_photons)
    return PureLoss(loss_db=loss_db)


def compose(channel: Channel, *, emit_db: float, receive_db: float) -> Channel:
    """`channel` with pure loss before it (the emitting station) and after it (the receiving one).

    A thermal link stays thermal: the loss after it also thins the photons it added, so its environment becomes
    tau_receive (1 - eta) n / (1 - eta_total).

    Raises: InputError for a channel that loss does not merge with (anything but pure and thermal loss).
    """
    added_db = checked_loss_db(emit_db, "emit_db") + checked_loss_db(receive_db, "receive_db")
    if added_db == 0:
        return channel
    if isinstance(channel, PureLoss):
        return PureLoss(loss_db=channel.loss_db + added_db)
    if isinstance(channel, ThermalLoss):
        total_db = channel.loss_db + added_db
        kept = transmissivity_from_db(receive_db) * lost_fraction(channel.loss_db)
        lost = lost_fraction(total_db)
        # Where every loss rounds to none, so does the mixing of environments.
        photons = kept * channel.mean_photons / lost if lost > 0 else channel.mean_photons
        return ThermalLoss(loss_db=total_db, mean_photons=photons)
    raise InputError(
        f"loss of a station does not merge with {channel}; expected PureLoss or ThermalLoss: use reading='edge', "
        "or fold the station into the channel yourself"
    )


def entropy_of_mode(mean_photons: float) -> float:
    """h(n) = (n + 1) log2(n + 1) - n log2(n), in bits; 0 for n = 0."""
    n = mean_photons
    return 0.0 if n == 0 else ((n + 1) * math.log1p(n) - n * math.log(n)) / math.log(2)


def _checked_photons(value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"mean_photons is {value!r}; expected a finite mean, 0 or more")
