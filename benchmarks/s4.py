"""S4 and S5: the kernel against the dense recursion, rank one and two, one live step, and a training step beside S4D.

Prints one JSON line. The peer of the kernel is the recurrence it unrolls, on dense matrices of the step, one product a
sample (what S4's paper calls the naive way); error is against the same recurrence in float64. The peer of the layers is
S4D of the same sizes.

    python benchmarks/s4.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from fullduplex.base.record import Record
from fullduplex.ssm.dplr.convolution import response, response_ref
from fullduplex.ssm.dplr.system import DplrStep, dense_step, one_step, real_from_pair
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig
from fullduplex.ssm.s5 import S5, S5Config

WIDTH, ORDER, LENGTHS = 64, 64, (1024, 4096)


def median_s(run: Callable[[], object], repeats: int = 5) -> float:
    """Median duration of `run` after one run to warm up."""
    run()
    durations_s: list[float] = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        run()
        durations_s.append(time.perf_counter() - start_s)
    return statistics.median(durations_s)


def dense_kernel(numbers: DplrStep, num_steps: int) -> Tensor:
    """The naive way: one dense product a sample."""
    turn_DNN, x_DN1 = dense_step(numbers), real_from_pair(numbers.b_DM).unsqueeze(-1)
    read_D1N = 2 * real_from_pair(numbers.c_DM.conj()).unsqueeze(-2)
    out = []
    for _ in range(num_steps):
        out.append(read_D1N @ x_DN1)
        x_DN1 = turn_DNN @ x_DN1
    return torch.cat(out, dim=-1).squeeze(-2)


def measure_kernels(generator: torch.Generator) -> dict[str, float]:
    """Time and error of the kernel, rank one and two."""
    figures: dict[str, float] = {}
    for kind in ("legs", "legt"):
        layer = S4(S4Config(width=WIDTH, order=ORDER, kinds=(kind,)), generator=generator)
        system = layer.system()
        numbers = one_step(system)
        for length in LENGTHS:
            case = f"{kind}_H{WIDTH}_N{ORDER}_L{length}"
            fast_s = median_s(lambda s=system, n=numbers, L=length: response(s, n, L))
            dense_s = median_s(lambda n=numbers, L=length: dense_kernel(n, L), 1)
            exact = response_ref(numbers, length)
            error = (response(system, numbers, length) - exact).abs().max() / exact.abs().max()
            figures[f"{case}_ms"] = 1e3 * fast_s
            figures[f"{case}_dense_over_ours"] = dense_s / fast_s
            figures[f"{case}_error"] = error.item()
    return figures


def measure_layers(generator: torch.Generator) -> dict[str, float]:
    """A training step and a live step of S4 and S5, beside S4D."""
    layers = {
        "s4d": S4D(S4DConfig(width=WIDTH, order=ORDER), generator=generator),
        "s4": S4(S4Config(width=WIDTH, order=ORDER), generator=generator),
        "s4_rank2": S4(S4Config(width=WIDTH, order=ORDER, kinds=("legt",)), generator=generator),
        "s5": S5(S5Config(width=WIDTH, order=ORDER), generator=generator),
    }
    x_BTD = torch.randn(4, 1024, WIDTH, generator=generator)
    times: dict[str, float] = {}
    for name, layer in layers.items():

        def train(layer: S4 | S4D | S5 = layer) -> None:
            layer.zero_grad()
            layer.scan(x_BTD, layer.init(4))[0].square().mean().backward()

        times[f"{name}_train_ms"] = 1e3 * median_s(train, 3)
        with torch.no_grad():
            live = layer.frozen()
            state, frame_BD = layer.init(1), x_BTD[:1, 0]
            times[f"{name}_step_us"] = 1e4 * median_s(
                lambda live=live, state=state, frame_BD=frame_BD: [live.step(frame_BD, state) for _ in range(100)]
            )
    ratios = {f"{name}_train_over_s4d": times[f"{name}_train_ms"] / times["s4d_train_ms"] for name in layers}
    return {**times, **ratios}


def main() -> None:
    """Measure and print the record."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        figures = measure_kernels(generator)
    figures |= measure_layers(generator)
    record = Record(
        name="s4",
        seed=0,
        data_hash="",
        figures={name: float(f"{value:.3g}") for name, value in figures.items()},
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"torch": torch.__version__, "num_threads": torch.get_num_threads()},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()
