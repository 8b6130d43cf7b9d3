"""Find the recordings in a folder, whatever they are made of: timestamps, stereo sound, two files, or diarisation.

| file | is |
|---|---|
| `NAME.json` | a recording (see `evaluate.timing.files`) |
| `NAME.user.wav` and `NAME.system.wav` | two tracks |
| `NAME.rttm` | two speakers; the length is that of `NAME.wav`, or the end of the last turn |
| `NAME.wav` (or .flac, .ogg) | stereo, user left, system right |
"""

from collections.abc import Callable
from pathlib import Path

from fullduplex.base.errors import FormatError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.timing.files import read_recording, read_rttm
from fullduplex.evaluate.timing.spans import Recording
from fullduplex.recipes.sound_files import read_mono
from fullduplex.recipes.yardstick.hear import Hearer

__all__ = ["read_recordings"]

_SOUNDS = (".wav", ".flac", ".ogg")


def read_recordings(
    place: Path, hearer: Callable[[], Hearer], *, progress: Callable[[int, int, str], None] | None = None
) -> list[Recording]:
    """Every recording in a folder (or the one file), by name.

    Args:
        place: a folder or a file.
        hearer: makes the listener; asked only when there is sound without timestamps.
        progress: called with the number of files done, of all, and the next one's name.

    Raises:
        FormatError: nothing there, or a file that is no recording.
    """
    if not place.exists():
        raise FormatError(f"{place} does not exist; expected a folder of recordings, or one recording")
    files = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    jobs = _jobs(files)
    if not jobs:
        raise FormatError(f"{place} holds no recordings; expected .json, .rttm, or sound of two sides")
    found: list[Recording] = []
    open_hearer: list[Hearer] = []
    for number, (name, parts) in enumerate(sorted(jobs.items())):
        if progress is not None:
            progress(number, len(jobs), name)
        if parts[0].suffix == ".json":
            found.append(read_recording(parts[0]))
        elif parts[0].suffix == ".rttm":
            found.append(_diarised(parts[0]))
        else:
            open_hearer = open_hearer or [hearer()]
            found.append(open_hearer[0].files(name, *parts))
    if progress is not None:
        progress(len(jobs), len(jobs), "")
    return found


def _jobs(files: list[Path]) -> dict[str, tuple[Path, ...]]:
    """Name -> its files. Timestamps come before sound of the same name."""
    jobs: dict[str, tuple[Path, ...]] = {}
    names = {path.name for path in files}
    for path in files:
        if path.suffix in _SOUNDS:
            stem = path.name.removesuffix(path.suffix)
            if stem.endswith(".user"):
                other = path.with_name(f"{stem.removesuffix('.user')}.system{path.suffix}")
                if other.name not in names:
                    raise FormatError(f"{path} has no {other.name} beside it; expected both sides")
                jobs.setdefault(stem.removesuffix(".user"), (path, other))
            elif not stem.endswith(".system"):
                jobs.setdefault(stem, (path,))
    for suffix in (".rttm", ".json"):
        jobs |= {path.stem: (path,) for path in files if path.suffix == suffix}
    return jobs


def _diarised(file: Path) -> Recording:
    sounds = [path for path in (file.with_suffix(suffix) for suffix in _SOUNDS) if path.is_file()]
    if sounds:
        return read_rttm(file, duration_s=read_mono(sounds[0]).size / EAR_RATE_HZ)
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("SPEAKER")]
    try:
        return read_rttm(file, duration_s=max(float(parts[3]) + float(parts[4]) for parts in lines))
    except (ValueError, IndexError) as error:
        raise FormatError(f"{file} is no RTTM file: {error}") from error
