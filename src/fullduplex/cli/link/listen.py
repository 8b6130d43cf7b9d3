"""`fullduplex link beam listen`: find a talker with a line of microphones and a fixed number of looks."""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.cli.places import make_folder
from fullduplex.links.beam.microphones import Line, arrive, draw_beams, find_talker, loudest_tone, scan
from fullduplex.recipes.sound_files import read_mono

__all__ = ["main"]

_EXAMPLES = """examples:
  fullduplex link beam listen talker.wav --degrees 25            # one channel: the line is simulated around it
  fullduplex link beam listen array.wav --recorded --refine      # one channel for each microphone, in order
  fullduplex link beam listen talker.wav --degrees 25 --budget 60 --out figures"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex link beam listen",
        description="Steer a line of microphones to a talker by eliminating thirds: the search of HoloBeam, on sound. A "
        "look is one window of 32 ms; the answer is beside that of looking everywhere.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="WAV, FLAC or OGG")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--degrees", type=float, metavar="DEG", help="where the talker stands, -90 to 90 from straight ahead"
    )
    source.add_argument("--recorded", action="store_true", help="the channels of the file are the microphones")
    parser.add_argument("--microphones", type=int, default=16, metavar="N", help="in the line (default: 16)")
    parser.add_argument(
        "--spacing-m", type=float, default=0.04, metavar="M", help="metres between them (default: 0.04)"
    )
    parser.add_argument(
        "--noise-db", type=float, default=20.0, metavar="DB", help="noise below the talker (default: 20)"
    )
    parser.add_argument("--frequency-hz", type=float, metavar="HZ", help="default: the loudest the line resolves well")
    parser.add_argument("--budget", type=int, default=150, metavar="T", help="looks (default: 150)")
    parser.add_argument("--refine", action="store_true", help="end between two beams, with the parametric estimator")
    parser.add_argument("--seed", type=int, default=0, help="noise and windows (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write listen.png there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: list[str]) -> int:
    """Run; exit status 0."""
    arguments = _parser().parse_args(argv)
    if arguments.out is not None:
        make_folder(arguments.out)
    line = Line(microphones=arguments.microphones, spacing_m=arguments.spacing_m)
    heard_NT = _heard(arguments, line)
    frequency_hz = arguments.frequency_hz or loudest_tone(heard_NT, line, EAR_RATE_HZ)
    found = find_talker(
        heard_NT,
        line,
        EAR_RATE_HZ,
        frequency_hz=frequency_hz,
        budget=arguments.budget,
        seed=arguments.seed,
        refine=arguments.refine,
    )
    grid_M, power_M = scan(heard_NT, line, EAR_RATE_HZ, frequency_hz=frequency_hz)
    told = {
        "degrees": _degrees(found),
        "everywhere_degrees": _degrees(float(grid_M[power_M.argmax()])),
        "true_degrees": arguments.degrees,
        "frequency_hz": frequency_hz,
        "looks": arguments.budget,
        "beams": grid_M.size,
    }
    if arguments.out is not None:
        draw_beams(
            grid_M, power_M, found, arguments.out / "listen.png", looks=arguments.budget, degrees=arguments.degrees
        )
    if arguments.json:
        print(json.dumps(told))
        return 0
    print(
        f"talker at {told['degrees']:.1f} degrees: {arguments.budget} looks at {frequency_hz:.0f} Hz over {grid_M.size} beams,"
    )
    print(f"each {_degrees(float(grid_M[1] - grid_M[0])):.1f} degrees wide straight ahead")
    print(f"looking everywhere in the louder half of the file: {told['everywhere_degrees']:.1f} degrees")
    if arguments.degrees is not None:
        print(f"the talker stands at {arguments.degrees:g} degrees")
    if arguments.out is not None:
        print(f"wrote {arguments.out / 'listen.png'}")
    return 0


def _heard(arguments: argparse.Namespace, line: Line) -> NDArray[np.float32]:
    if arguments.recorded:
        return np.stack([read_mono(arguments.file, channel=number) for number in range(line.microphones)])
    if not -90 <= arguments.degrees <= 90:
        raise InputError(f"--degrees is {arguments.degrees}; expected -90 to 90")
    direction = math.sin(math.radians(arguments.degrees))
    sound = read_mono(arguments.file)
    return arrive(sound, line, direction, EAR_RATE_HZ, noise_db=arguments.noise_db, seed=arguments.seed)


def _degrees(direction: float) -> float:
    return math.degrees(math.asin(max(-1.0, min(1.0, direction))))
