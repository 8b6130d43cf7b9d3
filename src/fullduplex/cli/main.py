"""fullduplex: machines that listen while they speak.

One static table maps each command to the function that runs it; a command's module is imported when it is used.
"""

import sys
from importlib import import_module

from fullduplex import __version__
from fullduplex.base.errors import FullduplexError, MissingExtraError

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "talk": ("fullduplex.cli.serve:talk", "open the live page and talk with the machine"),
    "serve": ("fullduplex.cli.serve:serve", "run the real-time server (OpenAI Realtime protocol at /v1/realtime)"),
    "simulate": ("fullduplex.cli.simulate:main", "let a scripted caller talk to the machine and measure it"),
    "replay": ("fullduplex.cli.replay:main", "one WAV in; the machine's side, a timeline and an event log out"),
    "evaluate": (
        "fullduplex.cli.evaluate:main",
        "score recordings and systems: Full-Duplex-Bench, TurnBench, statistics",
    ),
    "data": ("fullduplex.cli.data:main", "duplex training data out of chats (Duplex-UltraChat), chats out of models"),
    "tune": ("fullduplex.cli.tune.command:main", "teach a chat model time slices; check it; write it for llama.cpp"),
    "ssm": (
        "fullduplex.cli.ssm.command:main",
        "state-space layers: train, inspect, bench; diagonalise a matrix; look into a memory",
    ),
    "forecast": (
        "fullduplex.cli.forecast.command:main",
        "the next values of the series in a file, with intervals and an honest backtest",
    ),
    "detect": ("fullduplex.cli.forecast.detect:main", "what is strange in a file of series, or in a live stream"),
    "classify": ("fullduplex.cli.forecast.classify:main", "which class a series belongs to"),
    "scaling": (
        "fullduplex.cli.scaling.command:main",
        "how errors fall with parameters, data and compute: fit laws to runs, plan with them, make runs",
    ),
    "link": (
        "fullduplex.cli.link.repeaters:main",
        "limits of quantum repeater chains and networks; beams with few pilots",
    ),
    "plan": ("fullduplex.cli.plan.command:main", "how many sessions a device can hold; processing in memory (Duplex)"),
    "assets": ("fullduplex.cli.assets:main", "list, get, verify and find models and data"),
    "doctor": ("fullduplex.cli.doctor:main", "say what is installed, what is missing and what speed to expect"),
}

# Libraries that whole commands stand on, and the extra that brings each.
_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "gguf": "tune",
    "pandas": "forecast",
    "matplotlib": "talk",
    "tqdm": "talk",
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_target, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fullduplex <command> [options]",
            "",
            "Machines that listen while they speak.",
            "",
            *lines,
            "",
            "fullduplex <command> --help says more. First steps: fullduplex doctor; fullduplex assets get; fullduplex talk",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for a mistake of the user, 1 for anything else that went wrong)."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"fullduplex {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"fullduplex: no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    module, _, function = COMMANDS[name][0].partition(":")
    try:
        return _run(module, function, rest)
    except FullduplexError as error:
        print(f"fullduplex {name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        print(f"fullduplex {name}: {error.filename2 or error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _run(module: str, function: str, rest: list[str]) -> int:
    try:
        return int(getattr(import_module(module), function)(rest))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError(str(error.name), extra) from error
