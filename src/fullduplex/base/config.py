"""Strict configuration: a mapping or a TOML file becomes a frozen dataclass, and nothing is guessed.

An unknown key is an error that names the nearest key there is; a value of the wrong type is an error that names both
types. The one conversion made is the one TOML forces: an integer where a float is declared, an array for a tuple.
"""

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fullduplex.base.errors import ConfigError

__all__ = ["config_from_mapping", "config_from_toml"]

ConfigT = TypeVar("ConfigT")


def config_from_toml(cls: type[ConfigT], path: Path) -> ConfigT:
    """Read `cls` from the TOML file at `path`.

    Raises:
        ConfigError: the file is not TOML, or `config_from_mapping` refuses its content.
    """
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}") from error
    return config_from_mapping(cls, mapping)


def config_from_mapping(cls: type[ConfigT], mapping: Mapping[str, object]) -> ConfigT:
    """Build the dataclass `cls` from `mapping`; nested mappings become nested dataclasses.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    return cast("ConfigT", _build(cls, mapping, where=""))


def _build(cls: type[Any], mapping: Mapping[str, object], where: str) -> object:
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}
    for key in mapping:
        if key not in fields:
            raise ConfigError(_unknown_key(cls, str(key), tuple(fields), where))
    needless = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [
        name
        for name, item in fields.items()
        if name not in mapping and (item.default, item.default_factory) == needless
    ]
    if missing:
        raise ConfigError(f"{cls.__name__}: missing {', '.join(where + name for name in missing)}; give a value")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(value, hints[key], where + key) for key, value in mapping.items()})


def _unknown_key(cls: type[Any], key: str, known: tuple[str, ...], where: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {where + near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{cls.__name__} has no key {where + key!r}; {hint}"


def _convert(value: object, hint: Any, where: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(hint), where)
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where} is {value!r}; expected one of {', '.join(map(repr, get_args(hint)))}")
        return value
    if origin is tuple:
        return _convert_tuple(value, get_args(hint), where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return _build(hint, cast("Mapping[str, object]", value), where + ".")
    return _convert_plain(value, hint, where)


def _convert_plain(value: object, hint: Any, where: str) -> object:
    if hint is Any or hint is object:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    wanted = cast("type[Any]", get_origin(hint) or hint)
    # `True` is an int to Python, and never to the person who wrote the file.
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{where} is {value!r}, a {type(value).__name__}; expected {wanted.__name__}")
    return value


def _convert_union(value: object, options: tuple[Any, ...], where: str) -> object:
    if value is None and type(None) in options:
        return None
    refusals: list[str] = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _convert(value, option, where)
        except ConfigError as error:
            refusals.append(str(error))
    raise ConfigError("; or ".join(refusals))


def _convert_tuple(value: object, items: tuple[Any, ...], where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} is {value!r}, a {type(value).__name__}; expected a list")
    values = cast("list[object] | tuple[object, ...]", value)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(values)
    if len(values) != len(items):
        raise ConfigError(f"{where} has {len(values)} items; expected {len(items)}")
    return tuple(
        _convert(each, item, f"{where}[{index}]") for index, (each, item) in enumerate(zip(values, items, strict=True))
    )
