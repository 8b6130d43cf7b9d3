"""`fullduplex plan figure`: what the Duplex paper prints, regenerated, and how much its unknown inputs matter."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fullduplex.cli.places import writable
from fullduplex.hardware.calibrate.links import read_all_reduce
from fullduplex.hardware.presets import Presets
from fullduplex.hardware.reproduce.comparison import NUM_RUNS, Unknowns, compare, load_unknowns
from fullduplex.hardware.reproduce.influence import Influence, influence, num_settings
from fullduplex.hardware.reproduce.pictures import draw_comparison, draw_edap, draw_influence
from fullduplex.hardware.reproduce.table import Row, full_table, throughput_rows
from fullduplex.hardware.silicon import (
    EACH_PLACE,
    EDAP_UNITS,
    LOGIC_DIE_MM2,
    LOGIC_PIM_MM2,
    PAPER_EDAP,
    crossing,
    edap_table,
)

__all__ = ["add_figure", "run_figure"]


def add_figure(parser: argparse.ArgumentParser) -> None:
    """Which figure, from which constants, where to."""
    parser.add_argument(
        "number",
        choices=("table", "8", "11"),
        help="table: every number the paper prints about its runs; 8: energy x delay x area; 11: the 27 configurations",
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="default: figures")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="TOML",
        help="dram_efficiency, hop_s, spaces, spread, zipf, [silicon]: what the paper does not say (default: calibrated)",
    )
    parser.add_argument(
        "--all-reduce", type=Path, metavar="CSV", help="measured times on 4 and 8 devices (Vidur's format), not a ring"
    )
    parser.add_argument("--sensitivity", action="store_true", help="also: each unknown changed alone, rows and a PNG")
    parser.add_argument("--ray", metavar="ADDRESS", help="run the configurations on Ray: local, auto or HOST:PORT")


def run_figure(arguments: argparse.Namespace, presets: Presets) -> int:
    """Print, draw; exit status 0, or 1 when a row of the table misses its tolerance."""
    unknowns = load_unknowns(arguments.config)
    if arguments.all_reduce is not None:
        curves = tuple((devices, read_all_reduce(arguments.all_reduce, devices)) for devices in (4, 8))
        unknowns = dataclasses.replace(unknowns, all_reduce=curves)
    writable(arguments.out / ("duplex_8.png" if arguments.number == "8" else "duplex_11.png"))
    if arguments.number == "8":
        return _edap(arguments, presets, unknowns)
    everything = arguments.number == "table"
    with _bar("runs", NUM_RUNS) as progress:
        if everything:
            found, rows = full_table(presets, unknowns, progress, arguments.ray)
        else:
            found = compare(presets, unknowns, progress, arguments.ray)
            rows = throughput_rows(found)
    draw_comparison(found, arguments.out / "duplex_11.png")
    swept: dict[str, Influence] = {}
    if arguments.sensitivity:
        with _bar("tables", num_settings(unknowns)) as progress:
            swept = influence(presets, unknowns, everything=everything, progress=progress, ray=arguments.ray)
        draw_influence(swept, arguments.out / "duplex_sensitivity.png")
    _print_table(arguments, unknowns, rows, swept)
    return 0 if all(row.within for row in rows) else 1


def _print_table(
    arguments: argparse.Namespace, unknowns: Unknowns, rows: Sequence[Row], swept: Mapping[str, Influence]
) -> None:
    if arguments.json:
        table = [{**dataclasses.asdict(row), "off": row.off, "within": row.within} for row in rows]
        moved = {
            name: {value: [row.here for row in made] for value, made in found.rows.items()}
            for name, found in swept.items()
        }
        print(json.dumps({"unknowns": dataclasses.asdict(unknowns), "rows": table, "sensitivity": moved}))
        return
    print(
        f"DRAM efficiency {unknowns.dram_efficiency:g} and "
        + (f"{unknowns.hop_s * 1e6:g} us a hop" if not unknowns.all_reduce else "all-reduces as measured")
        + ": calibrated on the throughput rows, not predicted; "
        f"lengths +-{unknowns.spread:.0%}, Zipf {unknowns.zipf:g}, experts split "
        f"{'by memory space' if unknowns.spaces else 'one by one'}"
    )
    width = max(len(_titled(row)) for row in rows)
    print(f"{'':<{width}} {'paper':>7} {'here':>7} {'off':>8} {'within':>7}")
    for row in rows:
        off = f"{row.off:.1%}" if row.unit not in ("%", "") else f"{row.off:+.1f} pt" if row.unit else f"{row.off:+.3f}"
        kept = "-" if row.tolerance is None else "yes" if row.within else "NO"
        print(f"{_titled(row):<{width}} {row.paper:>7.2f} {row.here:>7.2f} {off:>8} {kept:>7}")
    if swept:
        _print_influence(rows, swept, width)
    print(f"drawn to {arguments.out / 'duplex_11.png'}" + (" and duplex_sensitivity.png" if swept else ""))


def _print_influence(rows: Sequence[Row], swept: Mapping[str, Influence], width: int) -> None:
    print()
    print("one unknown changed at a time, from the least to the most; * the paper's number lies between")
    for name, found in swept.items():
        print(f"  {name}: {', '.join(found.rows)}")
    print(f"{'':<{width}} {'paper':>7} {'here':>7}" + "".join(f" {name:>18}" for name in swept))
    for index, row in enumerate(rows):
        cells: list[str] = []
        for found in swept.values():
            here = found.here(index)
            same = max(here) - min(here) < 0.005
            cells.append("-" if same else f"{min(here):.2f} to {max(here):.2f}{'*' if found.reaches(index) else ' '}")
        if set(cells) != {"-"}:
            print(
                f"{_titled(row):<{width}} {row.paper:>7.2f} {row.here:>7.2f}"
                + "".join(f" {cell:>18}" for cell in cells)
            )


def _titled(row: Row) -> str:
    return f"{row.name}{f' ({row.unit})' if row.unit not in ('x', '') else ''}"


def _edap(arguments: argparse.Namespace, presets: Presets, unknowns: Unknowns) -> int:
    columns = list(PAPER_EDAP)
    table = edap_table(presets.device, columns, unknowns.silicon)
    here = {name: [float(cell) for cell in row] for name, row in zip(EDAP_UNITS, table, strict=True)}
    paper = {name: [float(PAPER_EDAP[column][row]) for column in columns] for row, name in enumerate(EDAP_UNITS)}
    places = edap_table(presets.device, columns, EACH_PLACE)
    met = crossing(presets.device, unknowns.silicon)
    area = sum(LOGIC_PIM_MM2.values())
    draw_edap(columns, here, paper, arguments.out / "duplex_8.png")
    if arguments.json:
        found = {"ops_per_byte": columns, "here": here, "paper": paper, "crossing_ops_per_byte": met, "area_mm2": area}
        own = {"silicon": dataclasses.asdict(EACH_PLACE), "here": dict(zip(EDAP_UNITS, places.tolist(), strict=True))}
        print(json.dumps({"silicon": dataclasses.asdict(unknowns.silicon), **found, "each_place": own}))
        return 0
    head = f"{'EDAP at Op/B (ours, paper)':<28}" + "".join(f"{column:>12}" for column in columns)
    for silicon, cells_of in ((unknowns.silicon, here), (EACH_PLACE, dict(zip(EDAP_UNITS, places, strict=True)))):
        print(", ".join(f"{name} {value:g}" for name, value in dataclasses.asdict(silicon).items()))
        print(head)
        for name in EDAP_UNITS:
            cells = "".join(f"  {a:.3f} {b:.2f}" for a, b in zip(cells_of[name], paper[name], strict=True))
            print(f"{name:<28}{cells}")
    print(f"Logic-PIM overtakes Bank-PIM at {met:.2f} Op/B; by delay alone at {_delay_crossing(presets):.2f}")
    print(f"Logic-PIM of a stack: {area:.2f} mm2, {area / LOGIC_DIE_MM2:.1%} of the logic die")
    print(f"drawn to {arguments.out / 'duplex_8.png'}")
    return 0


def _delay_crossing(presets: Presets) -> float:
    return crossing(presets.device, delay_alone=True)


@contextmanager
def _bar(name: str, total: int) -> Generator[Callable[[], object]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=name, file=sys.stderr, disable=None, leave=False) as bar:
        yield bar.update
