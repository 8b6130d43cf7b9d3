"""`fullduplex plan replay`: a real server's run, predicted after calibrating on its first part."""

import argparse
import dataclasses
import json
from pathlib import Path

from fullduplex.cli.plan.inputs import counted
from fullduplex.hardware.presets import Presets
from fullduplex.hardware.serving.measured import fit_run, read_run, replay
from fullduplex.hardware.serving.paged import Blocks

__all__ = ["add_replay", "run_replay"]


def add_replay(parser: argparse.ArgumentParser) -> None:
    """Options of the run and of the server's cache."""
    parser.add_argument("run", type=Path, metavar="JSONL", help="requests.jsonl of an LLMServingSim bench of vLLM")
    parser.add_argument("--model", default="llama3-8b", metavar="NAME", help="see `plan list` (default: llama3-8b)")
    parser.add_argument("--device", default="rtx4090", metavar="NAME", help="see `plan list` (default: rtx4090)")
    parser.add_argument("--until", type=float, default=61.0, metavar="S", help="calibrate on what ended by then (61)")
    parser.add_argument(
        "--blocks", type=counted(1), default=2587, metavar="N", help="of cache, 16 tokens each (default: 2587)"
    )
    parser.add_argument(
        "--stage-tokens", type=counted(1), default=2048, metavar="T", help="most a stage (default: 2048)"
    )


def run_replay(arguments: argparse.Namespace, presets: Presets) -> int:
    """Fit, predict the rest and print the errors; exit status 0."""
    run = read_run(arguments.run)
    model, device = presets.find_model(arguments.model), presets.find_device(arguments.device)
    blocks = Blocks(blocks=arguments.blocks, stage_tokens=arguments.stage_tokens)
    fit = fit_run(run, model, device, blocks, arguments.until)
    found = replay(run, model, device, blocks, fit=fit, until_s=arguments.until)
    if arguments.json:
        errors = {name: found.error(name) for name in found.means_s}
        print(json.dumps({**dataclasses.asdict(found), "errors": errors}))
        return 0
    print(
        f"fitted on {found.calibrated_on} requests that ended by {arguments.until:g} s: {fit.compute_share:.1%} of compute, "
        f"{fit.memory_share:.1%} of bandwidth, {fit.start_s * 1e3:.2f} ms a stage"
    )
    print(f"{found.held_out} requests held out; {found.stages} stages, {found.sent_back} times a request was sent back")
    print(f"{'mean seconds':<13} {'measured':>9} {'here':>9} {'error':>7} {'of each':>8}")
    for name, (measured, here) in found.means_s.items():
        print(f"{name:<13} {measured:>9.4f} {here:>9.4f} {found.error(name):>7.1%} {found.each_error[name]:>8.1%}")
    return 0
