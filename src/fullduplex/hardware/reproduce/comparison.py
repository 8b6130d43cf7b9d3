"""The comparisons the Duplex paper states in its text, regenerated (arXiv:2409.01141, section VII).

Two constants of the published runs are not in the paper: the share of peak DRAM bandwidth that is reached, and the
seconds of a hop between devices. They are calibrated on these very statements (`Unknowns`), so the table is a
reproduction and no prediction. Lengths of the 27 configurations are our reading of the figures' labels.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fullduplex.base.config import config_from_mapping, config_from_toml
from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import at_least
from fullduplex.hardware.device import CoProcessing, Link, System
from fullduplex.hardware.presets import Presets
from fullduplex.hardware.serving.split import Pools
from fullduplex.hardware.silicon import Silicon
from fullduplex.hardware.steady import Steady, steady
from fullduplex.hardware.sweep import run_points
from fullduplex.hardware.workload import Routing

__all__ = [
    "NUM_RUNS",
    "PAPER",
    "SETTINGS",
    "Claim",
    "Comparison",
    "Unknowns",
    "claims",
    "compare",
    "load_unknowns",
    "paper_split",
    "paper_system",
]

BATCHES = (32, 64, 128)
SETTINGS: Mapping[str, tuple[int, tuple[int, int, int]]] = MappingProxyType(
    {"mixtral": (4, (256, 1024, 4096)), "glam": (8, (512, 1024, 2048)), "grok1": (16, (256, 1024, 4096))}
)
PAPER: Mapping[str, float] = MappingProxyType(
    {
        "mean Duplex+PE+ET / GPU": 2.07,
        "max Duplex+PE+ET / GPU": 2.67,
        "max Duplex / GPU": 2.51,
        "mean Duplex+PE / Duplex": 1.04,
        "max Duplex+PE+ET / Duplex": 1.36,
        "Mixtral batch 64, 256: Duplex+PE+ET / GPU": 2.05,
        "Mixtral batch 64, 256: Bank-PIM / GPU": 1.18,
        "Mixtral batch 32, 4096: Bank-PIM / GPU": 2.17,
        "Mixtral: max Duplex+PE+ET / Bank-PIM": 1.80,
        "Mixtral: mean Duplex+PE+ET / Bank-PIM": 1.49,
    }
)
SYSTEMS = ("GPU", "2xGPU", "Duplex", "Duplex+PE", "Duplex+PE+ET", "Bank-PIM")
NUM_RUNS = len(SYSTEMS) * len(SETTINGS) * len(BATCHES) * 3
Key = tuple[str, int, int]
_NODE_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknowns:
    """What the paper does not say; see `paper.toml`, whose values these are.

    `all_reduce` holds measured curves by the number of devices of a node (`calibrate.links`), for those instead of a ring.
    """

    dram_efficiency: float = 0.75
    hop_s: float = 5e-6
    spaces: bool = True
    spread: float = 0.1
    zipf: float = 0.0
    silicon: Silicon = Silicon()
    all_reduce: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = ()

    def __post_init__(self) -> None:
        at_least(self.spread, 0, "spread")
        at_least(self.zipf, 0, "zipf")

    @property
    def routing(self) -> Routing:
        """Of tokens to experts."""
        return Routing(zipf=self.zipf)


def load_unknowns(path: Path | None = None) -> Unknowns:
    """Those of the TOML file `path`, or of the package.

    Raises: ConfigError for a file that cannot be read, or a key or value that is none of `Unknowns`.
    """
    if path is None:
        own = resources.files("fullduplex.hardware.reproduce").joinpath("paper.toml").read_text(encoding="utf-8")
        return config_from_mapping(Unknowns, tomllib.loads(own))
    try:
        return config_from_toml(Unknowns, path)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence of the paper as a number, beside ours."""

    name: str
    paper: float
    here: float

    @property
    def error(self) -> float:
        return self.here / self.paper - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every system on every configuration; keys are (model, batch, length)."""

    unknowns: Unknowns
    runs: Mapping[str, Mapping[Key, Steady]]

    def ratios(self, system: str, peer: str, model: str | None = None) -> Mapping[Key, float]:
        """Throughput of `system` over that of `peer`."""
        own, other = self.runs[system], self.runs[peer]
        return {key: own[key].tokens_per_s / other[key].tokens_per_s for key in own if model is None or key[0] == model}


def paper_system(presets: Presets, name: str, num_devices: int, unknowns: Unknowns | None = None) -> System:
    """One of the paper's systems with `num_devices` devices (2xGPU has twice as many; half of "hetero" are memory)."""
    unknowns = unknowns or Unknowns()
    device = {"GPU": "gpu", "2xGPU": "gpu", "Bank-PIM": "bank-pim"}.get(name, "duplex")
    split: CoProcessing = "spaces" if unknowns.spaces else "experts"
    num_devices *= 2 if name == "2xGPU" else 1
    together = num_devices // 2 if name == "hetero" else min(num_devices, _NODE_SIZE)
    return System(
        device=presets.find_device(device),
        num_devices=num_devices,
        node_size=_NODE_SIZE,
        expert_tensor=name.endswith("+ET") or name == "Bank-PIM",
        co_processing=split if "+PE" in name else "none",
        dram_efficiency=unknowns.dram_efficiency,
        apart=num_devices // 2 if name == "hetero" else 0,
        link=Link(bytes_per_s=450e9, hop_s=unknowns.hop_s, all_reduce=dict(unknowns.all_reduce).get(together, ())),
        node_link=Link(bytes_per_s=50e9, hop_s=unknowns.hop_s),
    )


def paper_split(presets: Presets, num_devices: int, unknowns: Unknowns | None = None) -> Pools:
    """Duplex-Split: half of `num_devices` devices for prompts, half for answers."""
    half = paper_system(presets, "Duplex+PE+ET", num_devices // 2, unknowns)
    return Pools(prompts=half, answers=half, wire=half.link)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One system on one configuration: what a worker needs to know."""

    name: str
    key: Key
    presets: Presets
    unknowns: Unknowns

    def run(self) -> Steady:
        model, batch, length = self.key
        system = paper_system(self.presets, self.name, SETTINGS[model][0], self.unknowns)
        shape, unknowns = self.presets.find_model(model), self.unknowns
        return steady(
            shape, system, batch=batch, prompt=length, answer=length, spread=unknowns.spread, routing=unknowns.routing
        )


def compare(
    presets: Presets,
    unknowns: Unknowns | None = None,
    progress: Callable[[], object] = lambda: None,
    ray: str | None = None,
) -> Comparison:
    """Run the 27 configurations (3 models, 3 batches, 3 lengths) on every system; `progress` is called after each run.

    `ray` is the address of a Ray cluster that runs them ("local" starts one here); None runs them in this process.
    """
    unknowns = unknowns or Unknowns()
    keys = [
        (model, batch, length) for model, (_, lengths) in SETTINGS.items() for batch in BATCHES for length in lengths
    ]
    points = [_Point(name=name, key=key, presets=presets, unknowns=unknowns) for name in SYSTEMS for key in keys]
    found = run_points(_Point.run, points, ray=ray, progress=progress)
    runs: dict[str, dict[Key, Steady]] = {name: {} for name in SYSTEMS}
    for point, result in zip(points, found, strict=True):
        runs[point.name][point.key] = result
    return Comparison(unknowns=unknowns, runs=runs)


def claims(found: Comparison) -> tuple[Claim, ...]:
    """The paper's statements and ours."""
    best, plain = found.ratios("Duplex+PE+ET", "GPU"), found.ratios("Duplex", "GPU")
    bank = found.ratios("Bank-PIM", "GPU", "mixtral")
    over_bank = tuple(found.ratios("Duplex+PE+ET", "Bank-PIM", "mixtral").values())
    here = (
        float(np.mean(list(best.values()))),
        max(best.values()),
        max(plain.values()),
        float(np.mean(list(found.ratios("Duplex+PE", "Duplex").values()))),
        max(found.ratios("Duplex+PE+ET", "Duplex").values()),
        best["mixtral", 64, 256],
        bank["mixtral", 64, 256],
        bank["mixtral", 32, 4096],
        max(over_bank),
        float(np.mean(over_bank)),
    )
    return tuple(Claim(name=name, paper=PAPER[name], here=value) for name, value in zip(PAPER, here, strict=True))
