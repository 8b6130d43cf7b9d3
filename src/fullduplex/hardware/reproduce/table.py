"""Every number that the Duplex paper prints about its runs, beside ours: throughput, latency, saturation, energy, EDAP.

Throughput, saturation and energy come from the closed form, latencies from simulated requests with spread lengths.
The tolerances are those a rebuilt simulator can be asked for with unknown inputs: 6 % of a throughput, 6 points of a
latency or of energy, 15 % of a saturation read off a curve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fullduplex.hardware.presets import Presets
from fullduplex.hardware.reproduce.comparison import (
    SETTINGS,
    Comparison,
    Unknowns,
    claims,
    compare,
    paper_split,
    paper_system,
)
from fullduplex.hardware.serving.simulate import Log, Serving, simulate
from fullduplex.hardware.serving.split import steady_split
from fullduplex.hardware.serving.traffic import draw_requests
from fullduplex.hardware.silicon import EACH_PLACE, PAPER_EDAP, crossing, edap_table
from fullduplex.hardware.steady import largest_batch, steady

__all__ = ["Row", "full_table", "throughput_rows"]

Kind = Literal["throughput", "latency", "saturation", "energy", "capacity", "edap"]
_GLAM_LENGTHS, _GLAM_BATCH, _GLAM_REQUESTS, _SEED = (512, 1024, 2048), 64, 512, 0
_FITTED_COLUMNS, _OTHER_COLUMNS = (1, 2, 4, 8), (16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of the paper and ours.

    Args:
        unit: "x" for ratios, "%" for changes in percent, "1/s", "requests", "Op/B", or "" for a distance.
        tolerance: share of the paper's number, or points where the unit is "%" or ""; None where nothing is claimed.
    """

    kind: Kind
    name: str
    unit: str
    paper: float
    here: float
    tolerance: float | None

    @property
    def off(self) -> float:
        """Relative error, or the difference in points where the unit is "%" or ""."""
        return self.here - self.paper if self.unit in ("%", "") else self.here / self.paper - 1

    @property
    def within(self) -> bool:
        """Whether the tolerance, if there is one, is kept."""
        return self.tolerance is None or abs(self.off) <= self.tolerance


def full_table(
    presets: Presets,
    unknowns: Unknowns | None = None,
    progress: Callable[[], object] = lambda: None,
    ray: str | None = None,
) -> tuple[Comparison, list[Row]]:
    """The 27 configurations, and all rows. `progress` and `ray` as in `compare`."""
    unknowns = unknowns or Unknowns()
    found = compare(presets, unknowns, progress, ray)
    return found, [
        *throughput_rows(found),
        *_latency(presets, unknowns),
        *_saturation(presets, unknowns),
        *_energy(found),
        *_capacity(presets, unknowns),
        *_edap(presets, unknowns),
    ]


def throughput_rows(found: Comparison) -> list[Row]:
    """The statements about the 27 configurations."""
    return [
        Row(kind="throughput", name=item.name, unit="x", paper=item.paper, here=item.here, tolerance=0.06)
        for item in claims(found)
    ]


def _latency(presets: Presets, unknowns: Unknowns) -> list[Row]:
    """GLaM, batch 64: changes in percent; means over three lengths, and the tail at the shortest."""
    model, devices = presets.find_model("glam"), SETTINGS["glam"][0]
    serving = Serving(batch=_GLAM_BATCH, closed=True, routing=unknowns.routing)
    logs: dict[tuple[str, int], Log] = {}
    for length in _GLAM_LENGTHS:
        requests = draw_requests(
            _GLAM_REQUESTS, prompt=length, answer=length, rng=np.random.default_rng(_SEED), spread=unknowns.spread
        )
        for name in ("GPU", "2xGPU", "Duplex", "Duplex+PE+ET"):
            logs[name, length] = simulate(model, paper_system(presets, name, devices, unknowns), requests, serving)

    def change(of: Callable[[Log], float], name: str, peer: str, lengths: tuple[int, ...] = _GLAM_LENGTHS) -> float:
        return 100 * float(np.mean([of(logs[name, n]) / of(logs[peer, n]) - 1 for n in lengths]))

    def between(share: float) -> Callable[[Log], float]:
        return lambda log: log.between_tokens_s(share)

    def first(log: Log) -> float:
        return float(np.median(log.first_token_s))

    def whole(log: Log) -> float:
        return float(log.whole_s.mean())

    best, shortest = "Duplex+PE+ET", _GLAM_LENGTHS[:1]
    asked: list[tuple[str, float, float]] = [
        ("GLaM batch 64: median TBT, Duplex over GPU", -58.3, change(between(0.5), "Duplex", "GPU")),
        ("GLaM batch 64: median TBT, Duplex+PE+ET over GPU", -58.3, change(between(0.5), best, "GPU")),
        ("GLaM batch 64: E2E, Duplex+PE+ET over GPU", -60.2, change(whole, best, "GPU")),
        ("GLaM batch 64: E2E, Duplex+PE+ET over 2xGPU", -35.4, change(whole, best, "2xGPU")),
        ("GLaM batch 64, 512: p99 TBT over 2xGPU", -16.7, change(between(0.99), best, "2xGPU", shortest)),
        ("GLaM batch 64, 512: median T2FT over 2xGPU", -26.2, change(first, best, "2xGPU", shortest)),
    ]
    return [
        Row(kind="latency", name=name, unit="%", paper=paper, here=here, tolerance=6.0) for name, paper, here in asked
    ]


def _saturation(presets: Presets, unknowns: Unknowns) -> list[Row]:
    """Mixtral, 4096 + 512, batch 128: requests a second, read off the text and curves of section VII."""
    model, rows = presets.find_model("mixtral"), []
    for name, paper in (("GPU", 9.0), ("2xGPU", 14.0), ("Duplex", 14.0), ("Duplex+PE+ET", 14.0)):
        system = paper_system(presets, name, SETTINGS["mixtral"][0], unknowns)
        found = steady(
            model, system, batch=128, prompt=4096, answer=512, spread=unknowns.spread, routing=unknowns.routing
        )
        rows.append(
            Row(
                kind="saturation",
                name=f"Mixtral 4096 + 512: requests a second, {name}",
                unit="1/s",
                paper=paper,
                here=found.tokens_per_s / 512,
                tolerance=0.15,
            )
        )
    return rows


def _energy(found: Comparison) -> list[Row]:
    saved = {
        key: 100 * (found.runs["Duplex+PE+ET"][key].joules_per_token / run.joules_per_token - 1)
        for key, run in found.runs["GPU"].items()
    }
    asked = [
        (f"{title}: most energy a token saved", paper, min(value for key, value in saved.items() if key[0] == model))
        for model, title, paper in (("mixtral", "Mixtral", -33.3), ("glam", "GLaM", -42.0), ("grok1", "Grok1", -34.6))
    ]
    asked.append(("mean energy a token, 27 configurations", -28.2, float(np.mean(list(saved.values())))))
    return [
        Row(kind="energy", name=f"{name}, +PE+ET over GPU", unit="%", paper=paper, here=here, tolerance=6.0)
        for name, paper, here in asked
    ]


def _capacity(presets: Presets, unknowns: Unknowns) -> list[Row]:
    split = steady_split(
        presets.find_model("mixtral"), paper_split(presets, 4, unknowns), batch=128, prompt=4096, answer=4096
    )
    opt = largest_batch(presets.find_model("opt-66b"), paper_system(presets, "Bank-PIM", 4, unknowns), 2048)
    asked = [("Mixtral 4096 + 4096: batch of Duplex-Split", 74.0, split.batch), ("OPT 1024 + 1024: batch", 41.0, opt)]
    return [
        Row(kind="capacity", name=name, unit="requests", paper=paper, here=float(here), tolerance=0.08)
        for name, paper, here in asked
    ]


def _edap(presets: Presets, unknowns: Unknowns) -> list[Row]:
    """Largest distances from the cells of Figure 8, and where Logic-PIM overtakes Bank-PIM (its text says 8)."""
    rows = []
    for title, columns, silicon, tolerance in (
        ("at 1 to 8 Op/B", _FITTED_COLUMNS, unknowns.silicon, 0.015),
        ("at 16 and 32 Op/B", _OTHER_COLUMNS, unknowns.silicon, None),
        ("at 1 to 32 Op/B, each place its own energy", (*_FITTED_COLUMNS, *_OTHER_COLUMNS), EACH_PLACE, 0.02),
    ):
        cells = np.array([PAPER_EDAP[column] for column in columns]).T
        distance = float(np.abs(edap_table(presets.device, columns, silicon) - cells).max())
        name = f"EDAP {title}: largest distance"
        rows.append(Row(kind="edap", name=name, unit="", paper=0.0, here=distance, tolerance=tolerance))
    met = crossing(presets.device, unknowns.silicon)
    rows.append(
        Row(kind="edap", name="EDAP: Logic-PIM overtakes Bank-PIM", unit="Op/B", paper=8.0, here=met, tolerance=None)
    )
    return rows
