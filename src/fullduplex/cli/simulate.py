"""`fullduplex simulate`: a scripted caller talks to the machine."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fullduplex.base.errors import InputError
from fullduplex.cli.arguments import add_logging, add_parts, parts_from, start_logging
from fullduplex.cli.places import make_folder
from fullduplex.evaluate.measures import ActOutcome
from fullduplex.evaluate.room import RoomConfig
from fullduplex.evaluate.scenarios import SCENARIOS, scenario
from fullduplex.recipes.parts import open_parts
from fullduplex.recipes.report import failures_line, write_conversation
from fullduplex.recipes.simulate import Conversation, Pace, simulate
from fullduplex.recipes.talk import ECHOES, POLICIES, TalkConfig, make_echo, make_pool, make_runner

__all__ = ["main", "print_table"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex simulate",
        description="A scripted caller made of fixed clips asks, pauses, hums along, coughs, interrupts and changes its "
        "mind; the machine's real models answer. Prints what happened and writes sound, timeline and event log.",
        epilog="Simulated time charges every model with the time it really took, without waiting in between; "
        "--real-time runs threads against the wall clock, as the server does.",
    )
    parser.add_argument("--scenario", default="demo", choices=sorted(SCENARIOS), help="which script (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="moments and pauses of the script (default: 0)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N lines of the script")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write (default: demo)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--real-time", action="store_true", help="against the wall clock")
    parser.add_argument("--policy", default="turns", choices=POLICIES, help="who speaks when (default: turns)")
    parser.add_argument(
        "--slice", type=float, default=1.0, metavar="S", help="slice length of the tdm policy, 0.32-2 s"
    )
    room = parser.add_argument_group("room")
    room.add_argument("--echo", type=float, default=0.0, metavar="GAIN", help="loudspeaker into microphone, 0 to 1")
    room.add_argument("--noise-db", type=float, default=-70.0, metavar="DB", help="steady noise, dBFS (default: -70)")
    room.add_argument(
        "--television-db",
        type=float,
        metavar="DB",
        help="people talking without end, dBFS (the caller: -21; default: off)",
    )
    room.add_argument("--aec", default="own", choices=ECHOES, help="what removes the echo (default: own)")
    add_parts(parser)
    add_logging(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run a scenario; exit status 0 when every turn was answered and no part failed."""
    arguments = _parser().parse_args(argv)
    start_logging(arguments)
    room = RoomConfig(
        echo_gain=arguments.echo,
        noise_db=arguments.noise_db,
        television_db=arguments.television_db,
        seed=arguments.seed,
    )
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit is {arguments.limit}; expected 1 line or more")
    acts = scenario(arguments.scenario, seed=arguments.seed)[: arguments.limit]
    config = TalkConfig(policy=arguments.policy, slice_s=arguments.slice)
    make_folder(arguments.out)
    parts = open_parts(parts_from(arguments, live=arguments.real_time))
    pool = make_pool(parts) if arguments.real_time else None
    runner = make_runner(parts, config, pool=pool)
    total = len(acts)

    def progress(now_s: float, said: int) -> None:
        if sys.stderr.isatty() and round(now_s / 0.032) % 16 == 0:
            print(f"\r{now_s:6.1f} s of conversation, {said} of {total} lines said ", end="", file=sys.stderr)

    echo = make_echo(enabled=room.echo_gain > 0, kind=arguments.aec)
    conversation = simulate(acts, runner, echo, room=room, pace=Pace(real=arguments.real_time), progress=progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if pool is not None:
        pool.close()
    written = write_conversation(arguments.out, conversation, title=_title(arguments, parts.chosen))
    if arguments.json:
        print(json.dumps(_as_json(conversation, parts.chosen, written), ensure_ascii=False))
    else:
        print_table(conversation, parts.chosen, written)
    figures = conversation.figures
    return 0 if figures["answered"] == figures["turns"] and not figures["failures"] else 1


def _title(arguments: argparse.Namespace, chosen: dict[str, str]) -> str:
    return f"scenario {arguments.scenario}, brain {chosen['brain']}, voice {chosen['voice']}"


def _as_json(conversation: Conversation, chosen: dict[str, str], written: dict[str, str]) -> dict[str, Any]:
    acts = [
        {
            "role": outcome.role,
            "text": outcome.text,
            "reply_gap_s": outcome.reply_gap_s,
            "stop_s": outcome.stop_s,
            "pause_s": outcome.pause_s,
            "cut_in": outcome.cut_in,
            "kept_floor": outcome.kept_floor,
            "repeated_words": outcome.repeated_words,
            "missing_words": outcome.missing_words,
        }
        for outcome in conversation.outcomes
    ]
    return {"parts": chosen, **conversation.figures, "acts": acts, "files": written}


def print_table(conversation: Conversation, chosen: dict[str, str], written: dict[str, str]) -> None:
    """The outcome for people."""
    print("parts: " + ", ".join(f"{stage} {name}" for stage, name in chosen.items()))
    print(f"{'at':>7}  {'caller':<13} {'said':<58} {'reply gap':>10} {'stop':>8}  note")
    for outcome in conversation.outcomes:
        print(_row(outcome))
    figures = conversation.figures
    print(
        f"\nreply gap: median {_seconds(figures['reply_gap_s_median'])}, p95 {_seconds(figures['reply_gap_s_p95'])}"
        f" over {figures['turns']} turns ({figures['answered']} answered); cut-ins: {figures['cut_ins']}\n"
        f"longest silence inside an answer: median {_seconds(figures['pause_s_median'])}, "
        f"p95 {_seconds(figures['pause_s_p95'])}\n"
        f"stop after an interruption: median {_seconds(figures['stop_s_median'])}, "
        f"p95 {_seconds(figures['stop_s_p95'])}; false stops: {figures['false_stops']} of "
        f"{figures['harmless_sounds']} harmless sounds\n"
        f"words repeated: {figures['repeated_words']}, words missing: {figures['missing_words']}, stale sound: "
        f"{figures['stale_s']} s; step of the core, p99: {figures['step_ms_p99']} ms of each 32 ms"
    )
    if figures["failures"]:
        print(failures_line(figures))
    print("written: " + ", ".join(written.values()))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _row(outcome: ActOutcome) -> str:
    notes = {True: "went on speaking", False: "stopped (wrongly)", None: "cut in (too early)" if outcome.cut_in else ""}
    note = notes[outcome.kept_floor]
    text = outcome.text if len(outcome.text) <= 57 else outcome.text[:56] + "…"
    return (
        f"{outcome.start_s:6.1f}s  {outcome.role:<13} {text:<58} {_seconds(outcome.reply_gap_s):>10} "
        f"{_seconds(outcome.stop_s):>8}  {note}"
    )
