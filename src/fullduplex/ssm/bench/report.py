"""All measurements of the room as one record, a table and a picture."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fullduplex.base.errors import MissingExtraError
from fullduplex.base.record import Record
from fullduplex.kernels.native.library import native
from fullduplex.ssm.bench.kernels import compare_kernels
from fullduplex.ssm.bench.models import Comparison, ModelSizes, compare_models
from fullduplex.ssm.bench.timing import Floors, measure_floors

__all__ = ["BenchResult", "draw_bench", "make_record", "run_bench", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What was measured."""

    comparisons: tuple[Comparison, ...]
    floors: Floors
    seconds_s: float


def run_bench(
    sizes: ModelSizes, *, models: bool = True, kernels: bool = True, seed: int = 0, progress: Callable[[str], None]
) -> BenchResult:
    """Measure with the threads torch is set to.

    Args:
        sizes: of the models, and length of the kernels' sequences.
        models: whether to compare whole models with peers.
        kernels: whether to compare the paths of each kernel.
        seed: of weights and inputs.
        progress: told the name of what comes next.
    """
    start_s, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    native()  # compiled before anything is timed
    progress("floors")
    floors = measure_floors(generator)
    found: list[Comparison] = []
    if kernels:
        found += compare_kernels(sizes.num_steps, floors, generator, progress)
    if models:
        found += compare_models(sizes, floors, generator, progress)
    return BenchResult(comparisons=tuple(found), floors=floors, seconds_s=time.perf_counter() - start_s)


def make_record(result: BenchResult, sizes: ModelSizes, seed: int) -> Record:
    """One JSON line: times, ratios of each peer to ours, distance to the floor."""
    figures = {
        "copy_gb_per_s": result.floors.bytes_per_s / 1e9,
        "gemm_gflop_per_s": result.floors.flop_per_s / 1e9,
    }
    for comparison in result.comparisons:
        key = comparison.name.replace(",", "").replace(" + ", "_").replace(" ", "_")
        for index, (name, timing) in enumerate(comparison.timings.items()):
            figures[f"{key}_{name}_ms"] = timing.median_ms
            if index:
                figures[f"{key}_{name}_over_ours"] = timing.over_first
        figures[f"{key}_over_floor"] = next(iter(comparison.timings.values())).fastest_ms / comparison.floor_ms
    return Record(
        name="ssm",
        seed=seed,
        data_hash="",
        figures={name: float(f"{value:.4g}") for name, value in figures.items()},
        seconds_s=round(result.seconds_s, 1),
        config={
            "width": sizes.width,
            "num_layers": sizes.num_layers,
            "num_steps": sizes.num_steps,
            "threads": torch.get_num_threads(),
            "compiled": native() is not None,
            "torch": torch.__version__,
            "skipped": sorted({peer for each in result.comparisons for peer in each.skipped}),
        },
    )


def table(comparisons: Sequence[Comparison]) -> str:
    """Rows: what, ours, each other with its ratio to ours, distance to the floor."""
    lines = [f"{'':24s} {'ours':>12s}  {'over floor':>10s}  others (how many times ours)"]
    for comparison in comparisons:
        (_, ours), *others = comparison.timings.items()
        told = "   ".join(f"{name} {_ms(each.median_ms)} ({_times(each.over_first)}x)" for name, each in others)
        missing = "".join(f"   {peer}: not installed" for peer in comparison.skipped)
        over = f"{ours.fastest_ms / comparison.floor_ms:9.1f}x"
        lines.append(f"{comparison.name:24s} {_ms(ours.median_ms):>12s}  {over}  {told}{missing}")
    return "\n".join(lines)


def draw_bench(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Bars of how many times our duration each contender takes, on a logarithmic axis, with the floor as a mark.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "talk") from error
    rows = [
        (comparison, name, each.median_ms) for comparison in comparisons for name, each in comparison.timings.items()
    ]
    figure = Figure(figsize=(9, 1 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    colours = {"fullduplex": "#1b6ca8", "compiled": "#1b6ca8", "two-level": "#1b6ca8", "torch": "#6fa8d6"}
    for position, (comparison, name, median_ms) in enumerate(rows):
        axes.barh(position, median_ms, color=colours.get(name, "#b0b0b0"))
        axes.text(median_ms * 1.05, position, _ms(median_ms), va="center", fontsize=7)
        axes.plot([comparison.floor_ms] * 2, [position - 0.4, position + 0.4], color="#c0392b", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [f"{comparison.name}: {name}" for comparison, name, _ in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("milliseconds; red: the floor of this machine")
    figure.savefig(path, dpi=150)


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio > 0.1 else f"{ratio:.4f}"


def _ms(value: float) -> str:
    return f"{value:.3f} ms" if value < 10 else f"{value:.0f} ms"
