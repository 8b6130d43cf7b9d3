"""`fullduplex ssm`: state-space memories."""

import argparse
import json
from pathlib import Path

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.recipes.sound_files import read_mono
from fullduplex.ssm.hippo.families import KINDS, family
from fullduplex.ssm.hippo.inspection import draw_inspection, inspect_memory, loudest_end
from fullduplex.ssm.hippo.memory import Memory
from fullduplex.ssm.hippo.timescale import decay_s, remember_s

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fullduplex ssm", description="State-space memories.")
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    memory = jobs.add_parser(
        "memory",
        help="what a state still remembers of a recording, as a picture",
        description="A recording goes through a HiPPO memory sample by sample; then the past is read back out of its "
        "state and drawn beside the recording.",
    )
    memory.add_argument("sound", type=Path, metavar="FILE", help="WAV, FLAC or OGG, any rate")
    shown = [kind for kind, entry in KINDS.items() if entry.window or kind in ("legs", "lagt", "glagt")]
    memory.add_argument("--kind", default="legt", choices=shown, help="family (default: legt, a window)")
    memory.add_argument("--span", type=float, default=0.05, metavar="S", help="window, or time to fade (default: 0.05)")
    memory.add_argument("--order", type=int, default=128, metavar="N", help="numbers to keep (default: 128)")
    memory.add_argument("--at", type=float, metavar="S", help="when to ask (default: after the loudest SPAN)")
    memory.add_argument("--out", type=Path, default=Path("memory.png"), metavar="PNG", help="default: memory.png")
    memory.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: list[str]) -> int:
    """Run one job."""
    arguments = _parser().parse_args(argv)
    pcm = read_mono(arguments.sound)
    choose = remember_s if family(arguments.kind).window else decay_s
    timescale = choose(arguments.kind, arguments.span, EAR_RATE_HZ)
    end = loudest_end(pcm, timescale.span_samples) if arguments.at is None else round(arguments.at * EAR_RATE_HZ)
    memory = Memory(timescale, arguments.order)
    seen = inspect_memory(pcm, memory, rate_hz=EAR_RATE_HZ, end_samples=end)
    draw_inspection(arguments.out, seen, title=arguments.sound.name)
    figures = {
        "kind": seen.kind,
        "order": seen.order,
        "span_s": round(seen.span_samples / EAR_RATE_HZ, 6),
        "at_s": round(seen.end_samples / EAR_RATE_HZ, 6),
        "error": seen.error,
        "picture": str(arguments.out),
    }
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(
        f"{seen.kind}: {seen.order} numbers for {seen.span_samples:.0f} samples ({figures['span_s']} s), asked at "
        f"{figures['at_s']} s: error {seen.error:.3f} of the sound itself; written: {arguments.out}"
    )
    return 0
