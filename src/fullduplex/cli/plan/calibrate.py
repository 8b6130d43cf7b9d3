"""`fullduplex plan calibrate`: this machine as a device, and a real model's calls on it predicted."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fullduplex.cli.places import writable
from fullduplex.cli.plan.inputs import counted
from fullduplex.hardware.calibrate.calls import Call, Predicted, predict_calls
from fullduplex.hardware.calibrate.fit import Fit
from fullduplex.hardware.calibrate.machine import SHAPES, measure_products, this_machine
from fullduplex.hardware.device import Device
from fullduplex.hardware.presets import Presets

__all__ = ["add_calibrate", "run_calibrate"]


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """What is measured, and where to."""
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="also: time this model's calls and predict them")
    parser.add_argument(
        "--model", default="smollm2-135m", metavar="NAME", help="its shape, see `plan list` (default: smollm2-135m)"
    )
    parser.add_argument(
        "--repeats", type=counted(1), default=5, metavar="N", help="the least of so many counts (default: 5)"
    )
    parser.add_argument("--out", type=Path, metavar="TOML", help="write [device.this-machine], for --presets")


def run_calibrate(arguments: argparse.Namespace, presets: Presets) -> int:
    """Measure and print; exit status 0."""
    from tqdm import tqdm

    model = presets.find_model(arguments.model)
    if arguments.out is not None:
        writable(arguments.out)
    with tqdm(total=len(SHAPES), desc="products", file=sys.stderr, disable=None, leave=False) as bar:
        device, fit, error = this_machine(measure_products(repeats=arguments.repeats, progress=bar.update))
    if arguments.out is not None:
        arguments.out.write_text(_toml(device, fit), encoding="utf-8")
    calls: list[Call] = []
    found: Predicted | None = None
    if arguments.gguf is not None:
        from fullduplex.recipes.machine.calibrate import CALLS, time_calls

        with tqdm(total=len(CALLS), desc="calls", file=sys.stderr, disable=None, leave=False) as bar:
            calls = time_calls(arguments.gguf, repeats=arguments.repeats, progress=bar.update)
        stored = 8 * arguments.gguf.stat().st_size / model.num_parameters
        found = predict_calls(dataclasses.replace(model, weight_bits=stored), calls, device, fit)
    if arguments.json:
        products = {"device": dataclasses.asdict(device), "fit": dataclasses.asdict(fit), "held_out_error": error}
        timed = [dataclasses.asdict(call) for call in calls]
        print(json.dumps({"products": products, "calls": timed, "predicted": found and dataclasses.asdict(found)}))
        return 0
    print(
        f"this machine, one thread, 32 bits: {device.flops_per_s / 1e9:.1f} GFLOPS and {device.bytes_per_s / 1e9:.1f} GB/s "
        f"at best; fitted {fit.compute_share:.0%} and {fit.memory_share:.0%} of them, {fit.start_s * 1e6:.1f} us a "
        f"product; error on products held out {error:.1%}"
    )
    if found is not None:
        _print_calls(calls, found)
    return 0


def _print_calls(calls: Sequence[Call], found: Predicted) -> None:
    print(f"{'tokens':>7} {'context':>8} {'measured ms':>12} {'products ms':>12} {'calls ms':>9}")
    for index, call in enumerate(calls):
        print(
            f"{call.tokens:>7} {call.context:>8} {call.seconds * 1e3:>12.2f} {found.from_products_s[index] * 1e3:>12.2f} "
            f"{found.from_calls_s[index] * 1e3:>9.2f}{'' if index % 2 else ' *'}"
        )
    print(f"mean error from matrix products alone: {found.products_error:.1%}")
    print(
        f"fitted to the calls marked *: error {found.fitted_error:.1%} there, {found.held_out_error:.1%} on the others "
        f"({found.fit.compute_share:.1%} of compute, {found.fit.memory_share:.1%} of bandwidth, "
        f"{found.fit.start_s * 1e3:.2f} ms a call)"
    )


def _toml(device: Device, fit: Fit) -> str:
    return (
        "[device.this-machine]\n"
        f"flops_per_s = {device.flops_per_s * fit.compute_share:.6e}\n"
        f"bytes_per_s = {device.bytes_per_s * fit.memory_share:.6e}\n"
        f"capacity_bytes = {device.capacity_bytes:.6e}\n"
        f'source = "{device.source}"\n'
    )
