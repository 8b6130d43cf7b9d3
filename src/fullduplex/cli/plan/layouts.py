"""Devices by name, and the layouts of the paper that are more than a device: twice as many, memory apart, prompts apart."""

import argparse
import dataclasses

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.calibrate.links import measured_link, read_all_reduce
from fullduplex.hardware.device import System
from fullduplex.hardware.presets import Presets
from fullduplex.hardware.serving.split import Pools

__all__ = ["LAYOUTS", "find_layout", "find_system"]

LAYOUTS = {
    "2xgpu": "twice --devices of gpu",
    "hetero": "half of --devices are processors, the memory units of the other half hold experts and caches",
    "duplex-split": "half of --devices read prompts, the other half decode",
}


def find_layout(arguments: argparse.Namespace, presets: Presets, name: str) -> System | Pools:
    """The system called `name`: a device of the presets or one of `LAYOUTS`, with the options of the command.

    Raises: ConfigError for a name or a number of devices that cannot be.
    """
    if name in presets.device or name not in LAYOUTS:
        return _as_measured(_system(arguments, presets, name, arguments.devices), arguments)
    if name == "2xgpu":
        return _as_measured(_system(arguments, presets, "gpu", 2 * arguments.devices), arguments)
    if arguments.devices < 2 or arguments.devices % 2:
        raise ConfigError(f"--devices is {arguments.devices}; {name} has two halves: give an even number")
    half = arguments.devices // 2
    if name == "hetero":
        apart = dataclasses.replace(_system(arguments, presets, "duplex", arguments.devices), apart=half)
        return _as_measured(apart, arguments)
    pool = _as_measured(_system(arguments, presets, "duplex", half), arguments)
    return Pools(prompts=pool, answers=pool, wire=pool.link)


def find_system(arguments: argparse.Namespace, presets: Presets, name: str) -> System:
    """The same where all devices must hold a whole session.

    Raises: ConfigError for duplex-split, whose caches lie where no prompt is read.
    """
    found = find_layout(arguments, presets, name)
    if isinstance(found, Pools):
        raise ConfigError(
            f"--device {name}: an interruption must look back on the session's cache, which lies in the other half; "
            "see `plan simulate` for requests, or take hetero or duplex"
        )
    return found


def _as_measured(system: System, arguments: argparse.Namespace) -> System:
    """With the all-reduce times of the file of the command, if there is one, for as many devices as reduce together."""
    together = system.cache_parallel
    if arguments.all_reduce is None or together == 1:
        return system
    return system.replaced(link=measured_link(system.link, read_all_reduce(arguments.all_reduce, together)))


def _system(arguments: argparse.Namespace, presets: Presets, device: str, devices: int) -> System:
    plain = System(
        device=presets.find_device(device, also=tuple(LAYOUTS)),
        num_devices=devices,
        expert_tensor=arguments.expert_tensor,
        dram_efficiency=arguments.efficiency,
    )
    hop_s = arguments.hop_us * 1e-6
    return dataclasses.replace(
        plain,
        # A sweep compares devices with and without units in memory under the same options.
        co_processing=arguments.co_processing if plain.device.pim_bandwidth_ratio else "none",
        link=dataclasses.replace(plain.link, hop_s=hop_s),
        node_link=dataclasses.replace(plain.node_link, hop_s=hop_s),
    )
