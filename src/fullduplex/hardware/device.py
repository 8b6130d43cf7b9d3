"""Devices: a processor (xPU), the processing-in-memory units beside it, and how many of them work together.

A processor is two numbers, operations and bytes a second (a roofline). The units in memory of the Duplex paper
(arXiv:2409.01141, section VI) are given as the paper gives them: a multiple of the processor's memory bandwidth, and
the operations they can do for every byte.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Literal

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import at_least, positive, whole

__all__ = ["CoProcessing", "Device", "Link", "Processor", "System", "logic_pim_stack_flops_per_s"]

CoProcessing = Literal["none", "experts", "spaces"]
_CO_PROCESSING = ("none", "experts", "spaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """One side of a device: peak operations a second, usable bytes a second, energy of a read bit."""

    flops_per_s: float
    bytes_per_s: float
    read_pj_per_bit: float

    @property
    def ops_per_byte(self) -> float:
        """Operations for each byte at which compute and memory take the same time."""
        return self.flops_per_s / self.bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device of `presets.toml`: the processor, its memory, and the units in memory if it has any.

    Args:
        flops_per_s: peak of the processor, 16-bit floating point.
        bytes_per_s: peak of its memory.
        capacity_bytes: of its memory.
        pim_bandwidth_ratio: bandwidth inside the memory over `bytes_per_s`; 0 means there are no units in memory.
        pim_ops_per_byte: operations the units in memory do for each byte.
        read_pj_per_bit: energy to bring one bit to the processor; `pim_read_pj_per_bit` to the units in memory.
        alu_pj_per_flop: energy of one operation.
        source: where the constants come from.
    """

    flops_per_s: float
    bytes_per_s: float
    capacity_bytes: float
    pim_bandwidth_ratio: float = 0.0
    pim_ops_per_byte: float = 0.0
    read_pj_per_bit: float = 3.48
    pim_read_pj_per_bit: float = 0.0
    alu_pj_per_flop: float = 0.23
    source: str

    def __post_init__(self) -> None:
        for field in ("flops_per_s", "bytes_per_s", "capacity_bytes", "read_pj_per_bit"):
            positive(getattr(self, field), field)
        for field in ("pim_bandwidth_ratio", "pim_ops_per_byte", "pim_read_pj_per_bit", "alu_pj_per_flop"):
            at_least(getattr(self, field), 0, field)
        if (self.pim_bandwidth_ratio > 0) != (self.pim_ops_per_byte > 0):
            raise ConfigError(
                f"pim_bandwidth_ratio is {self.pim_bandwidth_ratio:g} and pim_ops_per_byte {self.pim_ops_per_byte:g}; "
                "give both for units in memory, neither for none"
            )

    def xpu(self, efficiency: float = 1.0) -> Processor:
        """The processor, with `efficiency` (0 to 1] of the peak bandwidth."""
        return Processor(
            flops_per_s=self.flops_per_s,
            bytes_per_s=self.bytes_per_s * efficiency,
            read_pj_per_bit=self.read_pj_per_bit,
        )

    def pim(self, efficiency: float = 1.0) -> Processor | None:
        """The units in memory, or None."""
        if self.pim_bandwidth_ratio == 0:
            return None
        peak = self.bytes_per_s * self.pim_bandwidth_ratio
        return Processor(
            flops_per_s=peak * self.pim_ops_per_byte,
            bytes_per_s=peak * efficiency,
            read_pj_per_bit=self.pim_read_pj_per_bit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Wires between devices: bytes a second one way, and seconds a hop.

    Args:
        all_reduce: measured (bytes, seconds) of all-reduces over these wires, ascending; empty: a ring of hops.
    """

    bytes_per_s: float
    hop_s: float
    all_reduce: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        positive(self.bytes_per_s, "bytes_per_s")
        at_least(self.hop_s, 0, "hop_s")
        for size, seconds in self.all_reduce:
            positive(size, "all_reduce bytes")
            positive(seconds, "all_reduce seconds")
        if any(one[0] >= two[0] for one, two in itertools.pairwise(self.all_reduce)):
            raise ConfigError("all_reduce has bytes that do not ascend; sort the points and keep one of each size")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Devices that serve one model together, and how work is dealt between them.

    Args:
        num_devices: all of them; `node_size` share the fast link (tensor parallel), nodes are data parallel.
        expert_tensor: slice every expert inside a node ("+ET") instead of giving whole experts to devices.
        co_processing: "none"; "experts", any expert may run on either side; "spaces", memory is cut into four spaces
            and all experts of a space run on the same side ("+PE", section V-B of the paper).
        dram_efficiency: share of the peak memory bandwidth that streaming reads get, (0, 1].
        apart: devices of one node of which only the units in memory are used: they hold all experts and caches, and
            the others do the rest (the paper's "hetero", section VII). 0: every device does everything.
    """

    device: Device
    num_devices: int = 1
    node_size: int = 8
    expert_tensor: bool = False
    co_processing: CoProcessing = "none"
    dram_efficiency: float = 0.75
    apart: int = 0
    link: Link = Link(bytes_per_s=450e9, hop_s=5e-6)
    node_link: Link = Link(bytes_per_s=50e9, hop_s=5e-6)

    def __post_init__(self) -> None:
        whole(self.num_devices, 1, "num_devices")
        whole(self.node_size, 1, "node_size")
        positive(self.dram_efficiency, "dram_efficiency")
        if self.dram_efficiency > 1:
            raise ConfigError(f"dram_efficiency is {self.dram_efficiency:g}; expected a share of the peak, at most 1")
        if self.num_devices > self.node_size and self.num_devices % self.node_size:
            raise ConfigError(f"num_devices is {self.num_devices}; expected a multiple of node_size {self.node_size}")
        if self.co_processing not in _CO_PROCESSING:
            raise ConfigError(f"co_processing is {self.co_processing!r}; expected one of {', '.join(_CO_PROCESSING)}")
        if self.co_processing != "none" and self.device.pim_bandwidth_ratio == 0:
            raise ConfigError(f"co_processing is {self.co_processing!r}, but the device has no units in memory")
        self._check_apart()

    def _check_apart(self) -> None:
        whole(self.apart, 0, "apart")
        if not self.apart:
            return
        if self.device.pim_bandwidth_ratio == 0:
            raise ConfigError(f"apart is {self.apart}, but the device has no units in memory")
        if self.apart >= self.num_devices or self.num_devices > self.node_size:
            raise ConfigError(
                f"apart is {self.apart} of {self.num_devices} devices; expected fewer than all, in one node of at most "
                f"{self.node_size}"
            )
        if self.co_processing != "none":
            raise ConfigError(f"co_processing is {self.co_processing!r}; devices set apart share no memory: use 'none'")

    @property
    def num_nodes(self) -> int:
        return max(1, self.num_devices // self.node_size)

    @property
    def tensor_parallel(self) -> int:
        return min(self.num_devices, self.node_size)

    @property
    def dense_parallel(self) -> int:
        """Devices of a node over which linear layers and prompts are sliced."""
        return self.tensor_parallel - self.apart

    @property
    def cache_parallel(self) -> int:
        """Devices of a node over which caches and the attention of decodes are sliced."""
        return self.apart or self.tensor_parallel

    @property
    def capacity_bytes(self) -> float:
        return self.num_devices * self.device.capacity_bytes

    def replaced(self, **changes: object) -> "System":
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


def logic_pim_stack_flops_per_s(num_modules: int = 32, num_macs: int = 512, clock_hz: float = 650e6) -> float:
    """Peak of the matrix units on one logic die; the paper's 21.3e12 (section VI)."""
    return 2.0 * num_modules * num_macs * clock_hz
