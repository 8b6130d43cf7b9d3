"""The rate test of arXiv 2111.00396 and 2206.11893: trained at one sample rate, read at another, nothing learnt in between."""

from pathlib import Path
from typing import Any

from fullduplex.base.errors import InputError
from fullduplex.ssm.tasks.fit import score
from fullduplex.ssm.tasks.keywords import read_examples, read_keywords, recordings_rate_hz, resampled
from fullduplex.ssm.tasks.run import load_run, read_settings

__all__ = ["read_at_rate"]


def read_at_rate(folder: Path, data: Path, *, new_rate_hz: int | None = None) -> dict[str, Any]:
    """Accuracies of a keyword run on its test recordings, at their rate and at another.

    Args:
        folder: of `train_run` on the task keywords.
        data: the recordings it was trained on.
        new_rate_hz: the other rate; None: half that of the recordings.

    Returns:
        `same_rate`; `stretched` (None where the layer has no step to stretch) and `unchanged` at the other rate;
        `other_speakers` (None where there are none); `chance`, both rates, and the layer.

    Raises:
        InputError: the run is of another task or other words, or no such rate.
        FormatError: the folder holds no run, or the recordings cannot be read.
    """
    settings = read_settings(folder)
    if settings.task != "keywords":
        raise InputError(f"{folder} is a run on {settings.task!r}; the rate test reads runs on keywords")
    model, task, rate_hz = (
        load_run(folder),
        read_keywords(data, num_samples=settings.num_samples),
        recordings_rate_hz(data / "test"),
    )
    if model.config.outputs != task.outputs:
        raise InputError(
            f"{folder} knows {model.config.outputs} words, {data} has {task.outputs}; give its own recordings"
        )
    new_rate_hz = rate_hz // 2 if new_rate_hz is None else new_rate_hz
    if not 1 <= new_rate_hz <= 8 * rate_hz:
        raise InputError(f"the other rate is {new_rate_hz} Hz; expected 1 to {8 * rate_hz}, recordings have {rate_hz}")
    other = resampled(task.test, rate_hz, new_rate_hz)
    stretched = None
    if not settings.layer.startswith("mamba"):
        stretched = score(model.at_rate(rate_hz / new_rate_hz), other, task.goal)
    speakers, words = data / "others" / "test", sorted(path.name for path in data.glob("train/*") if path.is_dir())
    others = read_examples(speakers, words, num_samples=task.num_steps) if speakers.is_dir() else None
    return {
        "layer": settings.layer,
        "rate_hz": rate_hz,
        "new_rate_hz": new_rate_hz,
        "same_rate": score(model, task.test, task.goal),
        "stretched": stretched,
        "unchanged": score(model, other, task.goal),
        "other_speakers": None if others is None else score(model, others, task.goal),
        "chance": task.chance,
    }
