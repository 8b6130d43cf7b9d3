"""A conversation as text: states, frames and events to JSON and back, without loss and without running anything.

Kill the process, restore the state, ask the pending requests again: the conversation goes on. A log of frames replays
it. Only types in the table can be read; a snapshot cannot name any other.
"""

import base64
import dataclasses
import json
import math
from enum import Enum
from typing import Any, cast

import numpy as np

from fullduplex.base import chat
from fullduplex.base.errors import FormatError, InputError
from fullduplex.dialogue import desk, events, history, ports, turns
from fullduplex.dialogue.listening import hearing, transcript
from fullduplex.dialogue.policies import slices, tdm
from fullduplex.dialogue.policies import turns as turns_policy
from fullduplex.dialogue.speaking import playback, reply

__all__ = ["decode", "encode", "to_plain"]

_MODULES = (chat, desk, events, history, ports, hearing, transcript, turns_policy, slices, tdm, playback, reply)
_TYPES: dict[str, type[Any]] = {
    name: kind
    for module in _MODULES
    for name, kind in vars(module).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
_ENUMS: dict[str, type[Enum]] = {"Floor": turns.Floor}
_SCALARS = (str, int, bool, type(None))


def to_plain(value: Any) -> Any:
    """`value` as JSON types. Arrays keep their exact bits.

    Raises:
        InputError: a type that cannot be written.
    """
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray):
        return _plain_array(cast("np.ndarray[Any, Any]", value))
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, frozenset):
        return {"$set": to_plain(sorted(cast("frozenset[Any]", value)))}
    if isinstance(value, Enum):
        return {"$enum": f"{type(value).__name__}.{value.name}"}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"$": type(value).__name__, **fields}
    raise InputError(f"cannot write a {type(value).__name__} into a snapshot")


def _plain_array(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    if value.dtype.kind not in "biuf":
        raise InputError(f"cannot write an array of {value.dtype} into a snapshot; only numbers can be kept")
    data = base64.b64encode(value.tobytes()).decode()
    return {"$array": value.dtype.str, "shape": list(value.shape), "data": data}


def _from_plain(value: Any, types: dict[str, type[Any]]) -> Any:
    if isinstance(value, list):
        return tuple(_from_plain(item, types) for item in cast("list[Any]", value))
    if not isinstance(value, dict):
        return value
    record = cast("dict[str, Any]", value)
    if "$array" in record:
        array = np.frombuffer(base64.b64decode(record["data"]), dtype=np.dtype(record["$array"]))
        return array.reshape(record["shape"]).copy()
    if "$set" in record:
        return frozenset(_from_plain(record["$set"], types))
    if "$float" in record:
        return float(record["$float"])
    if "$enum" in record:
        kind, _, name = str(record["$enum"]).partition(".")
        return _ENUMS[kind][name]
    kind = types[record["$"]]
    return kind(**{key: _from_plain(item, types) for key, item in record.items() if key != "$"})


def encode(value: Any) -> str:
    """`value` (a state, frame, event or input) as one line of JSON."""
    return json.dumps(to_plain(value), ensure_ascii=False, separators=(",", ":"))


def decode(text: str, *, extra: tuple[type[Any], ...] = ()) -> Any:
    """What `encode` wrote. `extra`: further dataclasses that may occur, such as the ear's own state.

    Raises:
        FormatError: truncated or altered text, or a type that is not in the table.
    """
    types = {**_TYPES, **{kind.__name__: kind for kind in extra}}
    try:
        return _from_plain(json.loads(text), types)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise FormatError(f"not a snapshot of this version ({error!r}); start a new conversation") from error
