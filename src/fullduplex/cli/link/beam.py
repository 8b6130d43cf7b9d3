"""`fullduplex link beam`: align a holographic surface, or a line of microphones, with a fixed number of pilots."""

import argparse
import json
from pathlib import Path
from typing import get_args

from fullduplex.links.beam.align import METHODS, AlignConfig
from fullduplex.links.beam.grid import check_unimodal, exact_grid
from fullduplex.links.beam.noise import Law, noise_from_snr
from fullduplex.links.beam.study import Row, best_budget, compare, draw_study, study, table
from fullduplex.links.beam.surface import Surface

__all__ = ["main"]

_EXAMPLES = """examples:
  fullduplex link beam --budget 200 --snr-db 70
  fullduplex link beam --budget 200 --snr-db 70 --method holobeam-fan --method hierarchical --refine
  fullduplex link beam study --out figures"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex link beam",
        description="HoloBeam (arXiv:2401.05420): find the two phase gradients of a holographic surface with a fixed number "
        "of pilots, beside other ways to spend them. Every method sees the same random directions.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", nargs="?", choices=("align", "study"), default="align", help="default: align")
    parser.add_argument("--budget", type=int, default=200, metavar="T", help="pilots in all, both axes (default: 200)")
    parser.add_argument("--snr-db", type=float, default=70.0, metavar="DB", help="when aligned, a pilot (default: 70)")
    parser.add_argument(
        "--size", type=float, default=32.0, metavar="K", help="wavelengths along each axis (default: 32)"
    )
    parser.add_argument("--spacing", type=float, metavar="L", help="wavelengths between elements (default: continuous)")
    parser.add_argument(
        "--law", choices=get_args(Law), default="physical", help="what a receiver reports (default: physical)"
    )
    parser.add_argument("--method", action="append", choices=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--refine", action="store_true", help="end between grid points, with the parametric estimator")
    parser.add_argument("--shift", action="store_true", help="shift the grids by a random part of a step each time")
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
    arguments = _parser().parse_args(argv)
    surface = Surface(size=arguments.size, spacing=arguments.spacing)
    config = AlignConfig(
        first=surface,
        second=surface,
        budget=arguments.budget,
        noise=noise_from_snr(arguments.snr_db, arguments.law),
        refine=arguments.refine,
        shift=arguments.shift,
    )
    methods = tuple(arguments.method or METHODS)
    shape = check_unimodal(surface, exact_grid(surface))
    sizes = {"trials": arguments.trials, "frame": arguments.frame, "seed": arguments.seed}
    if arguments.job == "study":
        rows = study(config, methods=methods, law=arguments.law, **sizes)
    else:
        rows = compare(config, methods, snr_db=arguments.snr_db, **sizes)
    if arguments.out is not None:
        draw_study(rows, arguments.out / "beam.png")
    if arguments.json:
        print(json.dumps({"unimodal_share": shape.share, "rows": table(rows)}))
        return 0
    if not shape.holds:
        print(f"warning: only {100 * shape.share:.1f} % of directions are unimodal on this grid (spacing of half a wavelength "
              "or more?); elimination has no guarantee here")  # fmt: skip
    _print(rows)
    if arguments.job == "study":
        for (method, snr_db), budget in best_budget(rows).items():
            print(f"most throughput of {method} at {snr_db:g} dB: {budget} pilots")
    return 0


def _print(rows: list[Row]) -> None:
    print(f"{'method':<19}{'SNR':>6}{'pilots':>8}{'not the best beam':>25}{'power kept':>12}{'bits/symbol':>13}")
    for row in rows:
        error = f"{row.error:.3f} ({row.error_low:.3f} to {row.error_high:.3f})"
        note = "  too few pilots for one an arm" if row.starved else ""
        print(
            f"{row.method:<19}{row.snr_db:>6g}{row.pilots:>8}{error:>25}{row.gain:>12.3f}{row.throughput:>13.2f}{note}"
        )
