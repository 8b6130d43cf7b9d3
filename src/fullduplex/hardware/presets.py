"""Devices and models of `presets.toml`, and of a file of the user's own."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeVar

from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError
from fullduplex.hardware.device import Device
from fullduplex.hardware.model import Model

__all__ = ["Presets", "load_presets"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presets:
    """Named devices and models."""

    device: Mapping[str, Device] = field(default_factory=dict)
    model: Mapping[str, Model] = field(default_factory=dict)

    def find_device(self, name: str, *, also: Sequence[str] = ()) -> Device:
        """The device called `name`; `also` are names that the caller knows besides, for the message.

        Raises: ConfigError naming the nearest there is.
        """
        if name not in self.device:
            raise ConfigError(_unknown("device", name, [*self.device, *also]))
        return self.device[name]

    def find_model(self, name: str) -> Model:
        """The model called `name`.

        Raises: ConfigError naming the nearest there is.
        """
        if name not in self.model:
            raise ConfigError(_unknown("model", name, list(self.model)))
        return self.model[name]


def load_presets(extra: Path | None = None) -> Presets:
    """The presets of the package, and those of the TOML file `extra`, which win.

    Raises: ConfigError for a file that is not TOML, a table other than device and model, or a key none of them has.
    """
    own = resources.files("fullduplex.hardware").joinpath("presets.toml").read_text(encoding="utf-8")
    presets = _parse(own, "presets.toml")
    if extra is None:
        return presets
    try:
        text = extra.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{extra.name} cannot be read: {error}") from error
    more = _parse(text, extra.name)
    return Presets(device={**presets.device, **more.device}, model={**presets.model, **more.model})


def _parse(text: str, file: str) -> Presets:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    for key, value in tables.items():
        if key not in ("device", "model") or not isinstance(value, dict):
            raise ConfigError(f"{file} has {key!r}; expected tables [device.NAME] and [model.NAME]")
    return Presets(
        device={name: _read(Device, item, f"{file}: device.{name}") for name, item in tables.get("device", {}).items()},
        model={name: _read(Model, item, f"{file}: model.{name}") for name, item in tables.get("model", {}).items()},
    )


def _read(cls: type[T], item: object, where: str) -> T:
    if not isinstance(item, dict):
        raise ConfigError(f"{where} is {item!r}; expected a table")
    try:
        return config_from_mapping(cls, item)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _unknown(kind: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} {name!r}; {hint}there are: {', '.join(known)}"
