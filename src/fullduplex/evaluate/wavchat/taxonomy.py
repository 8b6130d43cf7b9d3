"""WavChat's taxonomy, metrics and table of systems, read from wavchat.toml and checked; and its two real-time factors.

The survey has no algorithm; nothing here computes but the last function. The paradigm of a system is not written down: it
follows from the survey's own test, whether the core model understands *and* generates speech representations.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import FormatError, InputError

__all__ = ["Axis", "Behaviour", "Capability", "Metric", "RealTime", "System", "Taxonomy", "load", "real_time_factors"]

Mark = Literal["yes", "no", "part", "?"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One question of the taxonomy and its answers."""

    id: str
    title: str
    section: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One of the five things a full-duplex system must do."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One of the eleven aspects of evaluation."""

    id: str
    level: Literal["basic", "advanced"]
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric by name. `direction`: which way is better. `here`: what of this package measures it."""

    id: str
    capability: str
    direction: Literal["higher", "lower", "none"]
    unit: str
    note: str = ""
    here: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A published system. `basis`: what the row rests on; `period_s` 0: no fixed beat."""

    id: str
    name: str
    cites: str
    basis: Literal["paper", "code", "secondary", "here"]
    understands_speech: Mark
    generates_speech: Mark
    duplex: Literal["simplex", "half", "full"]
    period_s: float
    behaviours: dict[str, str] = field(default_factory=dict[str, str])
    note: str = ""

    @property
    def paradigm(self) -> str:
        """The survey's test."""
        return "end_to_end" if self.understands_speech == self.generates_speech == "yes" else "cascaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """Everything in the file."""

    axes: tuple[Axis, ...]
    behaviours: tuple[Behaviour, ...]
    capabilities: tuple[Capability, ...]
    metrics: tuple[Metric, ...]
    systems: tuple[System, ...]

    def system(self, name: str) -> System:
        """A system by id.

        Raises:
            InputError: there is none; the message lists them.
        """
        for found in self.systems:
            if found.id == name:
                return found
        raise InputError(f"no system {name!r}; there are: {', '.join(found.id for found in self.systems)}")

    def matrix(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """(header, rows) of the capability matrix."""
        names = tuple(behaviour.id for behaviour in self.behaviours)
        rows = [
            (
                found.name,
                found.paradigm,
                found.duplex,
                f"{found.period_s:g} s" if found.period_s else "-",
                *(found.behaviours[name] for name in names),
                found.cites,
                found.basis,
            )
            for found in self.systems
        ]
        return ("system", "paradigm", "duplex", "period", *names, "cites", "basis"), rows


def load(text: str | None = None) -> Taxonomy:
    """The taxonomy from TOML text; the survey's own by default.

    Raises:
        FormatError: not TOML. ConfigError: an unknown or missing key. InputError: a mark, metric or behaviour that refers
            to nothing.
    """
    if text is None:
        file = resources.files("fullduplex.evaluate.wavchat").joinpath("wavchat.toml")
        text = file.read_text(encoding="utf-8")
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"the taxonomy is not TOML: {error}") from error
    taxonomy = Taxonomy(
        axes=tuple(config_from_mapping(Axis, entry) for entry in plain.get("axis", ())),
        behaviours=tuple(config_from_mapping(Behaviour, entry) for entry in plain.get("behaviour", ())),
        capabilities=tuple(config_from_mapping(Capability, entry) for entry in plain.get("capability", ())),
        metrics=tuple(config_from_mapping(Metric, entry) for entry in plain.get("metric", ())),
        systems=tuple(config_from_mapping(System, _renamed(entry)) for entry in plain.get("system", ())),
    )
    _check(taxonomy)
    return taxonomy


def _renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """`from` is no name for a field in Python."""
    return {"basis" if key == "from" else key: value for key, value in entry.items()}


def _check(taxonomy: Taxonomy) -> None:
    wanted = {behaviour.id for behaviour in taxonomy.behaviours}
    for system in taxonomy.systems:
        if set(system.behaviours) != wanted:
            raise InputError(f"system {system.id}: behaviours must be {', '.join(sorted(wanted))}")
        if not set(system.behaviours.values()) <= {"yes", "no", "part", "?"}:
            raise InputError(f"system {system.id}: marks are yes, no, part and ?")
    known = {capability.id for capability in taxonomy.capabilities}
    for metric in taxonomy.metrics:
        if metric.capability not in known:
            raise InputError(f"metric {metric.id} is of {metric.capability!r}, which is no capability")
    for entries in (taxonomy.axes, taxonomy.capabilities, taxonomy.metrics, taxonomy.systems):
        ids = [entry.id for entry in entries]
        if len(set(ids)) != len(ids):
            raise InputError("an id appears twice; every entry needs its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTime:
    """Both readings of "real-time factor", under names that say which.

    `rtf`: computing time over speech, lower is better. `rtf_survey`: speech over computing time, higher is better.
    """

    rtf: float
    rtf_survey: float


def real_time_factors(speech_s: float, computing_s: float) -> RealTime:
    """Both factors.

    Args:
        speech_s: duration of the speech that was generated.
        computing_s: time it took.
    """
    if not (speech_s > 0 and computing_s > 0):
        raise InputError(f"speech_s is {speech_s}, computing_s {computing_s}; expected seconds above 0")
    return RealTime(rtf=computing_s / speech_s, rtf_survey=speech_s / computing_s)
