"""The benchmark's own folders: one folder an item, `output.json` with the system's words, and the task's annotation.

| task | annotation | beside it |
|---|---|---|
| pause_handling | `pause.json` (optional) | |
| smooth_turn_taking | `turn_taking.json` | |
| user_interruption | `interrupt.json` | |
| backchannel | `truth.json`, or `icc_gt_distribution.json` one level up | `segments.json`: the speech segments |

Where a folder holds `recording.json` (see `timing.files`), spans and words come from there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fullduplex.base.errors import FormatError
from fullduplex.evaluate.fdb.items import TASKS, FdbItem, Task
from fullduplex.evaluate.timing.files import read_json, read_recording
from fullduplex.evaluate.timing.spans import Recording, Side, Span, Word, merged

__all__ = ["Hear", "guess_task", "item_folders", "read_item", "read_words"]

# Makes a recording out of the sound in an item's folder, where there are no timestamps.
Hear = Callable[[Path], Recording]

_MARKS = {
    "pause_handling": "pause.json",
    "smooth_turn_taking": "turn_taking.json",
    "user_interruption": "interrupt.json",
}


def item_folders(root: Path) -> list[Path]:
    """The item folders under `root`, in order of name (numbers as numbers). Hidden ones are passed over.

    Raises:
        FormatError: not a folder, or no item folder in it.
    """
    if not root.is_dir():
        raise FormatError(f"{root} is no folder; expected one with a folder for each item")
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))]
    if not folders:
        raise FormatError(f"{root} holds no item folders; expected one folder for each item")
    return sorted(folders, key=lambda path: (not path.name.isdigit(), path.name.zfill(12)))


def guess_task(folder: Path) -> Task:
    """The task of an item, by the annotation in its folder.

    Raises:
        FormatError: no annotation of any task.
    """
    plain = folder / "item.json"
    if plain.is_file() and (found := read_json(plain).get("task")) in TASKS:
        return found
    for task in TASKS:
        if task in _MARKS and (folder / _MARKS[task]).is_file():
            return task
    if (folder / "truth.json").is_file() or (folder.parent / "icc_gt_distribution.json").is_file():
        return "backchannel"
    raise FormatError(f"{folder} has no annotation ({', '.join(_MARKS.values())} or truth.json); name the task")


def read_words(file: Path) -> tuple[Word, ...]:
    """The words of an `output.json`: {"chunks": [{"text": "…", "timestamp": [start or null, end or null]}]}."""
    plain = read_json(file)
    try:
        chunks = plain["chunks"]
        return tuple(Word(str(chunk["text"]).strip(), *_pair(chunk["timestamp"])) for chunk in chunks)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"{file}: expected chunks with text and timestamp [start, end]; got {error!r}") from error


def _pair(times: Any) -> tuple[float | None, float | None]:
    start, end = times
    return (None if start is None else float(start)), (None if end is None else float(end))


def read_item(folder: Path, task: Task, hear: Hear | None = None) -> FdbItem:
    """One item. Without `output.json` and `recording.json`, `hear` listens to the folder's sound.

    Raises:
        FormatError: a file is missing or is not what it should be; nothing is taken over from the item before.
    """
    recording = _recording(folder, task, hear)
    plain = read_json(folder / "item.json") if (folder / "item.json").is_file() else {}
    mark, annotation = _mark(folder, task)
    judged = plain.get("judged")
    return FdbItem(
        task=task,
        recording=recording,
        mark=mark,
        judged=(float(judged[0]), float(judged[1])) if judged else None,
        context=str(annotation.get("context", "")),
        interruption=str(annotation.get("interrupt", "")),
        truth=_truth(folder) if task == "backchannel" else (),
    )


def _recording(folder: Path, task: Task, hear: Hear | None) -> Recording:
    if (folder / "recording.json").is_file():
        return read_recording(folder / "recording.json")
    if not (folder / "output.json").is_file():
        if hear is None:
            raise FormatError(f"{folder} has neither output.json nor recording.json; recognise its sound first")
        return hear(folder)
    words = read_words(folder / "output.json")
    times = [time for word in words for time in (word.start_s, word.end_s) if time is not None]
    spans: tuple[Span, ...] = merged(
        (w.start_s, w.end_s) for w in words if w.start_s is not None and w.end_s is not None and w.start_s < w.end_s
    )
    duration_s = max(times, default=1.0)
    if task == "backchannel":
        spans, duration_s = _segments(folder, hear)
    side = Side(spans=spans, words=words)
    return Recording(name=folder.name, user=Side(), system=side, duration_s=max(duration_s, 1e-3))


def _segments(folder: Path, hear: Hear | None) -> tuple[tuple[Span, ...], float]:
    """The system's speech segments and the length of the sound: from the file, or heard."""
    if not (folder / "segments.json").is_file() and hear is not None:
        heard = hear(folder)
        return heard.system.spans, heard.duration_s
    plain = read_json(folder / "segments.json")
    try:
        return tuple((float(start), float(end)) for start, end in plain["spans"]), float(plain["duration_s"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{folder / 'segments.json'}: expected spans and duration_s; got {error!r}") from error


def _mark(folder: Path, task: Task) -> tuple[Span | None, dict[str, Any]]:
    if task == "backchannel":
        return None, {}
    file = folder / _MARKS[task]
    if task == "pause_handling" and not file.is_file():
        return None, {}
    plain = read_json(file)
    try:
        first = plain[0]
        start, end = first["timestamp"]
        return (float(start), float(end)), dict(first)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"{file}: expected a list whose first entry has a timestamp; got {error!r}") from error


def _truth(folder: Path) -> tuple[float, ...]:
    file = folder / "truth.json"
    plain = read_json(file if file.is_file() else folder.parent / "icc_gt_distribution.json")
    values = plain.get(folder.name) if isinstance(plain, dict) else plain
    if not isinstance(values, list) or not values:
        raise FormatError(f"{folder}: no distribution of listeners' back-channels for this item")
    return tuple(float(value) for value in values)
