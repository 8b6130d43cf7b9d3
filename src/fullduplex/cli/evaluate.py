"""`fullduplex evaluate`: score recordings and running systems with the published yardsticks of duplex dialogue."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from fullduplex.base.errors import InputError
from fullduplex.cli.arguments import add_logging, add_parts, parts_from, start_logging
from fullduplex.evaluate.fdb.folders import guess_task, item_folders, read_item
from fullduplex.evaluate.fdb.held import HeldOutcome
from fullduplex.evaluate.fdb.items import MODES, TASKS, FdbItem, Mode, Task
from fullduplex.evaluate.fdb.score import FdbScore, Judge, lexical_judge
from fullduplex.evaluate.generate.labels import labels_of
from fullduplex.evaluate.generate.overlaps import overlap_stimuli
from fullduplex.evaluate.generate.plan import DialogueConfig
from fullduplex.evaluate.generate.render import VOICES, make_dialogue
from fullduplex.evaluate.generate.stimuli import stimuli
from fullduplex.evaluate.lslm import read_trials, stop_score
from fullduplex.evaluate.room import RoomConfig
from fullduplex.evaluate.timing.files import write_recording
from fullduplex.evaluate.turnbench.score import TaskScore
from fullduplex.evaluate.turnbench.submission import read_gold, read_predictions, read_probabilities, score_submission
from fullduplex.evaluate.turnbench.sweep import operating_point, sweep
from fullduplex.evaluate.wavchat.taxonomy import load
from fullduplex.recipes.parts import open_brain, open_parts
from fullduplex.recipes.talk import POLICIES, TalkConfig
from fullduplex.recipes.yardstick.collect import System, collect, collect_overlaps, simulated_system, write_tracks
from fullduplex.recipes.yardstick.endpoint import EndpointConfig, endpoint_system
from fullduplex.recipes.yardstick.hear import Hearer, item_sound, open_hearer
from fullduplex.recipes.yardstick.judge import brain_judge
from fullduplex.recipes.yardstick.report import (
    draw_fdb,
    draw_statistics,
    fdb_report,
    held_report,
    overlap_report,
    plain,
    statistics_report,
)
from fullduplex.recipes.yardstick.sources import read_recordings

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex evaluate",
        description="The yardsticks of duplex dialogue: Full-Duplex-Bench v1 (as printed and as released) and v1.5 timing, "
        "FD-Bench, TurnBench, LSLM, conversation statistics, and the taxonomy of WavChat. See docs/evaluate.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_scorers(commands)
    system = commands.add_parser(
        "system",
        help="play test items to a system and score what it does",
        description="Plays items made from the committed clips to our own machine (a policy, on a simulated clock) or to "
        "any endpoint of the OpenAI Realtime protocol (ws://…, in real time), and scores it. Breaking off and starting "
        "again goes on where it stopped.",
    )
    system.add_argument("system", metavar="SYSTEM", help=f"{', '.join(POLICIES)}, or a ws:// or wss:// URL")
    system.add_argument("--out", type=Path, required=True, metavar="DIR", help="one folder an item; kept and reused")
    system.add_argument(
        "--suite",
        choices=("v1", "v1.5"),
        default="v1",
        help="v1: four tasks (default); v1.5: interruptions, back-channels, side talk and noise over an answer",
    )
    system.add_argument("--tasks", default=",".join(TASKS), metavar="T,T", help=f"default: {','.join(TASKS)}")
    system.add_argument("--count", type=int, default=4, metavar="N", help="items of each task (default: 4)")
    system.add_argument("--seed", type=int, default=0, help="which items (default: 0)")
    system.add_argument("--slice", type=float, default=1.0, metavar="S", help="slice of the tdm policy, 0.32-2 s")
    system.add_argument("--model", default="", metavar="NAME", help="model to ask the endpoint for")
    system.add_argument("--api-key", default="", metavar="KEY", help="key of the endpoint")
    system.add_argument(
        "--echo", type=float, default=0.0, metavar="GAIN", help="loudspeaker into microphone (simulated)"
    )
    system.add_argument("--noise-db", type=float, default=-70.0, metavar="DB", help="steady noise (simulated)")
    _add_scoring(system)
    add_parts(system)
    add_logging(system)
    return parser


def _add_scorers(commands: Any) -> None:
    taxonomy = commands.add_parser("taxonomy", help="WavChat: axes, metrics with directions, what systems can do")
    taxonomy.add_argument("--show", choices=("matrix", "axes", "metrics"), default="matrix", help="default: matrix")
    taxonomy.add_argument("--system", metavar="ID", help="everything about one system")
    taxonomy.add_argument("--json", action="store_true", help="print one JSON object")
    fdb = commands.add_parser(
        "fdb",
        help="Full-Duplex-Bench v1 over a folder of items",
        description="One folder an item: output.json with the system's words (or recording.json, or sound), and the "
        "task's annotation as the benchmark lays it out. Missing timestamps are made with the default detector and "
        "recogniser.",
    )
    fdb.add_argument("folder", type=Path, metavar="DIR")
    fdb.add_argument("--task", choices=TASKS, help="default: by the annotation in each item's folder")
    _add_scoring(fdb)
    add_parts(fdb)
    turnbench = commands.add_parser(
        "turnbench",
        help="TurnBench: committed times, or probabilities swept over all thresholds",
        description="DIR holds gold.json and predictions.json, or probs-eot.json, probs-int.json, or both.",
    )
    turnbench.add_argument("folder", type=Path, metavar="DIR")
    turnbench.add_argument("--fp-budget", type=float, default=0.1, metavar="P", help="of the sweep (default: 0.1)")
    turnbench.add_argument("--json", action="store_true", help="print one JSON object")
    lslm = commands.add_parser(
        "lslm",
        help="stopping in time: precision, recall, F1",
        description='FILE is JSON: [{"onset_s": 2.0, "stop_s": 2.4}, …], null for no interruption and for no stop. A hit '
        "stops within 1 s of the onset.",
    )
    lslm.add_argument("file", type=Path, metavar="FILE")
    lslm.add_argument("--json", action="store_true", help="print one JSON object")
    stats = commands.add_parser(
        "stats",
        help="pauses, gaps, overlaps, floor-transfer offsets; v1.5 timing; FD-Bench",
        description="DIR (or one file): timestamps .json, diarisation .rttm, stereo sound (user left), or "
        "NAME.user.wav with NAME.system.wav.",
    )
    stats.add_argument("folder", type=Path, metavar="DIR")
    stats.add_argument("--out", type=Path, metavar="DIR", help="write gaps.png and timelines there")
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    generate = commands.add_parser(
        "generate",
        help="two-party dialogues of two voices with exact labels",
        description="Writes NAME.wav (user left, system right), NAME.json (spans) and NAME.labels.jsonl for each.",
    )
    generate.add_argument("folder", type=Path, metavar="DIR")
    generate.add_argument("--count", type=int, default=4, metavar="N", help="default: 4")
    generate.add_argument("--turns", type=int, default=12, metavar="N", help="turns of each (default: 12)")
    generate.add_argument("--voices", default="bella,george", metavar="A,B", help=f"two of {', '.join(VOICES)}")
    generate.add_argument("--echo", type=float, default=0.0, metavar="GAIN", help="system into the user's microphone")
    generate.add_argument("--noise-db", type=float, metavar="DB", help="steady noise, dBFS (default: none)")
    generate.add_argument("--seed", type=int, default=0, help="default: 0")


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", choices=(*MODES, "both"), default="both", help="as printed, as released (default: both)"
    )
    parser.add_argument(
        "--judge",
        choices=("lexical", "brain", "none"),
        default="lexical",
        help="who rates answers to interruptions: shared words (default), the --brain, or nobody",
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw a radar")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(argv: list[str]) -> int:
    """Run one of the subcommands; exit status 0."""
    arguments = _parser().parse_args(argv)
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "taxonomy": _taxonomy,
        "fdb": _fdb,
        "turnbench": _turnbench,
        "lslm": _lslm,
        "stats": _stats,
        "generate": _generate,
        "system": _system,
    }
    return run[arguments.command](arguments)


def _progress(done: int, total: int, name: str) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done}/{total} {name:<40}", end=end, file=sys.stderr, flush=True)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}".rstrip("0").rstrip(".")


def _taxonomy(arguments: argparse.Namespace) -> int:
    taxonomy = load()
    if arguments.system:
        found = taxonomy.system(arguments.system)
        fields = {name: getattr(found, name) for name in found.__slots__} | {"paradigm": found.paradigm}
        print(
            json.dumps(fields, ensure_ascii=False)
            if arguments.json
            else "\n".join(f"{k}: {v}" for k, v in fields.items())
        )
        return 0
    if arguments.show == "matrix":
        header, rows = taxonomy.matrix()
    elif arguments.show == "metrics":
        header = ("metric", "of", "better", "unit", "measured here by", "note")
        rows = [(m.id, m.capability, m.direction, m.unit, m.here or "-", m.note) for m in taxonomy.metrics]
    else:
        header = ("axis", "value", "meaning", "section")
        rows = [(a.id, value, meaning, a.section) for a in taxonomy.axes for value, meaning in a.values.items()]
    if arguments.json:
        print(json.dumps([dict(zip(header, row, strict=True)) for row in rows], ensure_ascii=False))
    else:
        _table(header, rows)
    return 0


def _judge(arguments: argparse.Namespace) -> Judge | None:
    if arguments.judge == "brain":
        return brain_judge(open_brain(parts_from(arguments)))
    return lexical_judge if arguments.judge == "lexical" else None


def _report_fdb(items: list[FdbItem], arguments: argparse.Namespace, name: str) -> int:
    modes: tuple[Mode, ...] = MODES if arguments.mode == "both" else (cast("Mode", arguments.mode),)
    scores = fdb_report(items, _judge(arguments), modes)
    if arguments.png is not None:
        systems = {f"{name} ({mode})": found for mode, found in scores.items()}
        draw_fdb(arguments.png, systems, title="Full-Duplex-Bench v1, items of our own")
    overlap = overlap_report(items)
    if arguments.json:
        figures = {mode: {task: score.figures() for task, score in found.items()} for mode, found in scores.items()}
        print(json.dumps({"system": name, "fdb": plain(figures), "fdb_v1.5": plain(overlap)}))
        return 0
    rows = [_fdb_row(mode, task, score) for mode, found in scores.items() for task, score in found.items()]
    header = (
        "mode",
        "task",
        "items",
        "takeover",
        "latency s",
        "(clipped)",
        "rating",
        "back-channels/s",
        "JSD",
        "(items)",
    )
    _table(header, rows)
    print("better: takeover low for pause_handling and backchannel, high for the others; latency, JSD low; rating high")
    if overlap["num_items"]:
        kinds = ", ".join(f"{name.removeprefix('num_')} {overlap[name]:.0f}" for name in list(overlap)[5:])
        print(
            f"v1.5: silent {_number(overlap['stop_s_mean'])} s after the onset of {overlap['num_stops']:.0f} interruptions, "
            f"answers {_number(overlap['response_s_mean'])} s after their ends; by words: {kinds}"
        )
    if arguments.png is not None:
        print(f"written: {arguments.png}")
    return 0


def _fdb_row(mode: str, task: str, score: FdbScore) -> tuple[str, ...]:
    jsd = str(score.num_divergences) if task == "backchannel" else ""
    values = (score.latency_s, score.latency_clipped_s, score.rating, score.frequency_hz, score.divergence)
    return (mode, task, str(score.num_items), _number(score.takeover_rate), *map(_number, values), jsd)


def _fdb(arguments: argparse.Namespace) -> int:
    folders = item_folders(arguments.folder)
    opened: list[Hearer] = []

    def hear(folder: Path) -> Any:
        if not opened:
            opened.append(open_hearer())
        return item_sound(opened[0])(folder)

    items: list[FdbItem] = []
    for number, folder in enumerate(folders):
        _progress(number, len(folders), folder.name)
        items.append(read_item(folder, arguments.task or guess_task(folder), hear))
    _progress(len(folders), len(folders), "")
    return _report_fdb(items, arguments, arguments.folder.name)


def _system(arguments: argparse.Namespace) -> int:
    start_logging(arguments)
    tasks = arguments.tasks.split(",")
    if unknown := set(tasks) - set(TASKS):
        raise InputError(f"no task {min(unknown)!r}; there are: {', '.join(TASKS)}")
    if arguments.suite == "v1.5":
        system, hearer = _open_system(arguments)
        sounds = overlap_stimuli(arguments.count, seed=arguments.seed)
        return _report_held(collect_overlaps(sounds, system, hearer, arguments.out, progress=_progress), arguments)
    played = [item for task in tasks for item in stimuli(cast("Task", task), arguments.count, seed=arguments.seed)]
    system, hearer = _open_system(arguments)
    items = collect(played, system, hearer, arguments.out, progress=_progress)
    return _report_fdb(items, arguments, arguments.system)


def _report_held(outcomes: list[HeldOutcome], arguments: argparse.Namespace) -> int:
    report = held_report(outcomes)
    if arguments.json:
        print(json.dumps({"system": arguments.system, **plain(report)}))
        return 0
    scores, lslm = report["v1.5"], report["lslm"]
    names = list(next(iter(scores.values())))
    _table(("over the answer", *names), [(k, *(_number(row[n]) for n in names)) for k, row in scores.items()])
    print("stopping in time (LSLM): " + ", ".join(f"{name} {_number(value)}" for name, value in lslm.items()))
    print("better: stopped_rate high for interruption, low for all else; items count if the answer would have gone on")
    return 0


def _open_system(arguments: argparse.Namespace) -> tuple[System, Hearer]:
    name: str = arguments.system
    if name in POLICIES:
        room = RoomConfig(echo_gain=arguments.echo, noise_db=arguments.noise_db, seed=arguments.seed)
        config = TalkConfig(policy=name, slice_s=arguments.slice)
        parts = open_parts(parts_from(arguments))
        return simulated_system(parts, config, room=room), Hearer(ear=parts.ear, recogniser=parts.recogniser)
    config = EndpointConfig(url=name, model=arguments.model, api_key=arguments.api_key)
    return endpoint_system(config, note=lambda text: print(text, file=sys.stderr)), open_hearer()


def _turnbench(arguments: argparse.Namespace) -> int:
    gold = read_gold(arguments.folder / "gold.json")
    found: dict[str, dict[str, float]] = {}
    if (arguments.folder / "predictions.json").is_file():
        predictions = read_predictions(arguments.folder / "predictions.json", gold)
        eot, interruption = score_submission(gold, predictions)
        found |= {"eot": eot.figures(), "int": interruption.figures()}
    for file in sorted(arguments.folder.glob("probs-*.json")):
        task, items = read_probabilities(file, gold)
        point = operating_point(sweep(items), fp_budget=arguments.fp_budget)
        score = point.score if point else TaskScore()
        found[f"{task} (swept)"] = {"threshold": point.threshold if point else float("nan"), **score.figures()}
    if not found:
        raise InputError(f"{arguments.folder} has neither predictions.json nor probs-eot.json nor probs-int.json")
    if arguments.json:
        print(json.dumps({"num_conversations": len(gold), **plain(found)}))
        return 0
    latencies = tuple(f"latency_s_p{p}" for p in (10, 50, 90))
    names = ("threshold", "recall", "fp_rate", *latencies, "tp", "fn", "fp", "tn")
    rows = [(task, *(_number(score.get(name, float("nan"))) for name in names)) for task, score in found.items()]
    _table(("task", *names), rows)
    return 0


def _lslm(arguments: argparse.Namespace) -> int:
    score = stop_score(read_trials(arguments.file))
    names = ("precision", "recall", "f1", "tp", "fn", "fp", "tn", "num_early", "num_late")
    figures = {name: float(getattr(score, name)) for name in names}
    if arguments.json:
        print(json.dumps(plain(figures)))
        return 0
    _table(tuple(figures), [tuple(map(_number, figures.values()))])
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    recordings = read_recordings(arguments.folder, lambda: open_hearer(words=False), progress=_progress)
    report = statistics_report(recordings)
    written = draw_statistics(arguments.out, recordings) if arguments.out is not None else []
    if arguments.json:
        print(json.dumps(plain(report) | {"files": [str(file) for file in written]}))
        return 0
    print(f"{report['num_recordings']} recordings")
    for section in ("statistics", "overlap", "fdbench"):
        print(f"\n{section}")
        for name, value in report[section].items():
            print(f"  {name:<28} {_number(value)}")
    if written:
        print("\nwritten: " + ", ".join(str(file) for file in written))
    return 0


def _generate(arguments: argparse.Namespace) -> int:
    voices = tuple(arguments.voices.split(","))
    if len(voices) != 2:
        raise InputError(f"--voices is {arguments.voices!r}; expected two names with a comma between")
    room = None
    if arguments.echo or arguments.noise_db is not None:
        noise_db = -120.0 if arguments.noise_db is None else arguments.noise_db
        room = RoomConfig(echo_gain=arguments.echo, noise_db=noise_db, seed=arguments.seed)
    config = DialogueConfig(num_turns=arguments.turns)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.count):
        name = f"dialogue-{arguments.seed + number:03d}"
        made = make_dialogue(
            name, voices=(voices[0], voices[1]), config=config, room=room, seed=arguments.seed + number
        )
        write_tracks(arguments.folder / f"{name}.wav", made.user_N, made.system_N)
        write_recording(arguments.folder / f"{name}.json", made.truth)
        lines = [json.dumps(said, ensure_ascii=False) for said in labels_of(made.plan)["said"]]
        (arguments.folder / f"{name}.labels.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _progress(number + 1, arguments.count, name)
    print(f"{arguments.count} dialogues written to {arguments.folder}; score them with: fullduplex evaluate stats")
    return 0
