"""Recordings as JSON, and the RTTM of diarisation: timestamps from files, checked line by line.

JSON: {"name": "a", "duration_s": 12.0, "user": {"spans": [[0.1, 2.0]], "words": [["hello", 0.1, 0.4]]}, "system": {…}}.
"""

import json
import math
from pathlib import Path
from typing import Any, cast

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.timing.spans import Recording, Side, Span, Word, merged

__all__ = ["read_json", "read_recording", "read_rttm", "recording_to_plain", "write_recording"]


def read_json(file: Path) -> Any:
    """A JSON file.

    Raises:
        FormatError: missing, or not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    except ValueError as error:
        raise FormatError(f"{file} is not JSON: {error}") from error


def read_recording(file: Path) -> Recording:
    """A recording from the JSON of the module's header.

    Raises:
        FormatError: not such a file; the message says where. InputError: times that cannot be.
    """
    plain = read_json(file)
    known = {"name", "duration_s", "user", "system"}
    if not isinstance(plain, dict) or not {"duration_s", "user", "system"} <= set(plain) <= known:
        raise FormatError(f"{file} is no recording; expected an object with {', '.join(sorted(known))}")
    name = str(plain.get("name", file.stem))
    try:
        user, system = (_side(cast("dict[str, Any]", plain[who])) for who in ("user", "system"))
        return Recording(name=name, user=user, system=system, duration_s=float(plain["duration_s"]))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise FormatError(f"{file}: spans are [start, end], words [text, start, end]; got {error}") from error


def _side(plain: dict[str, Any]) -> Side:
    words = tuple(Word(str(text), _time(start), _time(end)) for text, start, end in plain.get("words", ()))
    spans = tuple((float(start), float(end)) for start, end in plain.get("spans", ()))
    if not spans and words:
        timed = [(word.start_s, word.end_s) for word in words if word.start_s is not None and word.end_s is not None]
        spans = merged((start, end) for start, end in timed if start < end)
    return Side(spans=spans, words=words)


def _time(value: object) -> float | None:
    return None if value is None else float(cast("float", value))


def recording_to_plain(recording: Recording) -> dict[str, Any]:
    """The JSON form of a recording."""

    def side(value: Side) -> dict[str, Any]:
        spans = [[round(start, 4), round(end, 4)] for start, end in value.spans]
        return {"spans": spans, "words": [[word.text, word.start_s, word.end_s] for word in value.words]}

    return {
        "name": recording.name,
        "duration_s": round(recording.duration_s, 4),
        "user": side(recording.user),
        "system": side(recording.system),
    }


def write_recording(file: Path, recording: Recording) -> None:
    """Write what `read_recording` reads."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(recording_to_plain(recording), ensure_ascii=False) + "\n", encoding="utf-8")


def read_rttm(file: Path, *, duration_s: float, user: str | None = None) -> Recording:
    """Two speakers of an RTTM file as a recording.

    Args:
        file: lines `SPEAKER file channel start duration <NA> <NA> name …`.
        duration_s: length of the sound the file describes.
        user: which speaker is the user; None: the one who speaks first.

    Raises:
        FormatError: a line is no such line, or there are not two speakers.
    """
    spans: dict[str, list[Span]] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts or parts[0] != "SPEAKER":
            continue
        try:
            start, length = float(parts[3]), float(parts[4])
            speaker = parts[7]
        except (IndexError, ValueError) as error:
            raise FormatError(f"{file} line {number} is no RTTM line: {error}") from error
        if not (math.isfinite(start) and math.isfinite(length) and length > 0):
            raise FormatError(f"{file} line {number}: start {start} and duration {length}; expected positive seconds")
        spans.setdefault(speaker, []).append((start, start + length))
    names = sorted(spans, key=lambda name: min(spans[name]))
    if len(names) != 2 or (user is not None and user not in names):
        raise FormatError(f"{file} has the speakers {', '.join(names) or 'none'}; expected two, one of them the user")
    first = user or names[0]
    other = names[1] if first == names[0] else names[0]
    sides = [Side(spans=merged(spans[name])) for name in (first, other)]
    return Recording(name=file.stem, user=sides[0], system=sides[1], duration_s=duration_s)
