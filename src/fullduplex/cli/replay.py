"""`fullduplex replay`: a recording in, the machine's side of the conversation out."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from fullduplex.cli.arguments import add_logging, add_parts, parts_from, start_logging
from fullduplex.cli.places import make_folder
from fullduplex.dialogue.events import Ask, Cancel, Event
from fullduplex.dialogue.session import Session
from fullduplex.evaluate.room import RoomConfig
from fullduplex.recipes.parts import TUNED, open_ear, open_parts
from fullduplex.recipes.replay import FrameLog, Setup, read_log, replay_frames, replay_sound
from fullduplex.recipes.report import event_line, failures_line, write_conversation
from fullduplex.recipes.simulate import failures_of
from fullduplex.recipes.sound_files import read_mono
from fullduplex.recipes.talk import POLICIES, TalkConfig, make_echo, make_runner, make_session

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex replay",
        description="Play a recorded caller to the machine in simulated time. Writes the conversation as stereo WAV "
        "(caller left, machine right), a timeline PNG, an event log, and the frames, which replay to the bit.",
        epilog="fullduplex replay --frames OUT/frames.jsonl steps a recorded conversation again, as it was set up then, and "
        "prints its events. Logs of older versions do not say how: give --policy, --slice and --brain as they were.",
    )
    parser.add_argument("sound", nargs="?", type=Path, metavar="FILE", help="the caller: WAV, FLAC or OGG, any rate")
    parser.add_argument("--channel", type=int, metavar="N", help="channel of FILE, from 0 (default: mix all)")
    parser.add_argument("--frames", type=Path, metavar="LOG", help="replay a frame log instead; no model is run")
    parser.add_argument(
        "--out", type=Path, default=Path("replay"), metavar="DIR", help="where to write (default: replay)"
    )
    parser.add_argument("--policy", default="turns", choices=POLICIES, help="who speaks when (default: turns)")
    parser.add_argument(
        "--slice", type=float, default=1.0, metavar="S", help="slice length of the tdm policy, 0.32-2 s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    add_parts(parser)
    add_logging(parser)
    return parser


def main(argv: list[str]) -> int:
    """Replay a recording or a frame log; exit status 0 when no part failed."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    start_logging(arguments)
    if (arguments.sound is None) == (arguments.frames is None):
        parser.error("give either a sound file or --frames LOG")
    config = TalkConfig(policy=arguments.policy, slice_s=arguments.slice)
    if arguments.frames is not None:
        return _replay_log(arguments, config)
    pcm = read_mono(arguments.sound, channel=arguments.channel)
    make_folder(arguments.out)
    parts = open_parts(parts_from(arguments))

    def progress(now_s: float, _said: int) -> None:
        if sys.stderr.isatty() and round(now_s / 0.032) % 16 == 0:
            print(f"\r{now_s:6.1f} s of {pcm.size / 16_000:.1f} s ", end="", file=sys.stderr)

    with FrameLog(arguments.out / "frames.jsonl") as log:
        runner, echo = make_runner(parts, config, log=log), make_echo(enabled=False)
        log.describe(Setup.of(runner.session, parts.chosen["vad"]))
        conversation = replay_sound(pcm, runner, echo, room=RoomConfig(noise_db=-90), progress=progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    written = write_conversation(arguments.out, conversation, title=f"{arguments.sound.name}, {parts.chosen['brain']}")
    written["frames"] = str(arguments.out / "frames.jsonl")
    return _report(conversation.events, written, as_json=arguments.json)


def _replay_log(arguments: argparse.Namespace, config: TalkConfig) -> int:
    setup, frames = read_log(arguments.frames)
    replayed = replay_frames(frames, _session_by_hand(arguments, config) if setup is None else _session(setup))
    outside: list[tuple[float, Event]] = [
        (at_s, event) for at_s, event in replayed.events if not isinstance(event, (Ask, Cancel))
    ]
    return _report(outside, {}, as_json=arguments.json)


def _session(setup: Setup) -> Session:
    return Session(ear=open_ear(setup.ear), policy=setup.policy, config=setup.session)


def _session_by_hand(arguments: argparse.Namespace, config: TalkConfig) -> Session:
    """The session that the options describe, for a log that does not say which it was; its brain is not opened."""
    parts = open_parts(parts_from(argparse.Namespace(**{**vars(arguments), "brain": "scripted", "voice": "tones"})))
    named = replace(parts, chosen={**parts.chosen, "brain": arguments.brain})
    return make_session(named, replace(config, layout="pairs" if arguments.brain in TUNED else "merged"))


def _report(events: list[tuple[float, Event]], written: dict[str, str], *, as_json: bool) -> int:
    """Print what happened; the exit status."""
    lines = [event_line(*pair) for pair in events]
    failed = failures_of(events)
    if as_json:
        print(
            json.dumps({"events": [json.loads(line) for line in lines], **failed, "files": written}, ensure_ascii=False)
        )
    else:
        _print_events(lines)
        if failed["failures"]:
            print(failures_line(failed))
        if written:
            print("written: " + ", ".join(written.values()))
    return 1 if failed["failures"] else 0


def _print_events(lines: list[str]) -> None:
    shown = ("TurnChanged", "UserText", "ReplyDone", "Resumed", "Failure", "DeadlineMissed")
    for line in lines:
        event = json.loads(line)
        if event["event"] in shown and event.get("final", True):
            rest = {k: v for k, v in event.items() if k not in ("at_s", "event", "frame", "stable", "final")}
            print(f"{event['at_s']:8.2f}s  {event['event']:<12} {json.dumps(rest, ensure_ascii=False)}")
