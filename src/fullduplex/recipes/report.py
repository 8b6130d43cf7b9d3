"""What a finished conversation leaves behind: sound, picture, event log, figures."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.errors import MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.ports import Pcm
from fullduplex.dialogue.snapshot import to_plain
from fullduplex.evaluate.timeline import Label, draw_timeline
from fullduplex.recipes.simulate import Conversation

__all__ = ["event_line", "failures_line", "labels_of", "write_conversation"]


def event_line(at_s: float, event: ev.Event) -> str:
    """One line of JSON; sound is given as its number of samples."""
    if isinstance(event, ev.AudioOut):
        record: dict[str, Any] = {
            "event": "AudioOut",
            "utterance": event.utterance,
            "epoch": event.epoch,
            "start": event.start,
            "samples": int(event.pcm.size),
        }
    else:
        plain = to_plain(event)
        record = {"event": plain.pop("$"), **plain}
    return json.dumps({"at_s": round(at_s, 3), **record}, ensure_ascii=False)


def failures_line(figures: Mapping[str, Any]) -> str:
    """The failures of a conversation, for people."""
    return f"a part failed {figures['failures']} times, first {figures['first_failure']}"


def labels_of(events: Iterable[tuple[float, ev.Event]]) -> tuple[list[Label], list[tuple[float, str]]]:
    """Labels and floor changes for the timeline, from what the machine understood and said."""
    labels: list[Label] = []
    floors: list[tuple[float, str]] = []
    onset_s = speech_s = 0.0
    for at_s, event in events:
        if isinstance(event, ev.TurnChanged):
            floors.append((at_s, event.after.value))
            if event.after.value == "speaking" and event.before.value == "thinking":
                speech_s = at_s
        elif isinstance(event, ev.UserSpeech) and event.active:
            onset_s = at_s
        elif isinstance(event, ev.UserText) and event.final:
            labels.append(Label(at_s=onset_s, lane="caller", text=event.text))
        elif isinstance(event, ev.ReplyDone) and event.heard:
            cut = "" if event.complete else " —"
            labels.append(Label(at_s=speech_s, lane="machine", text=event.heard + cut))
    return labels, floors


def write_conversation(folder: Path, conversation: Conversation, *, title: str) -> dict[str, str]:
    """Write conversation.wav (caller left, machine right), timeline.png, events.jsonl and figures.json.

    Returns:
        What was written: kind -> path.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error
    folder.mkdir(parents=True, exist_ok=True)
    tracks = np.stack([_audible(conversation.caller), _audible(conversation.machine)], axis=1)
    soundfile.write(folder / "conversation.wav", tracks, EAR_RATE_HZ, subtype="PCM_16")
    labels, floors = labels_of(conversation.events)
    draw_timeline(
        folder / "timeline.png", conversation.caller, conversation.machine, labels=labels, floors=floors, title=title
    )
    lines = [event_line(at_s, event) for at_s, event in conversation.events]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = {"figures": conversation.figures, "acts": [to_plain(outcome) for outcome in conversation.outcomes]}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    names = {"sound": "conversation.wav", "timeline": "timeline.png", "events": "events.jsonl"}
    return {kind: str(folder / name) for kind, name in {**names, "figures": "figures.json"}.items()}


def _audible(track: Pcm) -> Pcm:
    return np.clip(track, -1.0, 1.0)
