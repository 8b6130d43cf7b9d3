"""Play test items to a system, listen to what it does, and keep every item in a folder the scorer can read again.

A system is a function from the user's sound to both tracks. Collecting can be broken off and taken up again: an item
whose folder holds `recording.json` is not played twice.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.errors import MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Pcm
from fullduplex.evaluate.caller import Act
from fullduplex.evaluate.fdb.folders import read_item
from fullduplex.evaluate.fdb.held import HeldOutcome, held_outcome
from fullduplex.evaluate.fdb.items import FdbItem
from fullduplex.evaluate.generate.overlaps import OverlapStimulus
from fullduplex.evaluate.generate.stimuli import Stimulus, item_from
from fullduplex.evaluate.room import RoomConfig
from fullduplex.evaluate.timing.files import read_recording, write_recording
from fullduplex.evaluate.timing.spans import Recording, Side
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.simulate import Pace, simulate
from fullduplex.recipes.talk import TalkConfig, make_echo, make_runner
from fullduplex.recipes.yardstick.hear import Hearer

__all__ = ["System", "collect", "collect_overlaps", "simulated_system", "write_item", "write_tracks"]

# The user's sound at EAR_RATE_HZ -> (user, system) tracks of the same clock.
System = Callable[[Pcm], tuple[Pcm, Pcm]]


def simulated_system(parts: Parts, config: TalkConfig, *, room: RoomConfig | None = None) -> System:
    """Our own machine on a simulated clock: models are charged the time they take, and nobody waits for it."""

    def answer(user_N: Pcm) -> tuple[Pcm, Pcm]:
        act = Act(role="turn", text="(stimulus)", pcm=user_N, when="after_act", delay_s=0.0)
        echo = make_echo(enabled=room is not None and room.echo_gain > 0)
        limit = Pace(limit_s=user_N.size / EAR_RATE_HZ)
        talk = simulate((act,), make_runner(parts, config), echo, room=room, pace=limit)
        return talk.caller, talk.machine

    return answer


def collect(
    stimuli: Sequence[Stimulus],
    system: System,
    hearer: Hearer,
    folder: Path,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[FdbItem]:
    """Play every stimulus that has no recording yet; return all of them as items.

    Args:
        stimuli: what to play.
        system: what answers.
        hearer: listens to the system's track. The user's spans are the stimulus's own, which are exact.
        folder: one folder an item is written below it.
        progress: called with the number of items done, of all, and the name of the next.
    """
    items: list[FdbItem] = []
    for number, stimulus in enumerate(stimuli):
        if progress is not None:
            progress(number, len(stimuli), stimulus.name)
        place = folder / stimulus.name
        if not (place / "recording.json").is_file():
            user, machine = system(stimulus.user_N)
            item = item_from(stimulus, hearer.side(machine), duration_s=machine.size / EAR_RATE_HZ)
            write_item(place, stimulus, item, user, machine)
        items.append(read_item(place, stimulus.task))
    if progress is not None:
        progress(len(stimuli), len(stimuli), "")
    return items


def write_item(place: Path, stimulus: Stimulus, item: FdbItem, user_N: Pcm, system_N: Pcm) -> None:
    """Write an item folder; `recording.json` last, because it says that the item is whole."""
    place.mkdir(parents=True, exist_ok=True)
    write_tracks(place / "conversation.wav", user_N, system_N)
    _write(place / "item.json", {"task": stimulus.task, "judged": stimulus.judged})
    if stimulus.task == "pause_handling" and stimulus.mark:
        _write(place / "pause.json", [{"text": "[PAUSE]", "timestamp": stimulus.mark}])
    elif stimulus.task == "smooth_turn_taking" and stimulus.mark:
        _write(place / "turn_taking.json", [{"text": "[TURN-TAKING]", "timestamp": stimulus.mark}])
    elif stimulus.task == "user_interruption":
        said = {"context": stimulus.context, "interrupt": stimulus.interruption, "timestamp": stimulus.mark}
        _write(place / "interrupt.json", [said])
    else:
        _write(place / "truth.json", list(stimulus.truth))
    write_recording(place / "recording.json", item.recording)


def write_tracks(file: Path, user_N: Pcm, system_N: Pcm) -> None:
    """A stereo WAV at EAR_RATE_HZ, user left; the shorter track is silent at its end."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error
    size = max(user_N.size, system_N.size)
    tracks = np.stack([np.pad(track, (0, size - track.size)) for track in (user_N, system_N)], axis=1)
    soundfile.write(file, np.clip(tracks, -1, 1), EAR_RATE_HZ, subtype="PCM_16")


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def collect_overlaps(
    stimuli: Sequence[OverlapStimulus],
    system: System,
    hearer: Hearer,
    folder: Path,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[HeldOutcome]:
    """Play every stimulus that has no recording yet; judge each sound beside the clean run of its question.

    Args: as for `collect`.
    """
    runs: dict[tuple[str, str], Recording] = {}
    for number, stimulus in enumerate(stimuli):
        if progress is not None:
            progress(number, len(stimuli), f"{stimulus.name} {stimulus.kind}")
        place = folder / stimulus.name
        file = place / f"{stimulus.kind}.json"
        if not file.is_file():
            user, machine = system(stimulus.user_N)
            place.mkdir(parents=True, exist_ok=True)
            write_tracks(place / f"{stimulus.kind}.wav", user, machine)
            duration_s = max(user.size, machine.size, stimulus.user_N.size) / EAR_RATE_HZ
            name = f"{stimulus.name}-{stimulus.kind}"
            heard = Recording(
                name=name, user=Side(spans=stimulus.spans), system=hearer.side(machine), duration_s=duration_s
            )
            write_recording(file, heard)
        runs[(stimulus.name, stimulus.kind)] = read_recording(file)
    if progress is not None:
        progress(len(stimuli), len(stimuli), "")
    return [
        held_outcome(one.kind, runs[(one.name, one.kind)], runs[(one.name, "clean")], one.mark, text=one.text)
        for one in stimuli
        if one.kind != "clean"
    ]
