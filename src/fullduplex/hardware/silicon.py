"""Area, energy and delay of units in memory: what a logic die pays, and energy x delay x area over Op/B.

For whoever compares memories (arXiv:2409.01141, sections IV and VII-E, Figure 8). Areas are the paper's; what the
figure charges for a unit on a DRAM die is not printed. `Silicon()` has one energy for an operation on any DRAM die and two
areas, fitted to the columns of 1 to 8 Op/B; the figure's columns of 16 and 32 want an operation in a bank to cost about
twice that in a bank group, and this twice that on the logic die (`EACH_PLACE`, fitted to all columns).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import positive, whole
from fullduplex.hardware.device import Device

__all__ = [
    "EACH_PLACE",
    "EDAP_UNITS",
    "LOGIC_DIE_MM2",
    "LOGIC_PIM_MM2",
    "PAPER_EDAP",
    "Silicon",
    "bandwidth_ratio",
    "crossing",
    "delay_per_byte",
    "edap",
    "edap_table",
]

# Square millimetres of one stack: through-silicon vias, 32 matrix units, two buffers of 1 MB, the softmax unit.
LOGIC_PIM_MM2: Mapping[str, float] = MappingProxyType({"tsv": 10.89, "gemm": 3.02, "buffers": 2.26, "softmax": 1.64})
LOGIC_DIE_MM2 = 121.0
EDAP_UNITS = ("bank-pim", "bankgroup-pim", "duplex")
# Figure 8: rows as `EDAP_UNITS`, columns 1, 2, 4, 8, 16 and 32 Op/B, each divided by the largest of its column.
PAPER_EDAP: Mapping[int, tuple[float, float, float]] = MappingProxyType(
    {
        1: (0.08, 1, 0.66),
        2: (0.16, 1, 0.66),
        4: (0.35, 1, 0.65),
        8: (0.81, 1, 0.65),
        16: (1, 0.96, 0.61),
        32: (1, 0.67, 0.40),
    }
)
_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Silicon:
    """Fitted to Figure 8: energies of an operation, and areas over that of Logic-PIM.

    Args:
        bank_alu_pj_per_flop, bank_group_alu_pj_per_flop: on a DRAM die; logic_alu_pj_per_flop: on the logic die.
        bank_area: of Bank-PIM over Logic-PIM; bank_group_area: of BankGroup-PIM over Logic-PIM.
    """

    bank_alu_pj_per_flop: float = 0.416
    bank_group_alu_pj_per_flop: float = 0.416
    logic_alu_pj_per_flop: float = 0.23
    bank_area: float = 1.11
    bank_group_area: float = 1.02

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            positive(getattr(self, field.name), field.name)


EACH_PLACE = Silicon(
    bank_alu_pj_per_flop=0.555,
    bank_group_alu_pj_per_flop=0.273,
    logic_alu_pj_per_flop=0.128,
    bank_area=0.943,
    bank_group_area=1.014,
)


def bandwidth_ratio(banks_together: int, banks_a_group: int = 4, same_group_slowdown: float = 2.0) -> float:
    """Bandwidth inside a memory over that at its pins when `banks_together` banks are read at once.

    At the pins one bank after the other answers every tCCD_S, from group to group; banks of one group, read together
    without end, answer every tCCD_L = `same_group_slowdown` tCCD_S. A bundle of 8 gives the paper's 4, all 32 banks of
    both ranks 16 (section IV).
    """
    whole(banks_together, 1, "banks_together")
    whole(banks_a_group, 1, "banks_a_group")
    positive(same_group_slowdown, "same_group_slowdown")
    return banks_together / (same_group_slowdown if banks_together >= banks_a_group else 1.0)


def delay_per_byte(device: Device, ops_per_byte: float) -> float:
    """Seconds a byte takes in the units in memory when it brings `ops_per_byte` operations.

    Raises: ConfigError when the device has no such units.
    """
    units = device.pim()
    if units is None:
        raise ConfigError("the device has no units in memory; name one that has: bank-pim, bankgroup-pim, duplex")
    return max(1 / units.bytes_per_s, positive(ops_per_byte, "ops_per_byte") / units.flops_per_s)


def edap(name: str, device: Device, ops_per_byte: float, silicon: Silicon | None = None) -> float:
    """Energy x delay x area of a byte read and worked on in memory, in pJ s over the area of Logic-PIM.

    `name` is one of `EDAP_UNITS`: which die the units are on.
    """
    silicon = silicon or Silicon()
    if name not in EDAP_UNITS:
        raise ConfigError(f"there is no {name!r} among the units compared; expected one of {', '.join(EDAP_UNITS)}")
    area, alu = {
        "bank-pim": (silicon.bank_area, silicon.bank_alu_pj_per_flop),
        "bankgroup-pim": (silicon.bank_group_area, silicon.bank_group_alu_pj_per_flop),
        "duplex": (1.0, silicon.logic_alu_pj_per_flop),
    }[name]
    energy = 8 * device.pim_read_pj_per_bit + alu * ops_per_byte
    return energy * delay_per_byte(device, ops_per_byte) * area


def edap_table(
    devices: Mapping[str, Device], columns: Sequence[float], silicon: Silicon | None = None
) -> NDArray[np.float64]:
    """EDAP of `EDAP_UNITS` (rows) at the Op/B of `columns`, over the largest of each column: shape (3, columns)."""
    table = np.array([[edap(name, devices[name], value, silicon) for value in columns] for name in EDAP_UNITS])
    return table / table.max(axis=0)


def crossing(devices: Mapping[str, Device], silicon: Silicon | None = None, *, delay_alone: bool = False) -> float:
    """Op/B from which on Logic-PIM has the smaller EDAP (or delay) than Bank-PIM."""
    low, high = 1.0, 32.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        bank, logic = (
            delay_per_byte(devices[name], middle) if delay_alone else edap(name, devices[name], middle, silicon)
            for name in ("bank-pim", "duplex")
        )
        low, high = (middle, high) if bank < logic else (low, middle)
    return high
