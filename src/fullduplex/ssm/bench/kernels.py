"""Each kernel beside its other paths and above its floor."""

from collections.abc import Callable

import torch
from torch import Tensor

from fullduplex.kernels.conv import causal_conv
from fullduplex.kernels.hadamard import hadamard
from fullduplex.kernels.native.library import native
from fullduplex.kernels.scan import linear_scan, linear_scan_ref
from fullduplex.kernels.selective import SelectiveSystem, selective_scan, selective_scan_ref
from fullduplex.kernels.ssd import ssd, ssd_ref
from fullduplex.kernels.vandermonde import unroll_powers, unroll_powers_ref
from fullduplex.ssm.bench.models import Comparison
from fullduplex.ssm.bench.timing import Floors, take_turns, without_native
from fullduplex.ssm.s4d import S4D, S4DConfig

__all__ = ["compare_kernels"]


def compare_kernels(
    num_steps: int, floors: Floors, generator: torch.Generator, progress: Callable[[str], None]
) -> list[Comparison]:
    """All kernels at the sizes of a layer of width 256.

    Args:
        num_steps: length T of the sequences; the S4D kernel is sixteen times as long.
        floors: of this machine.
        generator: source of the numbers.
        progress: told the name of what comes next.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def paths(run: Callable[[], object], reference: Callable[[], object] | None) -> dict[str, Callable[[], object]]:
        def plain() -> object:
            with without_native():
                return run()

        found = {"compiled": run, "torch": plain} if native() is not None else {"torch": run}
        return found | ({"reference": reference} if reference is not None else {})

    def compare(name: str, runs: dict[str, Callable[[], object]], floor_ms: float, note: str) -> Comparison:
        progress(name)
        return Comparison(name=name, timings=take_turns(runs, 3), floor_ms=floor_ms, note=note)

    steps, width, order, heads = num_steps, 512, 16, 8
    found: list[Comparison] = []
    with torch.no_grad():
        x, dt, z = (normal(1, steps, width) for _ in range(3))
        b, c, h0 = normal(1, steps, order), normal(1, steps, order), normal(1, width, order)
        system = SelectiveSystem(-normal(width, order).exp(), normal(width), normal(width) - 2)
        count = steps * width * order
        found.append(
            compare(
                "selective scan",
                paths(
                    lambda: selective_scan(x, dt, b, c, system, h0, z),
                    lambda: selective_scan_ref(x, dt, b, c, system, h0, z),
                ),
                floors.time_ms(flop=4 * count, exps=count + 2 * steps * width, num_bytes=16 * steps * width),
                "an exponential and two multiply-adds a state",
            )
        )
        v, step, rate = normal(1, steps, heads, 64), normal(1, steps, heads).exp() / 10, -normal(heads).exp()
        k, q, s0 = normal(1, steps, 1, 64), normal(1, steps, 1, 64), normal(1, heads, 64, 64)
        found.append(
            compare(
                "ssd",
                paths(lambda: ssd(v, step, rate, k, q, s0), lambda: ssd_ref(v, step, rate, k, q, s0)),
                floors.time_ms(flop=4 * steps * heads * 64 * 64, num_bytes=8 * steps * width),
                "two multiply-adds a state",
            )
        )
        weight, bias, past = normal(width, 4), normal(width), normal(1, 3, width)
        run = paths(lambda: causal_conv(x, weight, bias, past, silu=True), None)
        found.append(compare("convolution + SiLU", run, floors.time_ms(num_bytes=8 * steps * width), "bytes"))
        rows = normal(steps, 4096)
        found.append(
            compare(
                "Hadamard 4096",
                paths(lambda: hadamard(rows), None),
                floors.time_ms(num_bytes=8 * rows.numel()),
                "bytes",
            )
        )
        for name, shape in (("scan, narrow", (1, steps, 256)), ("scan, wide", (4, steps, 1024))):
            a, drive, start = torch.rand(*shape, generator=generator), normal(*shape), normal(shape[0], shape[2])
            found.append(
                compare(
                    name,
                    paths(
                        lambda a=a, drive=drive, start=start: linear_scan(a, drive, start),
                        lambda a=a, drive=drive, start=start: linear_scan_ref(a, drive, start),
                    ),
                    floors.time_ms(num_bytes=12 * a.numel()),
                    "bytes",
                )
            )
        found.append(_s4d(16 * steps, floors, generator, progress))
    return found


def _s4d(length: int, floors: Floors, generator: torch.Generator, progress: Callable[[str], None]) -> Comparison:
    progress("S4D kernel")
    system = S4D(S4DConfig(width=128, order=64, start="legs"), generator=generator).discrete()
    weights, bases = (system.c_DM * system.b_DM).to(torch.complex64), system.a_DM
    narrow = bases.to(torch.complex64)
    runs: dict[str, Callable[[], object]] = {
        "two-level": lambda: unroll_powers(weights, bases, length),
        "reference": lambda: unroll_powers_ref(weights, narrow, length),
    }
    floor_ms = floors.time_ms(flop=4 * 128 * 32 * length, num_bytes=4 * 128 * length)
    return Comparison(
        name=f"S4D kernel, {length}", timings=take_turns(runs, 2), floor_ms=floor_ms, note="real products"
    )
