"""`fullduplex link beam`: align a holographic surface, or a line of microphones, with a fixed number of pilots."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from fullduplex.cli.link import listen
from fullduplex.cli.places import make_folder
from fullduplex.links.beam.align import METHODS, AlignConfig
from fullduplex.links.beam.grid import Unimodality, check_unimodal, exact_grid
from fullduplex.links.beam.noise import Law, noise_from_snr
from fullduplex.links.beam.study import (
    Row,
    SecondPath,
    best_budget,
    compare,
    draw_study,
    second_path,
    study,
    table,
)
from fullduplex.links.beam.surface import Surface

__all__ = ["main"]

_EXAMPLES = """jobs:
  align    every method with one budget at one ratio (default)
  study    the comparison over 50, 70 and 90 dB and 100 to 800 pilots
  listen   find a talker with a line of microphones: fullduplex link beam listen --help

examples:
  fullduplex link beam --budget 200 --snr-db 70
  fullduplex link beam --budget 200 --method holobeam-fan --method hierarchical --refine --out figures
  fullduplex link beam --second-path 0.5
  fullduplex link beam study --out figures

methods:
  holobeam            four arms, a third dropped, one axis after the other (the paper, read literally)
  holobeam-fan        the same, phase one behind a fan beam without zeros
  holobeam-restarts   the same from four random gradients of the second axis
  halving-, rejects-, line-, sweep-fan   other searches along each axis: sequential halving, successive
                      rejects, line-search elimination, every beam equally often
  halving-2d          sequential halving over all pairs
  hierarchical        wide beams first"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex link beam",
        description="HoloBeam (arXiv:2401.05420): find the two phase gradients of a holographic surface with a fixed number "
        "of pilots, beside other ways to spend them. Every method sees the same random directions; what wins, wins.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", nargs="?", choices=("align", "study"), default="align", metavar="align|study|listen")
    parser.add_argument("--budget", type=int, default=200, metavar="T", help="pilots in all, both axes (default: 200)")
    parser.add_argument("--snr-db", type=float, default=70.0, metavar="DB", help="when aligned, a pilot (default: 70)")
    parser.add_argument(
        "--size", type=float, default=32.0, metavar="K", help="wavelengths along each axis (default: 32)"
    )
    parser.add_argument("--spacing", type=float, metavar="L", help="wavelengths between elements (default: continuous)")
    parser.add_argument(
        "--law", choices=get_args(Law), default="physical", help="what a receiver reports (default: physical)"
    )
    parser.add_argument("--method", action="append", choices=METHODS, metavar="NAME", help="may be repeated; see below")
    parser.add_argument("--refine", action="store_true", help="end between grid points, with the parametric estimator")
    parser.add_argument("--shift", action="store_true", help="shift the grids by a random part of a step each time")
    parser.add_argument(
        "--second-path",
        type=float,
        default=0.0,
        metavar="A",
        help="also say what a second path of this amplitude breaks",
    )
    parser.add_argument("--trials", type=int, default=1000, metavar="N", help="random directions (default: 1000)")
    parser.add_argument(
        "--frame", type=int, default=10_000, metavar="N", help="symbols a frame, for throughput (10000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="directions and noise (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write beam.png there")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def main(argv: list[str]) -> int:
    """Run; exit status 0."""
    if argv[:1] == ["listen"]:
        return listen.main(argv[1:])
    arguments = _parser().parse_args(argv)
    if arguments.out is not None:
        make_folder(arguments.out)
    surface = Surface(size=arguments.size, spacing=arguments.spacing)
    config = AlignConfig(
        first=surface,
        second=surface,
        budget=arguments.budget,
        noise=noise_from_snr(arguments.snr_db, arguments.law),
        refine=arguments.refine,
        shift=arguments.shift,
    )
    methods = tuple(dict.fromkeys(arguments.method or METHODS))
    shape = check_unimodal(surface, exact_grid(surface))
    sizes = {"trials": arguments.trials, "frame": arguments.frame, "seed": arguments.seed}
    if arguments.job == "study":
        rows = study(config, methods=methods, law=arguments.law, **sizes)
    else:
        rows = compare(config, methods, snr_db=arguments.snr_db, **sizes)
    other = second_path(surface, arguments.second_path, seed=arguments.seed) if arguments.second_path else None
    if arguments.out is not None:
        draw_study(rows, arguments.out / "beam.png")
    if arguments.json:
        found = {"unimodal_share": shape.share, "second_path": None if other is None else asdict(other)}
        print(json.dumps({**found, "rows": table(rows)}))
        return 0
    _print(rows, shape, other)
    if arguments.job == "study":
        for (method, snr_db), budget in best_budget(rows).items():
            print(f"most throughput of {method} at {snr_db:g} dB: {budget} pilots")
    if arguments.out is not None:
        print(f"wrote {arguments.out / 'beam.png'}")
    return 0


def _print(rows: list[Row], shape: Unimodality, other: SecondPath | None) -> None:
    if not shape.holds:
        print(f"warning: only {100 * shape.share:.1f} % of directions are unimodal on this grid (elements more than a quarter "
              "of a wavelength apart?); elimination has no guarantee here")  # fmt: skip
    print(f"{'method':<19}{'SNR':>6}{'pilots':>8}{'not the best beam':>25}{'power kept':>12}{'bits/symbol':>13}")
    for row in rows:
        error = f"{row.error:.3f} ({row.error_low:.3f} to {row.error_high:.3f})"
        note = "  too few pilots for every arm it should try" if row.starved else ""
        print(
            f"{row.method:<19}{row.snr_db:>6g}{row.pilots:>8}{error:>25}{row.gain:>12.3f}{row.throughput:>13.2f}{note}"
        )
    if other is not None:
        print(f"a second path of {other.strength:g} times the amplitude: {100 * other.unimodal_share:.0f} % of directions "
              f"stay unimodal along an axis; without any noise elimination misses the best beam in {100 * other.error:.0f} %"
              f" ({100 * other.error_low:.0f} to {100 * other.error_high:.0f}), and keeps {100 * other.gain:.0f} % of its "
              "power. The algorithm and its bound are for one path.")  # fmt: skip
