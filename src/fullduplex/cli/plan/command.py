"""`fullduplex plan`: sessions a device can hold before the frame deadline breaks, and the Duplex paper's comparison."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from fullduplex.cli.places import writable
from fullduplex.cli.plan.calibrate import add_calibrate, run_calibrate
from fullduplex.cli.plan.figure import add_figure, run_figure
from fullduplex.cli.plan.inputs import counted, numbers, seconds
from fullduplex.cli.plan.layouts import LAYOUTS, find_layout, find_system
from fullduplex.cli.plan.replay import add_replay, run_replay
from fullduplex.cli.plan.simulation import add_traffic, run_simulation
from fullduplex.hardware.device import System
from fullduplex.hardware.presets import Presets, load_presets
from fullduplex.hardware.reproduce.pictures import draw_capacity
from fullduplex.hardware.serving.sessions import Capacity, DuplexLoad, Place, capacity, frame_times
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.sweep import run_points

__all__ = ["main"]

_EXAMPLES = """examples:
  fullduplex plan serve --model llama3-8b --device gpu --sessions 100 --deadline 80ms
  fullduplex plan sweep --model llama3-8b,mamba2-2.7b --device gpu,duplex --png capacity.png
  fullduplex plan stage --model mixtral --device duplex --devices 4 --batch 64 --prompts 1
  fullduplex plan simulate --model mixtral --device duplex-split --devices 4 --rate 8 --prompt 2048
  fullduplex plan figure table --sensitivity
fullduplex plan COMMAND --help says more."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex plan",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="How many full-duplex sessions fit on a device: a roofline of every layer, after the Duplex paper\n"
        "(arXiv:2409.01141). A session takes a token in every frame of its life, silence included; all share the deadline.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="do this many sessions fit, and how many would?")
    serve.add_argument("--sessions", type=counted(1), metavar="N", help="also: the frame times with this many")
    sweep = commands.add_parser("sweep", help="capacity over the length of a conversation, models x devices")
    sweep.add_argument("--minutes", type=numbers, default=(1, 3, 10, 30, 60), metavar="M,M,…", help="1,3,10,30,60")
    sweep.add_argument("--png", type=Path, metavar="FILE", help="draw the curves")
    sweep.add_argument("--ray", metavar="ADDRESS", help="run the points on Ray: local, auto or HOST:PORT")
    stage = commands.add_parser("stage", help="where the time of one stage goes")
    stage.add_argument(
        "--batch", type=counted(0), default=64, metavar="N", help="requests that take a token (default: 64)"
    )
    stage.add_argument(
        "--context", type=counted(0), default=1024, metavar="T", help="tokens behind each (default: 1024)"
    )
    stage.add_argument(
        "--prompts", type=counted(0), default=0, metavar="N", help="requests that bring a prompt (default: 0)"
    )
    stage.add_argument(
        "--prompt", type=counted(1), default=1024, metavar="T", help="tokens of a prompt (default: 1024)"
    )
    simulate = commands.add_parser("simulate", help="requests that come and go: waits and tails of a serving system")
    add_traffic(simulate)
    again = commands.add_parser("replay", help="a real vLLM run: calibrate on its first part, predict the rest")
    add_replay(again)
    machine = commands.add_parser("calibrate", help="this machine as a device; a real model's calls on it, predicted")
    add_calibrate(machine)
    for command in (serve, sweep):
        _add_load(command)
    for command in (serve, sweep, stage, simulate):
        _add_system(command)
    figure = commands.add_parser("figure", help="what the paper prints beside ours: all of it, Figure 8, Figure 11")
    add_figure(figure)
    listing = commands.add_parser("list", help="devices and models there are")
    for command in (again, machine, figure, listing):
        command.add_argument("--presets", type=Path, metavar="TOML", help="more devices and models")
    for command in (serve, sweep, stage, simulate, again, machine, figure, listing):
        command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def _add_system(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("system")
    group.add_argument("--model", default="llama3-8b", metavar="NAME", help="see `plan list` (default: llama3-8b)")
    group.add_argument("--device", default="gpu", metavar="NAME", help="or a layout, see `plan list` (default: gpu)")
    group.add_argument("--devices", type=counted(1), default=1, metavar="N", help="that serve it together (default: 1)")
    group.add_argument("--efficiency", type=float, default=0.75, metavar="E", help="DRAM bandwidth reached, 0 to 1")
    group.add_argument("--hop-us", type=float, default=5.0, metavar="US", help="latency of a link hop (default: 5)")
    group.add_argument(
        "--all-reduce", type=Path, metavar="CSV", help="measured times in a node (Vidur's format) instead of a ring"
    )
    group.add_argument("--co-processing", choices=("none", "experts", "spaces"), default="none", help="default: none")
    group.add_argument("--expert-tensor", action="store_true", help="slice every expert over the devices of a node")
    group.add_argument("--presets", type=Path, metavar="TOML", help="more devices and models")


def _add_load(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("load")
    group.add_argument("--frame", type=seconds, default=0.08, metavar="T", help="a step is due in each (default: 80ms)")
    group.add_argument("--deadline", type=seconds, default=0.08, metavar="T", help="of a frame's work (default: 80ms)")
    group.add_argument(
        "--steps", type=counted(1), default=1, metavar="N", help="tokens one after another a frame (default: 1)"
    )
    group.add_argument(
        "--interruptions", type=float, default=2.0, metavar="R", help="a minute and session (default: 2)"
    )
    group.add_argument(
        "--burst", type=counted(0), default=64, metavar="T", help="tokens an interruption brings (default: 64)"
    )
    group.add_argument("--miss-rate", type=float, default=0.01, metavar="P", help="frames allowed late (default: 0.01)")
    group.add_argument("--age", type=seconds, default=300.0, metavar="T", help="of the conversations (default: 5min)")


def main(argv: list[str]) -> int:
    """Run one of the subcommands; exit status 0, or 1 when the asked sessions do not fit."""
    arguments = _parser().parse_args(argv)
    presets = load_presets(arguments.presets)
    run = {
        "serve": _serve,
        "sweep": _sweep,
        "stage": _stage,
        "simulate": _simulate,
        "replay": run_replay,
        "calibrate": run_calibrate,
        "figure": run_figure,
        "list": _list,
    }
    return run[arguments.command](arguments, presets)


def _load(arguments: argparse.Namespace, conversation_s: float) -> DuplexLoad:
    return DuplexLoad(
        frame_s=arguments.frame,
        deadline_s=arguments.deadline,
        steps_per_frame=arguments.steps,
        conversation_s=conversation_s,
        interruptions_per_min=arguments.interruptions,
        burst_tokens=arguments.burst,
        miss_rate=arguments.miss_rate,
    )


def _serve(arguments: argparse.Namespace, presets: Presets) -> int:
    model, system = presets.find_model(arguments.model), find_system(arguments, presets, arguments.device)
    load = _load(arguments, arguments.age)
    room = capacity(model, system, load)
    asked = None if arguments.sessions is None else frame_times(model, system, load, arguments.sessions)
    fits = asked is None or (asked.sessions <= room.memory_sessions and asked.miss_rate <= load.miss_rate)
    if arguments.json:
        found = {"capacity": dataclasses.asdict(room), "asked": asked and dataclasses.asdict(asked), "fits": fits}
        print(json.dumps({"model": arguments.model, "device": arguments.device, **found}))
        return 0 if fits else 1
    print(
        f"{arguments.model} on {arguments.devices} x {arguments.device}: {model.weight_bytes() / 1e9:.1f} GB of weights, "
        f"{model.session_bytes(load.context_tokens) / 1e6:.1f} MB a session after {load.context_tokens:.0f} tokens"
    )
    print(
        f"capacity: {room.sessions} sessions, limited by {room.limited_by}; memory alone would hold {room.memory_sessions}"
    )
    print(f"{'sessions':>9} {'p50 ms':>8} {'p99 ms':>8} {'late':>9} {'J/session/s':>12}")
    for times in (room.times, asked):
        if times is not None:
            print(
                f"{times.sessions:>9} {times.p50_s * 1e3:>8.2f} {times.p99_s * 1e3:>8.2f} {times.miss_rate:>9.2%} "
                f"{times.joules_per_session_s:>12.3g}"
            )
    if asked is not None:
        print(f"{asked.sessions} sessions {'fit' if fits else 'do not fit'}: deadline {load.deadline_s * 1e3:g} ms")
    return 0 if fits else 1


def _sweep(arguments: argparse.Namespace, presets: Presets) -> int:
    from tqdm import tqdm

    png = None if arguments.png is None else writable(arguments.png, "--png")
    pairs = [(model, device) for model in arguments.model.split(",") for device in arguments.device.split(",")]
    loads = [_load(arguments, 60 * minutes) for minutes in arguments.minutes]
    points = [
        Place(model=presets.find_model(model), system=find_system(arguments, presets, device), load=load)
        for model, device in pairs
        for load in loads
    ]
    with tqdm(total=len(points), desc="points", file=sys.stderr, disable=None, leave=False) as bar:
        found = run_points(Place.room, points, ray=arguments.ray, progress=bar.update)
    curves: dict[str, list[Capacity | None]] = {
        f"{model} on {device}": found[index * len(loads) : (index + 1) * len(loads)]
        for index, (model, device) in enumerate(pairs)
    }
    counts = {name: [0 if row is None else row.sessions for row in rows] for name, rows in curves.items()}
    if png is not None:
        draw_capacity(arguments.minutes, counts, png)
    if arguments.json:
        limits = {name: ["memory" if row is None else row.limited_by for row in rows] for name, rows in curves.items()}
        print(json.dumps({"minutes": arguments.minutes, "sessions": counts, "limited_by": limits}))
        return 0
    width = max(map(len, curves))
    print(f"{'sessions after':<{width}} " + " ".join(f"{minutes:>8g} min" for minutes in arguments.minutes))
    for name, rows in curves.items():
        cells = [f"{row.sessions:>10} {row.limited_by[0]}" if row else f"{0:>10} m" for row in rows]
        print(f"{name:<{width}} " + " ".join(cells))
    print("limited by: m memory, d deadline" + (f"; drawn to {png}" if png else ""))
    return 0


def _stage(arguments: argparse.Namespace, presets: Presets) -> int:
    model, layout = presets.find_model(arguments.model), find_layout(arguments, presets, arguments.device)
    whole = Stage.of_lengths(arguments.batch, arguments.context, arguments.prompts, arguments.prompt)
    costs = {"stage": stage_cost(model, layout, whole)} if isinstance(layout, System) else {
        "prompts": stage_cost(model, layout.prompts, Stage.of_lengths(0, 0, arguments.prompts, arguments.prompt)),
        "answers": stage_cost(model, layout.answers, Stage.of_lengths(arguments.batch, arguments.context)),
    }  # fmt: skip
    if arguments.json:
        found = {
            name: {"seconds": cost.seconds, "parts_s": dict(cost.parts_s), "energy_j": cost.energy_j,
                   "parts_j": dict(cost.parts_j)}
            for name, cost in costs.items()
        }  # fmt: skip
        print(json.dumps(found["stage"] if len(found) == 1 else found))
        return 0
    for name, cost in costs.items():
        for part, part_s in cost.parts_s.items():
            share, joules = part_s / max(cost.seconds, 1e-30), cost.parts_j[part]
            if part_s:
                print(f"{part:<13} {part_s * 1e3:>10.4f} ms {share:>7.1%} {joules:>10.4g} J")
        print(f"{name:<13} {cost.seconds * 1e3:>10.4f} ms, {cost.energy_j:.4g} J of DRAM reads and arithmetic")
    return 0


def _simulate(arguments: argparse.Namespace, presets: Presets) -> int:
    return run_simulation(
        arguments, presets.find_model(arguments.model), find_layout(arguments, presets, arguments.device)
    )


def _list(arguments: argparse.Namespace, presets: Presets) -> int:
    devices = {
        name: {"flops_per_s": item.flops_per_s, "bytes_per_s": item.bytes_per_s, "source": item.source}
        for name, item in presets.device.items()
    }
    models = {
        name: {
            "parameters": item.num_parameters,
            "kv_bytes_per_token": item.kv_bytes_per_token,
            "state_bytes": item.state_bytes,
            "source": item.source,
        }
        for name, item in presets.model.items()
    }
    if arguments.json:
        print(json.dumps({"device": devices, "layout": LAYOUTS, "model": models}))
        return 0
    for name, item in presets.device.items():
        units = f"memory x{item.pim_bandwidth_ratio:g}, {item.pim_ops_per_byte:g} Op/B" if item.pim() else "no PIM"
        print(f"device {name:<14} {item.flops_per_s / 1e12:>6.1f} TFLOPS {item.bytes_per_s / 1e12:.2f} TB/s {units}")
    for name, text in LAYOUTS.items():
        print(f"layout {name:<14} {text}")
    for name, item in presets.model.items():
        print(
            f"model  {name:<14} {item.num_parameters / 1e9:>7.2f} B parameters, {item.kv_bytes_per_token / 1e3:>8.1f} kB "
            f"a token, {item.state_bytes / 1e6:>6.1f} MB whatever the length"
        )
    return 0
