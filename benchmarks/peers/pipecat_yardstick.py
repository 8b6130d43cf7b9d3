"""The yardstick's items played to a pipecat pipeline in real time, and scored as our own machine is. See README.md.

    python benchmarks/peers/pipecat_yardstick.py items --count 12 --json     # about 14 minutes, on a machine that is quiet
    fullduplex evaluate fdb items                                            # the same score again, from the folders

Items, listener, scorer and output are those of `fullduplex evaluate system turns --out items`. A run that was broken off goes
on where it stopped. `device.jsonl` beside the items says of each how late the device's clock was: over 20 ms the machine
was too busy, and the item's folder should be deleted and played again.
"""

import argparse
import asyncio
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat_device import Device
from pipecat_talk import KEY, add_options, talk

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.caller import Act
from fullduplex.evaluate.fdb.items import MODES, TASKS, Task
from fullduplex.evaluate.fdb.score import lexical_judge
from fullduplex.evaluate.generate.stimuli import stimuli
from fullduplex.evaluate.room import RoomConfig
from fullduplex.recipes.parts import Parts, PartsConfig, open_parts
from fullduplex.recipes.yardstick.collect import System, collect
from fullduplex.recipes.yardstick.hear import Hearer
from fullduplex.recipes.yardstick.report import fdb_report, overlap_report, plain

Pcm = NDArray[np.float32]


class Peer:
    """A fresh pipeline for every item, with the same models; what the device and the pipeline tell goes to `log`."""

    def __init__(self, parts: Parts, arguments: argparse.Namespace) -> None:
        self._parts = parts
        self._arguments = arguments
        self._log: Path = arguments.folder / "device.jsonl"
        self._item = ""

    def progress(self, done: int, total: int, name: str) -> None:
        """Told by `collect` what comes next."""
        self._item = name
        print(f"{done}/{total} {name}", file=sys.stderr, flush=True)

    def play(self, user_N: Pcm) -> tuple[Pcm, Pcm]:
        """The user's sound at EAR_RATE_HZ to both tracks, in real time."""
        act = Act(role="turn", text="(stimulus)", pcm=user_N, when="after_act", delay_s=0.0)
        room = RoomConfig(seed=self._arguments.seed)
        device = Device(acts=(act,), room=room, limit_s=user_N.size / EAR_RATE_HZ)
        told = asyncio.run(talk(self._parts, device, self._arguments.variant, self._arguments.ttfs_p99))
        self._parts.brain.forget(KEY)
        caller, machine, replies = device.result()
        self._note(device, replies, told)
        return caller, machine

    def _note(self, device: Device, replies: list[tuple[int, int, bool]], told: dict[str, Any]) -> None:
        late_ms = 1e3 * float(np.quantile(device.late_s, 0.99))
        if late_ms > 20:
            print(f"{self._item}: the device's clock was {late_ms:.0f} ms late (99 %)", file=sys.stderr)
        line = {"item": self._item, "late_ms_p99": round(late_ms, 2), "replies": replies, **told}
        with self._log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="one folder an item; kept and reused")
    parser.add_argument("--tasks", default=",".join(TASKS), metavar="T,T", help=f"default: {','.join(TASKS)}")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="items of each task (default: 12)")
    add_options(parser)
    return parser


def main() -> int:
    """Play what has not been played, and score all of it in both modes."""
    arguments = _parser().parse_args()
    logger.remove()
    logger.add(sys.stderr, level=arguments.log)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    tasks = arguments.tasks.split(",")
    if unknown := set(tasks) - set(TASKS):
        raise SystemExit(f"no task {min(unknown)!r}; there are: {', '.join(TASKS)}")
    chosen = [cast("Task", task) for task in tasks]
    played = [item for task in chosen for item in stimuli(task, arguments.count, seed=arguments.seed)]
    parts = open_parts(PartsConfig(brain=arguments.brain, strict=True))
    peer = Peer(parts, arguments)
    system: System = peer.play
    hearer = Hearer(ear=parts.ear, recogniser=parts.recogniser)
    items = collect(played, system, hearer, arguments.folder, progress=peer.progress)
    scores = fdb_report(items, lexical_judge, MODES)
    record = {
        "system": f"pipecat {metadata.version('pipecat-ai')} {arguments.variant}",
        "fdb": plain(
            {mode: {task: score.figures() for task, score in found.items()} for mode, found in scores.items()}
        ),
        "fdb_v1.5": plain(overlap_report(items)),
    }
    print(json.dumps(record, ensure_ascii=False, indent=None if arguments.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
