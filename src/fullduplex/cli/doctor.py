"""`fullduplex doctor`: is everything there, and how fast will it be?"""

import argparse
import json
from dataclasses import asdict

from fullduplex.cli.arguments import add_logging, add_parts, parts_from, start_logging
from fullduplex.recipes.machine import health

__all__ = ["main"]

_MARKS = {True: "ok", False: "MISSING", None: "-"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex doctor",
        description="Say what is installed, what is missing and what speed to expect on this machine.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--no-speed", action="store_true", help="do not open the models")
    add_parts(parser)
    add_logging(parser)
    return parser


def main(argv: list[str]) -> int:
    """Exit status 0 when everything that a conversation needs is there."""
    arguments = _parser().parse_args(argv)
    start_logging(arguments)
    sections = {"machine": health.machine(), "packages": health.packages(), "assets": health.assets()}
    measured = None if arguments.no_speed else health.try_speed(parts_from(arguments, live=True))
    healthy = all(check.ok is not False for checks in sections.values() for check in checks)
    if arguments.json:
        report = {name: [asdict(check) for check in checks] for name, checks in sections.items()}
        speed = measured if isinstance(measured, str) or measured is None else {"ms": measured[0], "parts": measured[1]}
        print(json.dumps({**report, "speed": speed, "healthy": healthy}))
        return 0 if healthy else 1
    for title, checks in sections.items():
        print(f"{title}:")
        for check in checks:
            advice = f"   ({check.advice})" if check.ok is not True and check.advice else ""
            print(f"  {_MARKS[check.ok]:<8} {check.name:<30} {check.found}{advice}")
    if isinstance(measured, str):
        print(f"speed: cannot be measured: {measured}")
    elif measured is not None:
        print("speed: " + ", ".join(f"{stage} {name}" for stage, name in measured[1].items()))
        for name, value in measured[0].items():
            print(f"  {name:<28} {value:g}")
        print("  (reply_ms: from the first 64 ms of a pause to the first sound of the answer, added up)")
    print("ready to talk" if healthy else "not ready: see MISSING above")
    return 0 if healthy else 1
