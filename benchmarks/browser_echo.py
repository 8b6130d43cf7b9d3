"""The browser's echo canceller against ours, on one and the same echo. Prints JSON lines, then a table.

    python benchmarks/browser_echo.py --takes DIR           record what is missing in DIR (real time: 26 minutes), and rate
    python benchmarks/browser_echo.py --takes DIR --quick   one session of one loop gain: 3 minutes

A headless Chromium plays the machine's replies. Its microphone hears them again through a synthetic room, and a user who
interrupts half of them; the machine does not stop. The page opens that microphone twice: as it is, and with the browser's
own cancellation (echoCancellation; no noise suppression, no gain control). The first take then goes through our cancellers,
which are told what the page played and when, as the server is. The control plays nothing: what is taken out there is not
echo. Needs Chromium, PulseAudio and the default assets; leave the machine alone while it records.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from echo.battery import FAR_S, Loop, Session, make_session, say_replies
from echo.chromium import Take, missing, record
from echo.figures import steadiness_db
from echo.listen import Listener, summarise, table
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.recipes.parts import PartsConfig, open_voice

Pcm = NDArray[np.float32]
LOOPS = (Loop(gain=0.25), Loop(gain=0.5), Loop(gain=1.0), Loop(gain=0.5, clips=True))
SEEDS = (0, 1)
STEADY_DB = 10.0  # the microphone as sent and as recorded differ by rounding only, if nothing slipped
TRIES = 3


def plan(quick: bool) -> Iterator[tuple[Loop, int, bool]]:
    """(loop, seed, whether the sound is played) of every take."""
    loops, seeds = (LOOPS[1:2], SEEDS[:1]) if quick else (LOOPS, SEEDS)
    yield from ((loop, seed, True) for loop in loops for seed in seeds)
    if not quick:
        yield LOOPS[1], SEEDS[0], False


def replies_in(folder: Path) -> list[Pcm]:
    """What the machine says in all takes of a folder; the voice never says a thing twice in the same way, so it is kept."""
    file = folder / "replies.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, *say_replies(open_voice(PartsConfig(voice="piper"))))
    with np.load(file) as kept:
        return [kept[name] for name in kept.files]


def steadiness_of(session: Session, take: Take) -> float:
    """Of the microphone as recorded, between the marker and the end."""
    heard = slice(samples_from_s(FAR_S, EAR_RATE_HZ), session.mic.size - EAR_RATE_HZ)
    return steadiness_db(session.mic[heard], take.raw[heard])


def steady_take(session: Session, play: bool) -> Take:
    """A recording without slips: where the machine is busy, sound is lost and the echo moves. Raises: RuntimeError."""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as scratch:
            take = asyncio.run(record(session, Path(scratch), play=play))
        worst_db = steadiness_of(session, take)
        if worst_db >= STEADY_DB:
            return take
        print(f"sound was lost (worst second {worst_db:.0f} dB); again", file=sys.stderr, flush=True)
    raise RuntimeError(f"sound was lost in each of {TRIES} recordings; leave the machine alone while it records")


def take_of(session: Session, folder: Path, play: bool) -> Take:
    """From the folder, or recorded into it. Raises: RuntimeError for a recording of something else, or with holes."""
    kind = "heard" if play else "control"
    file = folder / f"{kind}-{session.loop.name.replace(', ', '-')}-{session.seed}.npz"
    if not file.exists():
        lacking = missing()
        if lacking:
            raise RuntimeError(f"cannot record {file.name}: missing {', '.join(lacking)}; install them")
        print(f"recording {file.name}: {session.mic.size / EAR_RATE_HZ:.0f} s", file=sys.stderr, flush=True)
        take = steady_take(session, play)
        np.savez_compressed(file, raw=take.raw, cancelled=take.cancelled, notes=json.dumps(take.notes))
    with np.load(file) as kept:
        take = Take(raw=kept["raw"], cancelled=kept["cancelled"], notes=json.loads(str(kept["notes"])))
    if steadiness_of(session, take) < STEADY_DB:
        raise RuntimeError(f"{file} is no recording of this session; remove it, and it is made anew")
    return take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takes", type=Path, required=True, help="folder of recordings; those that are there are used")
    parser.add_argument("--quick", action="store_true", help="one session of loop gain 0.5, no control")
    arguments = parser.parse_args()
    replies = replies_in(arguments.takes)
    listener = Listener()
    rows = []
    for loop, seed, play in plan(arguments.quick):
        session = make_session(replies, loop, seed)
        try:
            take = take_of(session, arguments.takes, play)
        except RuntimeError as error:
            parser.exit(2, f"{error}\n")
        rows += listener.rate(session, take, play=play)
    lines = summarise(rows)
    for line in lines:
        print(json.dumps(line))
    print(table(lines))


if __name__ == "__main__":
    main()
